"""Deliberate differences between operations and NumPy's or Keras's; `make docs` documents them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Difference


def refused(inputs: str, theirs: str, why: str) -> Difference:
    """A difference: gpunn rejects these inputs."""
    return Difference(inputs, theirs, f"refused: {why}")


def _not_numbers(*arrays: np.ndarray) -> Any:
    return np.isnan(np.sum(np.broadcast_arrays(*arrays), 0))


def _at_origin(a: np.ndarray, b: np.ndarray) -> Any:
    most = min(np.finfo(x.dtype).max for x in (a, b) if x.dtype.kind == "f")
    size = np.maximum(abs(a), abs(b))
    return (size == 0) | (size > 0.1 * float(most)) | np.isnan(a + b)


# -- gradients

OF_NAN = Difference(
    "NaN", "Keras on PyTorch: one side's, which differs from operation to operation",
    "any side's, or NaN: there is none", _not_numbers, "gradient",
)  # fmt: skip
UNREAD = Difference(
    "NaN in a step whose result neither a later step nor the result that is asked for reads",
    "PyTorch: 0 or NaN, depending on how it is asked", "NaN: 0 times NaN",
    lambda *arrays: len(arrays) == 2 and any(np.isnan(a).any() for a in arrays), "gradient",
)  # fmt: skip
FIRST_OF_EQUALS = Difference(
    "equal numbers", "PyTorch: half of the gradient each", "all of it to x1, as TensorFlow",
    lambda a, b: a == b, "gradient",
)  # fmt: skip
AT_ORIGIN = Difference(
    "(0, 0), and numbers whose squares overflow", "PyTorch: NaN, or infinite",
    "0, as the slope has no direction there; finite", _at_origin, "gradient",
)  # fmt: skip
NEGATIVE_BASE = Difference(
    "a base of 0 or below: the exponent's gradient", "PyTorch: NaN, or infinite",
    "0, as TensorFlow, so that an exponent can be trained beside such bases",
    lambda a, *b: a <= 0, "gradient",
)  # fmt: skip
ROOT_AT_0 = Difference(
    "0", "PyTorch: NaN, as 0 / 0", "infinite, as the slope is", lambda x: x == 0, "gradient"
)
BY_0 = Difference(
    "a divisor of 0, or so small that the quotient has no exact whole part",
    "PyTorch: infinite, NaN, or that part rounded", "infinite, NaN, or that part rounded otherwise",
    lambda a, b: (abs(a) > abs(b) * 2.0**16) | ~np.isfinite(a / b), "gradient",
)  # fmt: skip
NEAR_0 = Difference(
    "numbers near 0", "PyTorch: digits are lost in a difference",
    "right, by a series", lambda x: abs(x) < 0.05, "gradient",
)  # fmt: skip
NO_SPREAD = Difference(
    "one number alone, or equal ones", "PyTorch: NaN in `nanstd`, 0 in `std` of one number",
    "0, so that training goes on", lambda x: True, "gradient",
)  # fmt: skip
OTHERS = Difference(
    "tiny, huge, infinite numbers or NaN among those multiplied",
    "PyTorch: NaN or infinite, as it divides the product", "the product of the others",
    lambda x: ~((abs(x) > 1e-30) & (abs(x) < 1e30) | (x == 0)).all(), "gradient",
)  # fmt: skip
OVERWRITTEN = Difference(
    "places that are named twice: the gradient of updates",
    "PyTorch: each update gets its place's", "only the last one does, which is kept",
    lambda x, new: True, "gradient",
)  # fmt: skip
ZERO_ROW = Difference(
    "rows of zeros", "PyTorch: NaN", "as of x / epsilon",
    lambda x: (abs(x) < 1e-20).any(), "gradient",
)  # fmt: skip
ROW_OF_NAN = Difference(
    "NaN among the numbers", "PyTorch: the result's goes to the NaN",
    "NaN for the row, or none for it", lambda x, *rest: np.isnan(x).any(), "gradient",
)  # fmt: skip
TIED = Difference(
    "equal numbers", "PyTorch: one of them gets the gradient", "another one",
    lambda x, *q: len(np.unique(x)) < x.size, "gradient",
)  # fmt: skip
POOLED_NAN = Difference(
    "NaN under a window", "PyTorch: the gradient goes to the NaN", "to no pixel, or to another",
    lambda x: np.isnan(x).any(), "gradient",
)  # fmt: skip
INFINITE_SUM = Difference(
    "one infinite number", "PyTorch: NaN", "1: the result is that number",
    lambda x: x.size == 1, "gradient",
)  # fmt: skip
NEAR_LARGEST = Difference(
    "numbers near the largest of their dtype", "a finite gradient, in most cases",
    "NaN: a product on the way overflows",
    lambda x: abs(x) > np.finfo(x.dtype).max / 16, "gradient",
)  # fmt: skip

REPLACED = Difference(
    "infinite numbers: the gradient of `nancumsum` and `nancumprod`",
    "Keras: 0, as it replaces them by the largest number", "as of other numbers, as they are kept",
    lambda x: np.isinf(x).any(), "gradient",
)  # fmt: skip
AT_ONE_POINT = Difference(
    "two vectors at one point: the gradient of `cdist`", "PyTorch: NaN", "0",
    lambda x, y: np.equal(x[..., None, :], y[..., None, :, :]).all(-1).any(), "gradient",
)  # fmt: skip
SINGULAR_DET = Difference(
    "singular matrices: the gradient of `det`", "PyTorch: finite", "NaN; at once, an error",
    lambda x: abs(np.linalg.det(x)) < 1e-6, "gradient",
)  # fmt: skip

ALL_MASKED = Difference(
    "a query whose keys are all masked", "PyTorch: a gradient, as if none were", "0, as JAX",
    lambda q, k, v, *m: bool(m) and m[0].dtype == bool and not m[0].any(-1).all(), "gradient",
)  # fmt: skip

# -- values

WRAPPED = Difference(
    "integers whose sum or product is outside int32", "NumPy: right, in int64",
    "wrapped around, as Keras on each backend",
    lambda x: x.dtype == np.int32 and bool((abs(x.astype(float)) > 2**20).any()),
)  # fmt: skip
OF_TRUTHS = Difference(
    "truth values", "NumPy: `logical_or`", "their number, as int32: True + True is 2",
    lambda *xs: all(x.dtype == bool for x in xs),
)  # fmt: skip
PIXELS_OUTSIDE = Difference(
    "a mean under windows that reach beyond the image (`padding=\"same\"`)",
    "Keras on PyTorch: of zeros there too", "of the pixels inside, as Keras on TensorFlow and JAX",
)  # fmt: skip

OUTSIDE_IMAGES = Difference(
    "weights of a kernel that are NaN or infinite, under what lies outside the image",
    "PyTorch: left out", "NaN, as 0 times them is", lambda x, w: ~np.isfinite(w).all(),
)  # fmt: skip
BETWEEN_INFINITE = Difference(
    "infinite numbers", "NumPy: NaN, as inf - inf",
    "infinite between a number and an infinite one", lambda x, *q: np.isinf(x).any(),
)  # fmt: skip

# -- rejected

OF_NONE = refused("no elements", "NumPy: NaN, and a warning", "there is none")
BEYOND_INT32 = refused(
    "numbers outside int32, cast to uint32 or int64", "held", "tensors hold integers as int32"
)
SINGULAR_TRIANGLE = refused(
    "a triangular matrix with a 0 on its diagonal, at once", "PyTorch: infinite",
    "as SciPy; in a step the result is NaN",
)  # fmt: skip
OTHER_METHOD = refused("a `method` that Keras does not have", "NumPy has nine more", "as in Keras")
UNEQUAL_LENGTHS = refused(
    "an axis of length 1 that another operand has longer", "NumPy: repeated",
    "named axes must be equally long; `...` is broadcast",
)  # fmt: skip
