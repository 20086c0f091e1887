"""References for expressions: NumPy's functions, and values to test them on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import (
    COLUMNS,
    ELEMENTS,
    MOST_COLUMNS,
    ONE,
    OPERANDS,
    ROWS,
    TRUTHS,
    Expression,
)

EXTENTS = (ELEMENTS, ROWS, COLUMNS, ONE)
SIZES = [
    (1, 1), (7, 5), (3, 700), (40, 10), (2000, 3), (1, 100_000), (0, 4), (5, MOST_COLUMNS),
    (600, 1), (9, 33),
]  # fmt: skip
NAMES = {"abs": "absolute", "mod": "remainder", "round": "rint", "copy": "positive"}
FOLDS: dict[str, Any] = {
    "row_sum": np.sum, "row_max": np.max, "row_min": np.min, "column_sum": np.sum,
}  # fmt: skip
ROUNDED = {  # functions that libraries compute to within this many units in the last place
    **dict.fromkeys(
        ("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
         "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "power", "arctan2"),
        4,
    ),
    "sigmoid": 5,
    "logaddexp": 5,
    "erfc": 1100,  # exp(-x^2), where x^2, up to 745, is rounded, and what it is added to
}  # fmt: skip
PLAIN = [name for name in OPERANDS if name not in FOLDS and OPERANDS[name]]


BACKENDS = "numpy", "compiled", "emulated"


def perform(
    backend: Backend,
    expression: Expression,
    size: tuple[int, int],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Return the contents of the outputs afterwards."""
    out = [backend.upload(array.copy()) for array in outputs]
    with np.errstate(all="ignore"):
        backend.expression(expression, *size, [backend.upload(x) for x in inputs], out)
    return [backend.read(array) for array in out]


def value_of(function: str, operands: Sequence[Any], number: float = 0.0) -> Any:
    """Compute the expression with NumPy."""
    if function == "constant":
        return np.full((1, 1), number)
    if function in FOLDS:
        axis = 0 if function == "column_sum" else 1
        return FOLDS[function](operands[0], axis=axis, keepdims=True)
    if function == "where":
        return np.where(operands[0] != 0, *operands[1:])
    if function == "relu":
        return np.maximum(operands[0], 0)
    if function == "sigmoid":
        return 1 / (1 + np.exp(-operands[0]))
    if function == "erfc":
        return np.vectorize(math.erfc, [operands[0].dtype])(operands[0])
    value = getattr(np, NAMES.get(function, function))(*operands)
    return value.astype(operands[0].dtype) if function in TRUTHS else value


def draw(rng: np.random.Generator, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Values of all magnitudes, and special values."""
    x = rng.choice([0.3, 1, 4, 30], shape) * rng.normal(size=shape)
    some = rng.random(shape)
    x = np.where(some < 0.2, np.round(x), x)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, -1e-40, 3e-45, 1.0, -1.0, 1e30, 3e6]
    with np.errstate(all="ignore"):
        return np.where(some > 0.85, rng.choice(special, shape), x).astype(dtype)


def assert_near(got: np.ndarray, exact: np.ndarray, units: float, size: Any = 0.0) -> None:
    """Assert that values agree to some units in the last place of the exact ones, or of this size
    if that is larger."""
    with np.errstate(all="ignore"):
        expected = exact.astype(got.dtype)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        same = (got == expected) | np.isnan(expected)
        unit = np.spacing(np.maximum(np.abs(expected), np.asarray(size, got.dtype)))
        difference = np.abs(got.astype(np.longdouble) - exact)
        near = same | (difference <= units * unit)
    assert near.all(), (got[~near][:5], exact[~near][:5])
