"""A device on which there is room for little."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import emulated

from gpunn.backends.contract.backend import Backend
from gpunn.models import OutOfMemoryError


@contextmanager
def limited(backend: Backend, spare: int) -> Iterator[None]:
    """A device with ``spare`` bytes that are free."""
    gc.collect()
    if backend.name == "emulated":
        emulated.MEMORY.size = emulated.MEMORY.live + spare
    else:
        pool = backend.xp.get_default_memory_pool()
        pool.free_all_blocks()
        pool.set_limit(pool.total_bytes() + spare)
    try:
        yield
    finally:
        if backend.name == "emulated":
            emulated.MEMORY.size = 0
        else:
            pool.set_limit(0)


def refusal(work: Callable[[], Any]) -> str:
    """What ``work`` says when memory runs out; its error, which holds arrays, is dropped."""
    try:
        work()
    except OutOfMemoryError as error:
        assert isinstance(error.__cause__, MemoryError)
        return str(error)
    raise AssertionError("there was memory enough")
