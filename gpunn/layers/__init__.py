"""Layers: the parts a model is made of."""

from __future__ import annotations

from typing import Any

from .. import registry
from .base import Layer
from .core import Activation, Dropout, Flatten, Input, InputLayer, Rescaling
from .dense import Dense

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "Rescaling",
    "deserialize",
    "get",
    "serialize",
]


def get(identifier: Any) -> Layer:
    """The layer for an object or a config dictionary."""
    return registry.get("layer", identifier)


def serialize(layer: Layer) -> dict[str, Any] | None:
    """The layer as a dictionary that `deserialize` takes."""
    return registry.serialize(layer)


def deserialize(config: dict[str, Any]) -> Layer:
    """The layer that `serialize` described."""
    return registry.deserialize(config, "layer")
