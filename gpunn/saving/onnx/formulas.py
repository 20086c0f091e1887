"""Formulas of layers and activations outside training, in terms of `gpunn.ops`.

Activations define their own formula, as do layers that only move elements. Other layers have their
own kernels, so their formulas are repeated here; the tests compare each with the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn import layers
from gpunn.layers.applying import moves_integers
from gpunn.layers.noise import Dropout, GaussianDropout, GaussianNoise
from gpunn.layers.traced import call_of
from gpunn.ops.table import ops

Formula = Callable[..., Any]


class NotExportable(ValueError):
    """Something has no counterpart in ONNX; the message names it."""


def values(parameter: Any) -> np.ndarray | None:
    """Return the values of a weight in float32; None for None."""
    return None if parameter is None else np.asarray(parameter.numpy(), np.float32)


def activation(f: Any, x: Any, where: str) -> Any:
    """Apply an activation to x.

    Raises:
        NotExportable: for a custom activation with a handwritten forward pass.
    """
    if f is None:
        return x
    if not f.states_call:
        raise NotExportable(
            f"{where}: the activation {type(f).__name__} with a handwritten forward pass"
        )
    return f.call(x)


def _dense(layer: Any, x: Any) -> Any:
    y = ops.matmul(x, values(layer.kernel))
    if layer.bias is not None:
        y = y + values(layer.bias)
    return activation(layer.activation, y, layer.name)


def _conv(layer: Any, x: Any) -> Any:
    x = x if layer.channels_last else ops.transpose(x, (0, 2, 3, 1))
    sizes = layer.strides, layer.padding, "channels_last", layer.dilation_rate
    y = ops.conv(x, values(layer.kernel), *sizes)
    y = y if layer.bias is None else y + values(layer.bias)
    y = activation(layer.activation, y, layer.name)
    return y if layer.channels_last else ops.transpose(y, (0, 3, 1, 2))


def _pool(kind: str) -> Formula:
    def formula(layer: Any, x: Any) -> Any:
        sizes = layer.pool_size, layer.strides, layer.padding, layer.data_format
        return getattr(ops, kind)(x, *sizes)

    return formula


def _global_pool(kind: str) -> Formula:
    def formula(layer: Any, x: Any) -> Any:
        axes = (1, 2) if layer.channels_last else (2, 3)
        return getattr(ops, kind)(x, axes, keepdims=layer.keepdims)

    return formula


def _batch_norm(layer: Any, x: Any) -> Any:
    moments = values(layer.moving_mean), values(layer.moving_variance)
    factors = values(layer.beta), values(layer.gamma)
    return ops.batch_normalization(x, *moments, layer.axis, *factors, layer.epsilon)


def _layer_norm(layer: Any, x: Any) -> Any:
    gamma, beta = values(layer.gamma), values(layer.beta)
    if layer.centered:
        return ops.layer_normalization(x, gamma, beta, layer.axis, layer.epsilon)
    y = ops.rms_normalization(x, gamma, layer.axis, layer.epsilon)
    return y if beta is None else y + beta


def _unit_norm(layer: Any, x: Any) -> Any:
    squares = ops.sum(ops.square(x), layer.axis, keepdims=True)
    return x / ops.sqrt(squares + layer.epsilon)


def _group_norm(layer: Any, x: Any) -> Any:
    first = ops.moveaxis(x, layer.axis, 1)
    groups = ops.reshape(first, (x.shape[0], layer._count, -1))
    groups = ops.layer_normalization(groups, epsilon=layer.epsilon)
    y = ops.moveaxis(ops.reshape(groups, first.shape), 1, -1)
    y = y if layer.gamma is None else y * values(layer.gamma)
    y = y if layer.beta is None else y + values(layer.beta)
    return ops.moveaxis(y, -1, layer.axis)


FORMULAS: dict[type, Formula] = {
    layers.Dense: _dense,
    layers.Conv2D: _conv,
    layers.MaxPooling2D: _pool("max_pool"),
    layers.AveragePooling2D: _pool("average_pool"),
    layers.GlobalMaxPooling2D: _global_pool("max"),
    layers.GlobalAveragePooling2D: _global_pool("mean"),
    layers.BatchNormalization: _batch_norm,
    **dict.fromkeys((layers.LayerNormalization, layers.RMSNormalization), _layer_norm),
    layers.GroupNormalization: _group_norm,
    layers.UnitNormalization: _unit_norm,
    layers.Rescaling: lambda layer, x: (
        x * np.asarray(layer.scale, np.float32) + np.asarray(layer.offset, np.float32)
    ),
    layers.InputLayer: lambda layer, x: x,
    **dict.fromkeys((Dropout, GaussianDropout, GaussianNoise), lambda layer, x: x),
    **dict.fromkeys(
        (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax),
        lambda layer, x: activation(layer.activation, x, layer.name),
    ),
}


def layer_formula(layer: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Apply a layer to tensors, by its `call`, by its `of_integers` if it only moves elements, or
    by a formula of this module.

    Raises:
        NotExportable: for a layer with handwritten passes.
    """
    if layer.has_call:
        return call_of(layer, args, kwargs, False)
    if layer.of_integers is not None and moves_integers(layer):
        return layer.of_integers(args[0])
    formula = FORMULAS.get(type(layer))
    if formula is None:
        raise NotExportable(f"{layer.name}, a {type(layer).__name__} with handwritten passes")
    return formula(layer, *args)
