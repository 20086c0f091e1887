"""Device memory: what fits, and error messages when something does not."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from types import TracebackType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.device import Device
from gpunn.core.plan import Plan

ASKED_FROM = 1 << 24  # bytes; smaller data are put on the device without checking free memory
FRACTION_OF_DATA = 0.8  # of the free memory; the rest is for the model and its batches
SPARE = 1.25  # factor for arrays not counted here: work arrays, dropout masks, rounding up


Kept = WeakKeyDictionary[Device, dict[str, Any]]
"""Arrays of data on devices, kept for later calls."""


class _ThisThread(local):
    def __init__(self) -> None:
        self.kept = Kept()


_this_thread = _ThisThread()


def kept_data(backend: Backend) -> dict[str, Any]:
    """Return the arrays that this thread keeps on a device for later calls, see `rows`."""
    return _this_thread.kept.setdefault(backend.root, {})


@contextmanager
def keeping(kept: Kept) -> Iterator[None]:
    """A ``with`` block in which this thread keeps such arrays in ``kept``."""
    before, _this_thread.kept = _this_thread.kept, kept
    try:
        yield
    finally:
        _this_thread.kept = before


def forget_kept_data() -> None:
    """Free the arrays that this thread keeps on any device for later calls."""
    _this_thread.kept.clear()


class OutOfMemoryError(MemoryError):
    """The device does not have enough memory; the message tells what would fit, such as a batch
    size.

    `gpunn.Model.fit` raises it. It is a ``MemoryError``:

    >>> issubclass(OutOfMemoryError, MemoryError)
    True
    """


class Cache(Protocol):
    """An object that keeps arrays for the next batch, and can free them."""

    def clear(self) -> None: ...


def sample_bytes(plan: Plan, dtype: str, training: bool) -> int:
    """Estimate the device memory in bytes per sample of a batch.

    It counts the input and every layer's output, with a gradient for each output in training.

    >>> from gpunn import layers, models
    >>> plan = models.Sequential([layers.Input((784,)), layers.Dense(16)])._plan
    >>> sample_bytes(plan, "float32", training=True)
    4080
    """
    outputs = sum(math.prod(node.output_shape) for node in plan.nodes)
    values = sum(map(math.prod, plan.input_shapes)) + outputs * (2 if training else 1)
    return int(values * np.dtype(dtype).itemsize * SPARE)


def _largest_batch(size: int, plan: Plan, backend: Backend, dtype: str, training: bool) -> int:
    """Return the largest power of two below ``size`` that fits in device memory.

    It tries to allocate arrays like a batch's, of the size that `sample_bytes` estimates. Returns
    0 if not even one sample fits.
    """
    outputs = [math.prod(node.output_shape) for node in plan.nodes]
    widths = [*map(math.prod, plan.input_shapes), *outputs * (2 if training else 1)]
    widths.append(int(sum(widths) * (SPARE - 1)))
    fits = 1 << (size - 1).bit_length() - 1 if size > 1 else 0
    arrays: list[Array] = []
    while fits:
        try:
            arrays.extend(backend.empty((fits, width), dtype) for width in widths)
            break
        except MemoryError:
            fits //= 2
        finally:
            arrays.clear()
            backend.free_bytes()  # returns cached blocks, so that smaller arrays do not split them
    return fits


def lacking(size: int, backend: Backend) -> int | None:
    """Return the number of free bytes if ``size`` bytes of data do not fit, else None."""
    if size < ASKED_FROM:
        return None
    free = backend.free_bytes()
    return None if free is None or size <= free * FRACTION_OF_DATA else free


def readable(size: int) -> str:
    """Format a number of bytes.

    >>> readable(47_040_000), readable(4)
    ('47.0 MB', '4 bytes')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


class _Explained:
    """A ``with`` block that turns a MemoryError into one with a message."""

    def __init__(self, message: Callable[[], str]) -> None:
        self._message = message

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: TracebackType | None) -> None:
        if isinstance(error, MemoryError) and not isinstance(error, OutOfMemoryError):
            traceback.clear_frames(trace)  # their variables hold arrays
            raise OutOfMemoryError(self._message()) from error


def memory_for_batch(
    size: int, plan: Plan, backend: Backend, dtype: str, training: bool, *caches: Cache
) -> Any:
    """Return a ``with`` block for work on batches of ``size``: if memory runs out, the error names
    a batch size that would fit.

    The memory allocated by the attempt is freed, ``caches`` included, so that the next attempt,
    with a smaller batch, can use it. The batch size is found by trying: the number of free bytes
    tells little because memory may be fragmented.
    """

    def message() -> str:
        for cache in (*caches, kept_data(backend)):
            cache.clear()
        backend.release()
        each, free = sample_bytes(plan, dtype, training), backend.free_bytes()
        if free is None:
            advice = "a smaller batch_size takes less."
        elif fits := _largest_batch(size, plan, backend, dtype, training):
            free = max(free, fits * each)
            advice = f"{free:,} are free: batch_size={fits} would fit."
        else:
            advice = f"{free:,} are free: none fits. Free memory, or make the model smaller."
        return (
            f"The {backend.name} backend ran out of memory with batch_size={size}. A sample "
            f"takes about {each:,} bytes; {advice}"
        )

    return _Explained(message)


def memory_error_of_data(
    error: MemoryError, argument: str, array: Any, backend: Backend
) -> OutOfMemoryError:
    """Return the error to raise if memory runs out in the upload of ``array``: it reports how much
    is free."""
    traceback.clear_frames(error.__traceback__)  # their variables hold arrays
    kept_data(backend).clear()
    free = backend.free_bytes()
    there = "" if free is None else f", {free:,} are free"
    return OutOfMemoryError(
        f"{argument} does not fit into the memory of the {backend.name} backend: its shape "
        f"is {tuple(array.shape)}, {array.nbytes:,} bytes{there}. Pass fewer rows at a time."
    )
