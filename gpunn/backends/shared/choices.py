"""Numbers chosen by truth values: where a product with 0 would make NaN of infinity."""

from __future__ import annotations

from typing import Any

import numpy as np


def select(backend: Any, where: Any, x: Any, out: Any) -> None:
    """out = x where it holds, else 0: of infinite x and of NaN, too.

    Array modules copy by a mask number by number; the bits of all at once are far faster.

    Args:
        where: truth values, in one piece.
        x: floats of its shape; ``out`` may be the same.
    """
    xp = backend.xp
    signs = backend.scratch(where.shape, np.int8, "signs")
    mask = backend.scratch(where.shape, f"int{8 * x.dtype.itemsize}", "mask")
    xp.negative(where.view(np.int8), out=signs)
    xp.copyto(mask, signs)  # no bit is 1, or all are
    xp.bitwise_and(bits_of(x), bits_of(mask), out=bits_of(out))


def bits_of(x: Any) -> Any:
    """The same memory as whole numbers without signs."""
    return x.view(f"uint{8 * x.dtype.itemsize}")
