"""One thing to try an operation with, and the table of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn import ops


@dataclass(frozen=True, eq=False)
class Case:
    """A function of operations, and the same in PyTorch.

    Attributes:
        ours, theirs: functions of tensors.
        arrays: what they are given. Those of floats are tried in float32 and float64.
        smooth: whether PyTorch has its gradient, and the gradient of that.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    smooth: bool = True

    def given(self, dtype: str) -> list[np.ndarray]:
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]


CASES: dict[str, list[Case]] = {}


def case(
    name: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *arrays: np.ndarray,
    smooth: bool = True,
) -> None:
    """Add one to those of an operation."""
    CASES.setdefault(name, []).append(Case(ours, theirs, arrays, smooth))


def called(name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """The operation of one tensor, with further arguments."""
    return lambda x: getattr(ops, name)(x, *args, **kwargs)


def floats(*shape: int, seed: int = 0, low: float | None = None, high: float = 1.0) -> np.ndarray:
    """Random numbers that float32 has: normal ones, or those between two."""
    random = np.random.default_rng([seed, *shape])
    values = random.standard_normal(shape) if low is None else random.uniform(low, high, shape)
    return values.astype(np.float32).astype(np.float64)


def ints(*shape: int, seed: int = 0, low: int = -5, high: int = 6) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).random(shape) < 0.5
