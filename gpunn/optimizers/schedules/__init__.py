# Below the docstring: written by `make exports` from the modules of this folder.
"""Schedules: a learning rate, or a momentum, as a function of the batches trained on so far.

``Adam(learning_rate=schedule)`` and ``SGD(momentum=schedule)`` take one in place of a
number. A built-in schedule is computed by the step itself, on the device. One of your
own, a subclass of `LearningRateSchedule` with ``__call__(step)``, is asked on the host
before each update: it works everywhere, but one step at a time.
"""

from .cosine import CosineDecay, CosineDecayRestarts, OneCycle
from .decay import (
    Constant,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from .schedule import LearningRateSchedule, deserialize, get, serialize

__all__ = [
    "Constant", "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay",
    "LearningRateSchedule", "OneCycle", "PiecewiseConstantDecay", "PolynomialDecay", "deserialize",
    "get", "serialize",
]  # fmt: skip
