"""Random training runs: each is a dictionary of plain values for both Keras and gpunn."""

from __future__ import annotations

from .comparing import differences, is_chaotic
from .configurations import configuration
from .drawing import Config
from .long_way import LongWay, orders_of
from .own_steps import KINDS, WithSteps
from .rows_of_fits import first_weights, row_of_fits, run_row
from .running import run

__all__ = [
    "KINDS", "Config", "LongWay", "WithSteps", "configuration", "differences",
    "first_weights", "is_chaotic", "orders_of", "row_of_fits", "run", "run_row",
]  # fmt: skip
