"""The NVIDIA GPUs of this machine by number: their backends, and the memory of their arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from .gpu import why_not


def numbers() -> list[int]:
    """Return the numbers of the GPUs that can be used."""
    return [] if why_not() is not None else [*range(_cupy().cuda.runtime.getDeviceCount())]


def backend_of(number: int | None = None) -> str:
    """Return the name of a GPU's backend; of the current GPU if no number is given."""
    return "cupy" if number is None else f"cupy:{number}"


def numbers_of(backend: str) -> list[int]:
    """Return the numbers of the GPUs that a backend of this name may use."""
    kind, _, number = backend.partition(":")
    if kind != "cupy":
        return []
    return [n for n in numbers() if not number or n == int(number)]


def memory(number: int) -> tuple[int, int]:
    """Return the bytes of arrays on a GPU, and those that CuPy's memory pool has taken for them."""
    with _current(number):
        pool = _cupy().get_default_memory_pool()
        return pool.used_bytes(), pool.total_bytes()


def limit_memory(number: int, size: int) -> None:
    """Limit the bytes of arrays on a GPU; 0 for no limit."""
    with _current(number):
        _cupy().get_default_memory_pool().set_limit(size=size)


def _current(number: int) -> AbstractContextManager[Any]:
    return _cupy().cuda.Device(number)


def _cupy() -> Any:
    return import_module("cupy")
