"""Formulas of layers and activations outside training, in terms of `gpunn.ops`.

Activations define their own formula. Layers have their own kernels, so their formulas are
repeated here; the tests compare each with the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn import activations, layers
from gpunn.layers.noise import Dropout, GaussianDropout, GaussianNoise
from gpunn.layers.traced import call_of
from gpunn.ops.table import ops

Formula = Callable[..., Any]


class NotExportable(ValueError):
    """Something has no counterpart in ONNX; the message names it."""


def values(parameter: Any) -> np.ndarray | None:
    """Return the values of a weight in float32; None for None."""
    return None if parameter is None else np.asarray(parameter.numpy(), np.float32)


# -- activations


def _softmax(f: Any, x: Any, log: bool = False) -> Any:
    axes = f.axis if isinstance(f.axis, tuple) else (f.axis,)
    z = x - ops.max(x, axes, keepdims=True)
    e = ops.exp(z)
    total = ops.sum(e, axes, keepdims=True)
    return z - ops.log(total) if log else e / total


ROW_ACTIVATIONS: dict[type, Formula] = {
    activations.Softmax: _softmax,
    activations.LogSoftmax: lambda f, x: _softmax(f, x, log=True),
}


def activation(f: Any, x: Any, where: str) -> Any:
    """Apply an activation to x.

    Raises:
        NotExportable: for a custom activation with a handwritten forward pass.
    """
    if f is None:
        return x
    if formula := ROW_ACTIVATIONS.get(type(f)):
        return formula(f, x)
    if not f.states_call:
        raise NotExportable(
            f"{where}: the activation {type(f).__name__} with a handwritten forward pass"
        )
    return f.call(x)


# -- layers


def _dense(layer: Any, x: Any) -> Any:
    y = ops.matmul(x, values(layer.kernel))
    if layer.bias is not None:
        y = y + values(layer.bias)
    return activation(layer.activation, y, layer.name)


def _images(layer: Any, x: Any, work: Formula) -> Any:
    """Apply ``work``, which takes images with channels last, in the layer's data format."""
    if layer.channels_last:
        return work(x)
    y = work(ops.transpose(x, (0, 2, 3, 1)))
    return ops.transpose(y, (0, 3, 1, 2)) if y.ndim == 4 else y


def _conv(layer: Any, x: Any) -> Any:
    def work(x: Any) -> Any:
        y = ops.conv(
            x, values(layer.kernel), layer.strides, layer.padding, "channels_last",
            layer.dilation_rate,
        )  # fmt: skip
        y = y if layer.bias is None else y + values(layer.bias)
        return activation(layer.activation, y, layer.name)

    return _images(layer, x, work)


def _pool(kind: str) -> Formula:
    def formula(layer: Any, x: Any) -> Any:
        sizes = layer.pool_size, layer.strides, layer.padding, "channels_last"
        return _images(layer, x, lambda x: getattr(ops, kind)(x, *sizes))

    return formula


def _global_pool(kind: str) -> Formula:
    def formula(layer: Any, x: Any) -> Any:
        axes = (1, 2) if layer.channels_last else (2, 3)
        return getattr(ops, kind)(x, axes, keepdims=layer.keepdims)

    return formula


def _spread(x: Any, place: int, array: np.ndarray | None) -> Any:
    """Reshape values along an axis so that they broadcast against x."""
    if array is None:
        return None
    return array.reshape([-1 if k == place else 1 for k in range(x.ndim)])


def _scaled(layer: Any, x: Any, place: int) -> Any:
    gamma, beta = values(layer.gamma), values(layer.beta)
    x = x if gamma is None else x * _spread(x, place, gamma)
    return x if beta is None else x + _spread(x, place, beta)


def _batch_norm(layer: Any, x: Any) -> Any:
    place = layer.axis % x.ndim
    mean, variance = values(layer.moving_mean), values(layer.moving_variance)
    assert mean is not None and variance is not None
    y = (x - _spread(x, place, mean)) / _spread(x, place, np.sqrt(variance + layer.epsilon))
    return _scaled(layer, y, place)


def _axes_of(layer: Any, x: Any) -> tuple[int, ...]:
    given = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return tuple(sorted(n % x.ndim for n in given))


def _layer_norm(layer: Any, x: Any) -> Any:
    axes = _axes_of(layer, x)
    if layer.centered:
        x = x - ops.mean(x, axes, keepdims=True)
    y = x / ops.sqrt(ops.mean(ops.square(x), axes, keepdims=True) + layer.epsilon)
    gamma, beta = values(layer.gamma), values(layer.beta)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def _unit_norm(layer: Any, x: Any) -> Any:
    axes = _axes_of(layer, x)
    return x / ops.sqrt(ops.sum(ops.square(x), axes, keepdims=True) + layer.epsilon)


def _group_norm(layer: Any, x: Any) -> Any:
    place = layer.axis % x.ndim
    order = [0, place, *(k for k in range(1, x.ndim) if k != place)]
    moved = ops.transpose(x, order)
    groups = ops.reshape(moved, (x.shape[0], layer._count, -1))
    groups = groups - ops.mean(groups, -1, keepdims=True)
    groups = groups / ops.sqrt(ops.mean(ops.square(groups), -1, keepdims=True) + layer.epsilon)
    back = ops.transpose(ops.reshape(groups, moved.shape), np.argsort(order).tolist())
    return _scaled(layer, back, place)


def _flatten(layer: Any, x: Any) -> Any:
    if layer.data_format == "channels_first" and x.ndim > 2:
        x = ops.moveaxis(x, 1, -1)
    return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def _upsampling(layer: Any, x: Any) -> Any:
    first = 1 if layer.channels_last else 2
    for axis, times in zip((first, first + 1), layer.size, strict=True):
        x = ops.repeat(x, times, axis)
    return x


def _padding(layer: Any, x: Any) -> Any:
    sides = [(0, 0), *layer.padding, (0, 0)] if layer.channels_last else [
        (0, 0), (0, 0), *layer.padding,
    ]  # fmt: skip
    return ops.pad(x, sides)


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
    layers.Flatten: _flatten,
    layers.Reshape: lambda layer, x: ops.reshape(
        x, (x.shape[0], *layer.compute_output_shape((None, *x.shape[1:]))[1:])
    ),
    layers.Rescaling: lambda layer, x: (
        x * np.asarray(layer.scale, np.float32) + np.asarray(layer.offset, np.float32)
    ),
    layers.UpSampling2D: _upsampling,
    layers.ZeroPadding2D: _padding,
    layers.InputLayer: lambda layer, x: x,
    **dict.fromkeys((Dropout, GaussianDropout, GaussianNoise), lambda layer, x: x),
    **dict.fromkeys(
        (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax),
        lambda layer, x: activation(layer.activation, x, layer.name),
    ),
}


def layer_formula(layer: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Apply a layer to tensors, by its `call` or by a formula of this module.

    Raises:
        NotExportable: for a layer with handwritten passes.
    """
    if layer.has_call:
        return call_of(layer, args, kwargs, False)
    given = list(args[0]) if layer.takes_list else [args[0]]
    if layer._is_of_integers(given):
        return layer.of_integers(args[0])
    formula = FORMULAS.get(type(layer))
    if formula is None:
        raise NotExportable(f"{layer.name}, a {type(layer).__name__} with handwritten passes")
    return formula(layer, *args)
