"""A device, or a process, with little free memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.models import OutOfMemoryError


@contextmanager
def limited(backend: Backend, spare: int) -> Iterator[None]:
    """A device with ``spare`` contiguous bytes of free memory."""
    gc.collect()
    pool = backend.xp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(max(pool.total_bytes(), 1))
    # Idle parts of blocks in use cannot be returned, and would be free in addition to these bytes.
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
def process_limited(most: int) -> Iterator[None]:
    """A block in which this process, its libraries included, gets at most ``most`` bytes more:
    tracing each allocation of Python's would take most of the time."""
    statm = Path("/proc/self/statm")
    if not statm.exists():  # of Linux
        yield
        return
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextmanager
def fragmented(backend: Backend) -> Iterator[None]:
    """A device that keeps all arrays of the ``with`` block in one block of memory.

    It stays in use until the ``with`` block ends: the memory of a freed array is idle, and cannot
    be returned.
    """
    gc.collect()
    backend.xp.get_default_memory_pool().free_all_blocks()
    backend.empty((1 << 21,), np.uint8)  # freed at once: its block is idle
    beginning = backend.empty((1,), np.uint8)
    yield
    del beginning


def used(backend: Backend) -> int:
    """The number of bytes of the arrays on the device.

    The number of free bytes also depends on their addresses: the rest of a larger block cannot be
    returned.
    """
    gc.collect()
    backend.synchronize()
    return backend.xp.get_default_memory_pool().used_bytes()


def refusal(work: Callable[[], Any]) -> str:
    """Return the message of ``work`` when memory runs out; drop its error, which holds arrays."""
    try:
        work()
    except OutOfMemoryError as error:
        assert isinstance(error.__cause__, MemoryError)
        return str(error)
    raise AssertionError("there was memory enough")
