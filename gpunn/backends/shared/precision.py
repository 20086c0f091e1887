"""The number formats of tensor cores, to which a product's factors are rounded.

A product that may use tensor cores rounds only its two factors: it multiplies
and sums in float32, and its result and everything else stay float32.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gpunn.common.names import closest
from gpunn.common.snapshots import first_time

PRECISIONS = {"tf32": 10, "bfloat16": 7}
"""Mantissa bits that remain of float32's 23; the range stays the same.

Source: NVIDIA, Parallel Thread Execution ISA, section "Alternate floating point data formats".
"""

CAPABILITY = 80
"""The first compute capability whose tensor cores support them, 8.0.

Source: NVIDIA, Ampere Tuning Guide, "Improved Tensor Core Operations".
"""


def check_precision(precision: Any) -> None:
    """Raise ValueError unless it is None or one of `PRECISIONS`."""
    if precision is not None and precision not in list(PRECISIONS):
        raise ValueError(
            f"matmul_precision must be None or one of {', '.join(PRECISIONS)}; "
            f"got {precision!r}.{closest(str(precision), list(PRECISIONS))}"
        )


def usable(precision: str | None, backend: Any, dtype: str) -> str | None:
    """Return the requested precision; None on a backend without such products, reported once.

    Raises:
        ValueError: for a model that is not float32, and on a GPU without such products.
    """
    if precision is None:
        return None
    option = f"matmul_precision={precision!r}"
    if dtype != "float32":
        raise ValueError(f"{option} rounds float32, but the model is {dtype}; leave it out.")
    if backend.precisions is None:
        if first_time("a precision without effect"):
            print(f"gpunn: {option} has no effect on the {backend.name} backend.", file=sys.stderr)
        return None
    if precision not in backend.precisions:
        raise ValueError(
            f"{option} needs a GPU of compute capability {CAPABILITY / 10} or newer (RTX 30xx, "
            f"A100), and this GPU is older; leave it out."
        )
    return precision


def rounded(x: np.ndarray, precision: str | None) -> np.ndarray:
    """Round float32 values to the nearest of the format, ties to even; None: unchanged.

    Raises TypeError for another dtype: no format applies to float64.

    >>> rounded(np.array([1 + 2**-9, 1 + 2**-10, 1 + 2**-11], np.float32), "tf32") - 1
    array([0.00195312, 0.00097656, 0.        ], dtype=float32)
    """
    if precision is None:
        return x
    if x.dtype != np.float32:
        raise TypeError(f"{precision} rounds float32; got {x.dtype}.")
    dropped = 23 - PRECISIONS[precision]
    bits = np.ascontiguousarray(x).view(np.uint32)
    odd = (bits >> np.uint32(dropped)) & np.uint32(1)
    up = bits + (np.uint32((1 << (dropped - 1)) - 1) + odd)
    kept = (up & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)).view(np.float32)
    return np.where(np.isfinite(x), kept, x).reshape(x.shape)
