"""Layers and activations outside training, in terms of `gpunn.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.layers.as_operation import formula_of
from gpunn.layers.traced import call_of


class NotExportable(ValueError):
    """Something has no counterpart in ONNX; the message names it."""


def activation(f: Any, x: Any, where: str) -> Any:
    """Apply an activation to x, or raise NotExportable for a custom one with a handwritten forward
    pass."""
    if not f.states_call:
        raise NotExportable(
            f"{where}: the activation {type(f).__name__} with a handwritten forward pass"
        )
    return f.call(x)


def layer_formula(layer: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Apply a layer to tensors by its `call` or formula, or raise NotExportable for handwritten
    passes."""
    if layer._has_call:
        return call_of(layer, args, kwargs, False)
    if layer._has_passes:
        raise NotExportable(f"{layer.name}, a {type(layer).__name__} with handwritten passes")
    return formula_of(layer)(args[0], False, **kwargs)
