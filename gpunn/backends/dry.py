"""A card that computes nothing: what a step would launch on one, found out without one."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Step
from .cupy_backend import CupyBackend
from .device import Replay, Run
from .kernel_source import Kernel


def make_backend() -> CupyBackend:
    """The CuPy backend with arrays in host memory, and kernels and products left out.

    The arrays hold zeros; which operations run, with which arguments of which types, and
    how many kernels they launch, is as on a card.

    >>> backend = make_backend()
    >>> with backend.recording() as launches:
    ...     backend.column_sums(backend.zeros((5, 3), "float32"), backend.zeros((3,), "float32"))
    >>> launches[0].operation, launches[0].kernels
    ('column_sums', 1)
    """
    return _Dry(np, _Kernels(), _product, _Stream(), name="dry")


class _Dry(CupyBackend):
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.zeros(shape, dtype)  # labels are looked up: they must be some


class _Kernels:
    blocks = 1

    def prepare(self, entry: str, kernel: Kernel) -> Run:
        return lambda grid, block, arguments: None


def _product(a: Array, b: Array, out: Array, *options: bool) -> None:
    """No product."""


class _Stream:
    def synchronize(self) -> None:
        """Nothing to wait for."""

    def read(self, array: Array) -> np.ndarray:
        return np.array(array)

    def record(self, step: Step, times: int) -> Replay:
        return lambda: None
