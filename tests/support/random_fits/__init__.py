"""Random training runs: each is a dictionary of plain values for both Keras and gpunn."""

from __future__ import annotations

from .comparing import differences, is_chaotic
from .configurations import configuration
from .drawing import Config
from .running import run

__all__ = ["Config", "configuration", "differences", "is_chaotic", "run"]
