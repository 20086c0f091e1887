"""The arrays of a device: creation, copies to and from it, and reusable work arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from functools import partial
from threading import local
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from gpunn.backends.shared.threads import helper_number
from gpunn.common.config import runs_eagerly

Array = Any  # numpy.ndarray or cupy.ndarray: nothing outside the backends cares which
Own = TypeVar("Own", bound="Device")
Kept = TypeVar("Kept")
Fill = Callable[[slice, np.ndarray], None]
"""Writes these rows of what is copied to an array of the host."""
Kinds = Sequence[tuple[tuple[int, ...], Any]]
"""Shapes and dtypes of arrays."""
FEW = 1 << 10
"""Elements of an array that is checked fastest by another one, of their magnitudes."""


def place_of(array: Array) -> tuple[Any, ...]:
    """Return where in memory an array is, and how: a key for what is bound to that place."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return interface["data"][0], tuple(array.shape), array.strides, array.dtype.name


def strided(xp: Any, array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Return an array of this shape in the memory of another one, which it keeps there.

    >>> import numpy as np
    >>> strided(np, np.arange(4), (2, 3), (8, 8)).tolist()
    [[0, 1, 2], [1, 2, 3]]
    """
    return xp.asarray(_described(array, shape=shape, strides=strides, base=array))


def _described(array: Array, base: Any = None, **changes: Any) -> SimpleNamespace:
    """Return an object that describes the memory of an array to an array module."""
    device = "__cuda_array_interface__"
    mark = device if hasattr(array, device) else "__array_interface__"
    # Without a stream to wait for: nothing is read here.
    described = {**getattr(array, mark), "stream": None, **changes}
    return SimpleNamespace(**{mark: described}, base=base)


class _ScratchOfOneUser:
    """Work arrays of a backend with a single user."""

    def __init__(self) -> None:
        self.arrays: dict[tuple, Any] = {}


class _ScratchOfEachThread(_ScratchOfOneUser, local):
    """Work arrays of a backend that several threads may use at once."""


class Sending:
    """Pending copies of arrays to the device; the base class: finished copies."""

    def join(self) -> None:
        """Make the device begin later work after these copies. The host does not wait here."""

    def wait(self) -> None:
        """Wait until the copies have finished."""


class Parcel:
    """Arrays that are written together, and read together: on a device, each by one copy.

    Attributes:
        arrays: the arrays on the device; zeros at first.
    """

    arrays: list[Array]

    def __init__(self, device: Device, kinds: Kinds) -> None:
        self._device = device
        self.arrays = [device.zeros(shape, dtype) for shape, dtype in kinds]

    def write(self, sources: Sequence[Any]) -> None:
        """Write values to the arrays; see `Device.write`."""
        for into, source in zip(self.arrays, sources, strict=True):
            self._device.write(into, source)

    def read(self) -> list[np.ndarray]:
        """Return copies on the host. This waits for the device."""
        return list(map(self._device.read, self.arrays))

    def read_later(self) -> list[Callable[[], np.ndarray]]:
        """Return for each array a function that returns what `read` returns now; a device is waited
        for then."""
        return [partial(_itself, values) for values in self.read()]


class Device(ABC):
    """Management of a backend's arrays, apart from the operations on them.

    Attributes:
        root: the backend that `isolated` made this one from; else itself.
        repeats: whether its work is repeated, so that it pays to make constants for it; False for
            an operation that is computed at once.
        traces: whether its steps are launched from a trace, in which array functions are not: then
            its operations are preferred to them for arrays of any size.
    """

    name: str

    xp: Any
    """The array module, numpy or cupy. A custom layer or loss may be written with it
    (with ``out=``) and then runs on both, slower than with a kernel."""

    repeats = True
    traces = False

    stream_lock: AbstractContextManager[None] = nullcontext()
    """A ``with`` block that one thread enters at a time; its array functions run on the stream.

    Custom layers and losses are called in such a block; elsewhere ``xp`` needs one. On a CPU it
    does nothing."""

    turn = property(lambda self: self.stream_lock, None, None, "The former name of `stream_lock`.")

    def __init__(self) -> None:
        self.root: Device = self
        self._scratch: _ScratchOfOneUser = _ScratchOfEachThread()

    def __copy__(self: Own) -> Own:
        """Return another object for the same device; pickle and `deepcopy` look it up by name."""
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    def isolated(self: Own) -> Own:
        """Return the same backend for one user at a time, with its own work arrays.

        >>> from gpunn.backends import get_backend
        >>> shared = get_backend("numpy")
        >>> own = shared.isolated()
        >>> own.root is shared, own.scratch((2,), "float32") is shared.scratch((2,), "float32")
        (True, False)
        """
        own = copy(self)
        own._scratch = _ScratchOfOneUser()
        return own

    def reaches(self, other: Device) -> bool:
        """Return whether work here can use arrays of another backend as they are: it is for the
        same device, or both are NumPy's.

        >>> from gpunn.backends import get_backend
        >>> backend = get_backend("numpy")
        >>> backend.isolated().reaches(backend)
        True
        """
        one, another = self.root, other.root  # which do not trace
        return one is another or one.xp is another.xp is np

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised C-contiguous array on the device."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros on the device."""

    def parcel(self, kinds: Kinds) -> Parcel:
        """Return new arrays of these shapes and dtypes.

        >>> from gpunn.backends import get_backend
        >>> parcel = get_backend().parcel([((2,), "float32"), ((), "int32")])
        >>> parcel.write([np.ones(2), np.array(3)])
        >>> parcel.read()
        [array([1., 1.], dtype=float32), array(3, dtype=int32)]
        """
        return Parcel(self, kinds)

    @abstractmethod
    def upload(self, source: Any) -> Array:
        """Return ``source`` (NumPy array, or anything with ``__dlpack__``) on the device.

        C-contiguous, dtype kept. An array that is already there is not copied.
        """

    def wait_for_caller(self) -> None:  # noqa: B027  nothing to wait for by default
        """Order later work after work that this thread has submitted to the device without the
        backend: it may still be computing an array that was passed in. The host does not wait."""

    @abstractmethod
    def write(self, target: Array, source: Any) -> None:
        """Copy host values into ``target`` (cast to its dtype).

        ``source`` may be changed afterwards: a copy from page-locked memory is waited for.
        """

    @abstractmethod
    def read(self, array: Array) -> np.ndarray:
        """Return a NumPy copy of ``array``. Only this method waits for the device."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialised host array that the device can read by itself."""
        return np.empty(shape, dtype)

    def send(self, copies: Sequence[tuple[Array, Fill]]) -> Sending:
        """Start copying rows of the host to device arrays.

        The copies start after all work submitted so far, and run at the same
        time as later work, until `Sending.join` is called. The host has called the functions, and
        may change what they read, when this returns.

        Args:
            copies: pairs of a C-contiguous device array, and a function that writes its rows.
        """
        for target, fill in copies:
            fill(slice(0, len(target)), target)
        return Sending()

    def named(self, name: str, work: Callable[..., None]) -> Callable[..., None]:
        """Return ``work`` such that a profiler of the device shows this name over its launches, if
        the user asked for that."""
        return work

    def record_check(self, check: Any) -> None:  # noqa: B027  errors are raised at once by default
        """Register a `Check`, whose result is read after each wait for the device."""

    @property
    def checks(self) -> Sequence[Any]:
        """The registered checks that are still referenced elsewhere."""
        return ()

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has finished all submitted work."""

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Return whether ``array`` lives on this backend's device already."""

    def within(self, array: Any, limit: float) -> bool:
        """Return whether all values of a floating-point host or device array are between
        -limit and limit; NaN is not.

        >>> from gpunn.backends import get_backend
        >>> [get_backend().within(np.array([1.0, x]), 2.0) for x in (-2.0, 2.5, np.nan)]
        [True, False, False]
        """
        if type(array) is np.ndarray and 0 < array.size <= FEW:
            return float(np.maximum.reduce(np.abs(array), axis=None)) <= limit
        if type(array) is np.ndarray and array.dtype.char in "fd" and array.flags.c_contiguous:
            flat = array.ravel()
            with np.errstate(over="ignore"):  # min and max below do not overflow
                if float(flat.dot(flat)) <= limit:  # the fastest pass over an array
                    return True
        return self.within_later(array, limit)()

    def within_later(self, array: Array, limit: float) -> Callable[[], bool]:
        """Return a function that returns `within` for the values that an array has now. A device
        looks at its own arrays after earlier work; the function waits for it."""
        with self.stream_lock:  # with a NaN, both are NaN
            found = -limit <= float(array.min()) <= float(array.max()) <= limit
        return lambda: found

    def borrowed(self, array: Array) -> Array:
        """Return an array in the memory of another one, which may be freed while this one exists.

        Whoever reads it must know that the memory is there.
        """
        return self.xp.asarray(_described(array))

    def free_bytes(self) -> int | None:
        """Return the number of free bytes on the device, or None if unknown.

        Allocating an array without enough memory raises MemoryError. Smaller arrays may have more:
        the unused rest of larger blocks is reused, but not counted.
        """
        return None

    def scratch(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        slot: str = "",
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """Return a reusable work array: valid until the same shape, dtype and slot is requested
        again in the same thread.

        ``fill(array)`` is called once, when it is created: for constants.

        >>> import numpy as np
        >>> from gpunn.backends import get_backend
        >>> b = get_backend("numpy")
        >>> b.scratch((2, 3), np.float32) is b.scratch((2, 3), np.float32)
        True
        """
        arrays, key = self._scratch.arrays, (shape, dtype, slot, helper_number())
        array = arrays.get(key)
        if array is None:
            array = self.empty(shape, dtype)
            if fill is not None:
                self._at_once(partial(fill, array))
            arrays[key] = array  # not earlier: an interrupt would leave it unfilled
        return array

    def _at_once(self, work: Callable[[], None]) -> None:
        """Call ``work()``, which is no part of a step that is traced or captured."""
        with self.stream_lock:
            work()

    def _constant(self, slot: str, values: np.ndarray) -> Array:
        """Return these values on the device, written there once."""

        def make() -> Array:
            array = self.empty(values.shape, values.dtype)
            self.write(array, values)
            return array

        return self._kept((slot, values.dtype, values.shape, values.tobytes()), make)

    def kept(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """Return a formula's cached object for ``key``. ``make()`` creates it once in each thread,
        and each time in eager steps."""
        return make() if runs_eagerly() else self._kept(key, make)

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        arrays, key = self._scratch.arrays, ("kept", helper_number(), *key)
        found = arrays.get(key)
        if found is None:
            found = arrays[key] = make()
        return found

    def forget_kept(self) -> None:
        """Clear the objects that formulas have cached: their parameters have changed."""
        arrays = self._scratch.arrays
        for key in [key for key in arrays if key[0] == "kept"]:
            del arrays[key]

    def row_max(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the maximum of each row of x (rows, features): for
        formulas."""
        self.xp.max(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def row_sums(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the sum of each row of x (rows, features): for formulas."""
        self.xp.sum(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def add_to_bins(self, bins: Array, amounts: Array, state: Array) -> None:
        """state[bin] += amount for each of the ``bins`` (n,) of int64, in order, for formulas;
        indices out of range are ignored. ``amounts`` (n,) are float64."""
        self.apply(_add_to_bins, bins, amounts, state)

    def apply(self, function: Callable[..., None], *args: Any) -> None:
        """Call ``function(xp, *args)``: for formulas, if array functions with ``out=`` do not
        suffice."""
        function(self.xp, *args)

    def apply_formula(self, formula: Any, method: Callable[..., None], *arrays: Any) -> None:
        """Call ``method(self, *arrays)``, a method of a formula. A custom one, unless it consists
        of operations on tensors, may read the values of its arrays: it is called each time."""
        method(self, *arrays)

    def release(self) -> None:
        """Drop the work arrays, so that their memory can be reused."""
        self._scratch.arrays.clear()

    def overlap(self, a: Array, b: Array) -> str | None:
        """Return whether two contiguous arrays are the ``"same"`` memory or share a
        ``"part"`` of it; None if they share none."""
        if not np.may_share_memory(a, b):
            return None
        same = a is b or (
            a.nbytes == b.nbytes and a.__array_interface__["data"] == b.__array_interface__["data"]
        )
        return "same" if same else "part"


def _itself(values: np.ndarray) -> np.ndarray:
    return values


def _add_to_bins(xp: Any, bins: Array, amounts: Array, state: Array) -> None:
    inside = (bins >= 0) & (bins < len(state))
    if not inside.all():
        bins, amounts = bins[inside], amounts[inside]
    state += xp.bincount(bins, amounts, len(state))
