"""For each operation what it is tried with, and the same in PyTorch."""

from __future__ import annotations

from . import (
    control,
    elementwise,
    images,
    joining,
    making,
    nn,
    products,
    reductions,
    selection,
    shapes,
)
from .case import CASES, Case

__all__ = ["CASES", "Case"]

assert all((control, elementwise, images, joining, making, nn, products, reductions, selection))
assert shapes
