"""Schedules: a learning rate, or a momentum, as a function of the updates done so far.

``Adam(learning_rate=schedule)`` and ``SGD(momentum=schedule)`` take one in place of a
number. A built-in schedule is computed by the step itself, on the device. One of your
own, a subclass of `LearningRateSchedule` with ``__call__(step)``, is asked on the host
before each update: it works everywhere, but one step at a time.
"""

from __future__ import annotations

from typing import Any

from gpunn.common import registry

from .cosine import CosineDecay, CosineDecayRestarts, OneCycle
from .decay import (
    Constant,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from .schedule import LearningRateSchedule

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "get",
    "serialize",
]


def get(identifier: Any) -> LearningRateSchedule:
    """The schedule for an object or a config dictionary.

    >>> get({"class_name": "Constant", "config": {"value": 0.5}})(7)
    0.5
    """
    return registry.get("schedule", identifier)


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any] | None:
    """The schedule as a dictionary that `get` takes."""
    return registry.serialize(learning_rate_schedule)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, type] | None = None
) -> LearningRateSchedule:
    """The schedule that `serialize` described."""
    return registry.also(custom_objects or {}, lambda: registry.deserialize(config, "schedule"))
