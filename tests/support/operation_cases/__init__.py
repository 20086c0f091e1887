"""For each operation what it is tried with, and what it gives then by NumPy or Keras."""

from __future__ import annotations

from . import (
    control,
    elementwise,
    images,
    joining,
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
assert all((reductions, shapes))
