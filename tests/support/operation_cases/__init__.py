"""Test inputs for each operation, with expected results from NumPy or Keras."""

from __future__ import annotations

from . import (
    control,
    elementwise,
    images,
    joining,
    later,
    making,
    nn,
    order,
    pairs,
    places,
    products,
    reductions,
    shapes,
)
from .case import ORACLES, Call, Difference, Oracle

__all__ = ["ORACLES", "Call", "Difference", "Oracle"]

assert all((control, elementwise, images, joining, making, nn, order, pairs, places, products))
assert all((later, reductions, shapes))
