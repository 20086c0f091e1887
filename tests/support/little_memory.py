"""A device on which there is room for little."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.models import OutOfMemoryError


@contextmanager
def limited(backend: Backend, spare: int) -> Iterator[None]:
    """A device with ``spare`` bytes that are free, in one piece."""
    gc.collect()
    pool = backend.xp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(max(pool.total_bytes(), 1))
    # Idle parts of pieces that are in use cannot be given back, and would be free beside these.
    idle, size = [], 1 << 30
    try:
        while size >= 512:
            try:
                idle.append(backend.empty((size,), np.uint8))
            except MemoryError:
                size //= 2
        pool.set_limit(pool.total_bytes() + spare)
        yield
    finally:
        pool.set_limit(0)


@contextmanager
def fragmented(backend: Backend) -> Iterator[None]:
    """A device on which the arrays of the block lie in one piece of memory, which is in use until
    the block ends: what one of them leaves is idle, and cannot be given back."""
    gc.collect()
    backend.xp.get_default_memory_pool().free_all_blocks()
    backend.empty((1 << 21,), np.uint8)  # gone at once: its piece is idle
    beginning = backend.empty((1,), np.uint8)
    yield
    del beginning


def used(backend: Backend) -> int:
    """Bytes of the arrays on the device. How many are free depends on where these lie, too: what
    is left of a larger piece of memory cannot be given back."""
    gc.collect()
    backend.synchronize()
    return backend.xp.get_default_memory_pool().used_bytes()


def refusal(work: Callable[[], Any]) -> str:
    """What ``work`` says when memory runs out; its error, which holds arrays, is dropped."""
    try:
        work()
    except OutOfMemoryError as error:
        assert isinstance(error.__cause__, MemoryError)
        return str(error)
    raise AssertionError("there was memory enough")
