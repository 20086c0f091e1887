"""Conversion and checks of user arrays: numeric, finite, and placed where a step can read them."""

from __future__ import annotations

import math
import mmap
import numbers
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.device import strided
from gpunn.common.numeric import is_missing
from gpunn.ops.dtypes import LEAST, MOST, first_inexact

from .memory import memory_error_of_data

CHUNK = 1 << 18  # elements checked or converted at a time, to avoid a second copy of a data set
SMALL = 1 << 19
"""Bytes that the host checks in the time that it takes to ask a device: three launches and a wait,
50 us. ASSUMED: at 10 GB/s."""
LARGEST = {name: float(np.finfo(name).max) for name in ("float32", "float64")}


def as_array(x: Any, argument: str, backend: Backend) -> Any:
    """Convert ``x`` to a real NumPy or device array, copied only if necessary.

    Raises:
        ValueError, TypeError: if ``x`` is not such an array.
    """
    if isinstance(x, np.ndarray) or backend.owns(x):
        if type(x) is not np.ndarray:
            backend.wait_for_caller()
        array, under = x, x.base
        while type(under) is np.ndarray:
            under = under.base
        if under is not None:
            check_file(x, argument)
    elif hasattr(x, "__cuda_array_interface__"):
        array = backend.upload(x)
    else:
        array = read(x, argument)
    if array.dtype.kind not in "biuf":
        texts = array.dtype.kind in "US" or (array.size and isinstance(array.flat[0], str))
        how = "Convert it first (strings to numbers, missing values filled)."
        if texts and argument == "y":
            how = "Number the classes: classes, y = numpy.unique(y, return_inverse=True)."
        raise TypeError(
            f"{argument} must hold real numbers; its dtype is {array.dtype}{_first_of(array)}. "
            f"{how}"
        )
    plain = type(array) is np.ndarray  # NumPy imports masked arrays only on use
    if not plain and _is_masked(array):
        raise ValueError(f"{argument} has masked values: fill them, or leave their rows out.")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _first_of(array: np.ndarray) -> str:
    """Describe the first object that is not a number, and its index."""
    for place, value in np.ndenumerate(array) if array.dtype.kind == "O" else ():
        if is_missing(value) or not isinstance(value, (numbers.Real, np.bool_)):
            return f", with {value!r} at {list(place)}"
    return ""


def _is_masked(array: Any) -> bool:
    """Whether values are masked. Whoever made it has imported numpy.ma, which is large."""
    masked = sys.modules.get("numpy.ma")
    return masked is not None and bool(masked.is_masked(array))


