"""Random trainings, each a dictionary of plain values that Keras and gpunn are run with alike."""

from __future__ import annotations

from .comparing import differences, is_chaotic
from .configurations import configuration
from .drawing import Config
from .running import run

__all__ = ["Config", "configuration", "differences", "is_chaotic", "run"]
