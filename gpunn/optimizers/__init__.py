"""Optimizers: how gradients change parameters."""

from __future__ import annotations

from typing import Any

from gpunn.common import registry

from . import schedules
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .lamb import Lamb
from .lion import Lion
from .nadam import Nadam
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any) -> Optimizer:
    """The optimizer for a name, an object, a class or a config dictionary.

    Raises:
        ValueError: for an unknown name; the closest known one is suggested.

    >>> get("sgd").learning_rate
    0.01
    """
    return registry.get("optimizer", identifier)


def serialize(optimizer: Optimizer) -> dict[str, Any] | None:
    """The optimizer as a dictionary that `get` takes."""
    return registry.serialize(optimizer)


def deserialize(config: dict[str, Any]) -> Optimizer:
    """The optimizer that `serialize` described."""
    return registry.deserialize(config, "optimizer")
