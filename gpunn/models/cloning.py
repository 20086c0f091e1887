"""Cloning: a model of the same layers, with new weights."""

from __future__ import annotations

from itertools import chain
from typing import Any

from gpunn.common import registry
from gpunn.common.overrides import is_framework
from gpunn.structure.nested import NestedModel


def clone_model(model: Any) -> Any:
    """Return an uncompiled model of the same layers with new initial weights, as Keras does.

    Layers of classes that are not registered are cloned too. For a copy with the same weights and
    optimizer state, use ``copy.deepcopy(model)``.

    Args:
        model: The model, built or not.

    Raises:
        TypeError: if ``model`` is not a model.
        ValueError: for a layer whose configuration is not known, such as a Lambda.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> clone = clone_model(model)
    >>> clone.count_params(), clone.layers[0] is model.layers[0]
    (8, False)
    """
    if not isinstance(model, NestedModel):
        raise TypeError(f"clone_model takes a model; got {model!r}.")
    inside = chain.from_iterable(layer._with_layers_inside() for layer in _all(model))
    classes = {type(part).__name__: type(part) for part in [model, *_all(model), *inside]}
    own = {name: cls for name, cls in classes.items() if not is_framework(cls)}
    return registry.also(own, lambda: _cloned(model))


def _all(model: Any) -> list[Any]:
    """All layers of a model, including models used as layers, at any depth."""
    found: list[Any] = []
    for layer in model.layers:
        found += [layer, *(_all(layer) if isinstance(layer, NestedModel) else [])]
    return found


def _cloned(model: Any) -> Any:
    clone = type(model).from_config(model.get_config())
    if model._has_call and model.built:
        clone.build(model.input_shape)
    return clone