def value_range(array: np.ndarray, rows: int = 256) -> list[float] | None:
    """Return the smallest and largest finite value in some evenly spaced rows of a numeric array.

    None if there is no finite value.

    >>> value_range(np.array([[3.0, 1.0], [2.0, np.nan]]))
    [1.0, 3.0]
    """
    some = array[:: -(-len(array) // rows)]
    found = [float(some.min()), float(some.max())] if some.size else None
    if found is None or all(map(math.isfinite, found)):  # NaN would be the least
        return found
    some = some[np.isfinite(some)]
    return [float(some.min()), float(some.max())] if some.size else None


def map_under(array: Any) -> tuple[mmap.mmap, int, str] | None:
    """Return the memory map that holds an array, its offset in the file, and the file's name."""
    start, name = 0, "a file"
    while array is not None and not isinstance(array, mmap.mmap):
        if isinstance(array, np.memmap) and array.offset is not None:  # not a copy
            start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
            name = os.fspath(array.filename) if array.filename is not None else name
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return None if array is None else (array, start, name)


def check_file(array: Any, argument: str) -> None:
    """Check that the file from which an array is mapped still contains all of it.

    Reading beyond the end of the file kills the process, without an error that could be caught.

    Raises:
        ValueError: if the file has become shorter.
    """
    found = map_under(array)
    if found is None:
        return
    mapped, start, name = found
    try:
        size, needed = mapped.size(), start + len(mapped)
    except (OSError, ValueError):  # no file, or its size is unknown
        return
    if size < needed:
        raise ValueError(
            f"{argument} is a memory map of {name}, which has become shorter: it has {size:,} "
            f"bytes, {needed:,} were mapped. Write it again, and map it again."
        )


def read(x: Any, argument: str) -> np.ndarray:
    """Convert ``x``, which is not an array yet, to a NumPy array."""
    if x is None:
        raise ValueError(f"{argument} is missing.")
    if isinstance(x, Mapping):
        raise TypeError(f"{argument} must be an array; got a dictionary with keys {list(x)}.")
    if isinstance(x, (str, bytes, set)):
        raise TypeError(f"{argument} must be an array of numbers; got {x!r}.")
    if hasattr(x, "toarray"):
        raise TypeError(f"{argument} is a sparse matrix; pass its toarray().")
    from .frames import from_column, from_frame, is_column, is_frame  # few data need converting

    if is_frame(x):
        return from_frame(x, argument)
    if is_column(x):
        return from_column(x, argument)
    try:
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        reason = str(error)
        if "inhomogeneous" in reason:
            reason = (
                "its rows differ in length. Pad them, by utils.pad_sequences, or pass batches of "
                "one length each"
            )
        raise ValueError(f"{argument} cannot be read as one array of numbers: {reason}.") from None


def stored_dtype(array: Any, dtype: str) -> np.dtype:
    """Return the dtype to store ``array`` in: its own (bytes stay bytes), but no wider float."""
    own: np.dtype = array.dtype
    if own.kind != "f" or own.itemsize <= np.dtype(dtype).itemsize:
        return own
    return np.dtype(dtype)


def is_ready(backend: Backend, array: Any, stored: np.dtype) -> bool:
    """Whether steps can read ``array`` directly; ``stored`` is its `stored_dtype`.

    A memory map on the host can be read in any dtype: its rows are converted when they
    are gathered.
    """
    return (
        backend.owns(array)
        and bool(array.flags.c_contiguous and getattr(array.flags, "aligned", True))
        and (array.dtype == stored or isinstance(array, np.memmap))
    )


def on_device(
    backend: Backend, array: Any, stored: np.dtype, argument: str, into: Array | None = None
) -> Array:
    """Move ``array`` to the device, in its `stored_dtype`; write it to ``into`` if given.

    Raises:
        OutOfMemoryError: if the array does not fit on the device.
    """
    try:
        if into is None:
            if stored == array.dtype or is_ready(backend, array, stored):
                return backend.upload(array)
            into = backend.empty(array.shape, stored)
        backend.write(into, array)
        return into
    except MemoryError as error:
        raise memory_error_of_data(error, argument, array, backend) from error


def pieces(array: Any) -> Iterator[slice]:
    """Return slices of the rows of an array, of about `CHUNK` elements each."""
    if array.size <= CHUNK:
        return iter((slice(0, len(array)),))
    rows = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    return (slice(start, start + rows) for start in range(0, len(array), rows))


class Windows(NamedTuple):
    """Overlapping windows of a series: entry k of window i is ``series[i * apart + k * step]``.

    Attributes:
        series: (steps, *entry), contiguous: the memory that the windows are a view of.
        apart: Entries from one window to the next.
        step: Entries from one entry of a window to the next.
    """

    series: Any
    apart: int
    step: int

    def of(self, backend: Backend, series: Array, shape: tuple[int, ...]) -> Array:
        """Return such windows of another series on the device, a view of this shape."""
        size = series.strides[0]
        strides = self.apart * size, self.step * size, *series.strides[1:]
        return strided(backend.xp, series, shape, strides)


def windows_of(
    array: Any, backend: Backend | None = None, overlapping: bool = True
) -> Windows | None:
    """Return of what an array (windows, length, *entry) is a view, if its windows overlap.

    ``overlapping=False``: also if they do not, as some of such windows.

    >>> windows_of(np.lib.stride_tricks.sliding_window_view(np.arange(6), 4)[::2])
    Windows(series=array([0, 1, 2, 3, 4, 5]), apart=2, step=1)
    """
    if array.ndim < 2 or not array.size or array.flags.c_contiguous:
        return None
    (count, length, *entry), (apart, step) = array.shape, array.strides[:2]
    size = array.dtype.itemsize * math.prod(entry)  # bytes of an entry
    if min(apart, step) <= 0 or apart % size or step % size:
        return None
    apart, step = apart // size, step // size
    steps = (count - 1) * apart + (length - 1) * step + 1
    smaller = steps < count * length or not overlapping
    if not (smaller and steps <= MOST and array[:1, :1].flags.c_contiguous):
        return None
    sizes = [array.dtype.itemsize * math.prod(entry[k:]) for k in range(len(entry) + 1)]
    xp = backend.xp if backend is not None and backend.owns(array) else np
    return Windows(strided(xp, array, (steps, *entry), tuple(sizes)), apart, step)


def _of_series(check: Callable[..., None]) -> Callable[..., None]:
    """Let a check look at each value of overlapping windows once."""

    @wraps(check)
    def checked(backend: Backend, array: Any, *args: Any, **options: Any) -> None:
        if (windows := windows_of(array, backend)) is not None:
            try:
                return check(backend, windows.series, *args, **options)
            except (ValueError, OverflowError):
                pass  # the error says where in the windows it is, if it is in one
        check(backend, array, *args, **options)

    return checked


def is_finite(backend: Backend, array: Any, dtype: str) -> bool:
    """Whether all values are finite in ``dtype``; always true for integers."""
    if array.dtype.kind != "f" or array.size == 0:
        return True
    return backend.within(array, LARGEST[dtype])


@_of_series
def check_finite(backend: Backend, array: Any, dtype: str, argument: str, first: int = 0) -> None:
    """Check for NaN and infinity, in pieces; ``first`` is the index of the first row.

    Raises:
        ValueError: for a value that is not finite in ``dtype``.
    """
    if array.dtype.kind != "f":
        return  # integers are finite
    for rows in pieces(array):
        if not is_finite(backend, array[rows], dtype):
            _refuse_non_finite(backend, array[rows], first + rows.start, dtype, argument)


def is_checked_there(backend: Backend, array: Any) -> bool:
    """Whether a device finds faster than the host whether its copy of an array is finite."""
    large = array.nbytes > SMALL or backend.owns(array)
    return large and backend.xp is not np and array.dtype.kind == "f" and array.size > 0


def check_placed(
    backend: Backend, array: Any, placed: Array, dtype: str, argument: str, first: int = 0
) -> Callable[[], None]:
    """Check as `check_finite` does, where `is_checked_there`: in ``placed``, the device's copy.

    The returned function raises the error. It waits for the device.
    """
    contiguous = backend.owns(placed) and placed.flags.c_contiguous  # not windows of a series
    is_fine = backend.within_later(placed, LARGEST[dtype]) if contiguous else lambda: False

    def complain() -> None:
        if not is_fine():
            check_finite(backend, array, dtype, argument, first)

    return complain


@_of_series
def check_int32(backend: Backend, array: Any, argument: str) -> None:
    """Check that int32 can represent all values of an array.

    Raises:
        OverflowError: naming a value that it cannot represent, and its index.
    """
    if array.dtype.kind in "biu" and np.can_cast(array.dtype, np.int32):
        return
    for rows in pieces(array):
        with backend.stream_lock:
            low, high = float(array[rows].min()), float(array[rows].max())
        if not LEAST <= low <= high <= MOST:  # float64 represents both limits exactly
            values = _values(backend, array[rows])
            wrong = np.argwhere(~((values >= LEAST) & (values < MOST + 1)))[0]
            raise OverflowError(
                f"{argument} holds {values[tuple(wrong)]} at {_place(wrong, rows.start)}; "
                f"integers are int32 in a step, from {LEAST} to {MOST}. Larger ones go through "
                f"layers.IntegerLookup, or as floats."
            )


@_of_series
def check_exact(
    backend: Backend, array: Any, dtype: str, argument: str, of_input: bool = False
) -> None:
    """Check that a float dtype represents all integers of an array exactly.

    Raises:
        ValueError: naming a value that it does not represent, and its index.
    """
    if array.dtype.kind not in "iu":
        return
    for rows in pieces(array):
        values = _values(backend, array[rows])
        place = first_inexact(values, dtype)
        if place is not None:
            declared = (
                "A call(x) receives integers unchanged if gpunn.Input(shape, dtype='int32') "
                "declares them. "
            )
            raise ValueError(
                f"{argument} holds {values[place]} at {_place(place, rows.start)}, which {dtype} "
                f"does not hold: your code would receive a different number. "
                f"{declared if of_input else ''}A model of dtype='float64' has more digits. If "
                f"rounding does no harm, pass floats: .astype({dtype!r})."
            )


def _values(backend: Backend, piece: Array) -> np.ndarray:
    return backend.read(piece) if backend.owns(piece) else piece


def _place(index: Sequence[int], first: int) -> list[int]:
    row, *rest = index
    return [first + int(row), *map(int, rest)]


def _refuse_non_finite(
    backend: Backend, piece: Array, start: int, dtype: str, argument: str
) -> None:
    values = _values(backend, piece)
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(values.astype(dtype)))
    if len(wrong):
        raise ValueError(
            f"{argument} holds {values[tuple(wrong[0])]} at {_place(wrong[0], start)}; every value "
            f"must be finite in {dtype}. Remove the row or fill in the value before training."
        )
