"""PyTorch's counterpart of each activation and layer, by gpunn's name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

if sys.version_info[:2] == (3, 11):
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)  # on arrays this small, more threads only wait for each other

against_pytorch = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the PyTorch compared with is for Python 3.11"
)


def torch_relu(x: Any, options: dict) -> Any:
    slope, threshold = options.get("negative_slope", 0.0), options.get("threshold", 0.0)
    y = torch.where(x > threshold, x, slope * (x - threshold))
    return y if options.get("max_value") is None else y.clamp(max=options["max_value"])


def torch_step(x: Any, options: dict) -> Any:
    low, high = options.get("low", 0.0), options.get("high", 1.0)
    at = high if options.get("high_at_threshold", True) else low
    step = torch.heaviside(x - options.get("threshold", 0.0), torch.tensor(0.5, dtype=x.dtype))
    table = {0.0: low, 0.5: at, 1.0: high}
    return step.detach().apply_(table.__getitem__) + 0 * x  # heaviside has no gradient


def torch_gaussian(x: Any, options: dict) -> Any:
    mu, sigma = (torch.full((), options.get(k, d), dtype=x.dtype)
                 for k, d in (("mu", 0.0), ("sigma", 1.0)))  # fmt: skip
    return torch.distributions.Normal(mu, sigma).log_prob(x).exp()


def torch_ramp(x: Any, options: dict) -> Any:
    low, high = options.get("low", 0.0), options.get("high", 1.0)
    start, end = options.get("start", -1.0), options.get("end", 1.0)
    return low + F.hardtanh((x - start) / (end - start), 0.0, 1.0) * (high - low)


ACTIVATIONS: dict[str, Callable[[Any, dict], Any]] = {
    "Linear": lambda x, options: x * 1,
    "Sigmoid": lambda x, options: (
        torch.sigmoid(options.get("slope", 1.0) * x - options.get("shift", 0.0))
        + options.get("offset", 0.0)
    ),
    "Tanh": lambda x, options: torch.tanh(x),
    "Relu": torch_relu,
    "HardTanh": lambda x, options: F.hardtanh(x),
    "HardShrink": lambda x, options: F.hardshrink(x, options.get("threshold", 0.5)),
    "SoftShrink": lambda x, options: F.softshrink(x, options.get("threshold", 0.5)),
    "TanhShrink": lambda x, options: F.tanhshrink(x),
    "Threshold": lambda x, options: F.threshold(
        x, options.get("threshold", 0.0), options.get("default_value", 0.0)
    ),
    "LogSigmoid": lambda x, options: F.logsigmoid(x),
    "Softmax": lambda x, options: torch.softmax(x, -1),
    "LogSoftmax": lambda x, options: torch.log_softmax(x, -1),
    "Softsign": lambda x, options: F.softsign(x),
    "Gaussian": torch_gaussian,
    # F.hardsigmoid has the gradient of float32, whatever the dtype.
    "HardSigmoid": lambda x, options: F.relu6(x + 3) / 6,
    "LeakyRelu": lambda x, options: F.leaky_relu(x, options.get("negative_slope", 0.2)),
    "Relu6": lambda x, options: F.relu6(x),
    "Elu": lambda x, options: F.elu(x, options.get("alpha", 1.0)),
    "Celu": lambda x, options: F.celu(x, options.get("alpha", 1.0)),
    "Selu": lambda x, options: F.selu(x),
    "Exponential": lambda x, options: torch.exp(x),
    "Softplus": lambda x, options: F.softplus(x, threshold=100),  # not linear above 20
    "Silu": lambda x, options: F.silu(x),
    "HardSilu": lambda x, options: F.hardswish(x),
    "Gelu": lambda x, options: F.gelu(
        x, approximate="tanh" if options.get("approximate") else "none"
    ),
    "Mish": lambda x, options: F.mish(x),
    # PyTorch has only the components of these.
    "Step": torch_step,
    "Sign": lambda x, options: torch_step(x, {"low": -1.0}),
    "Ramp": torch_ramp,
}  # fmt: skip


def torch_activation(given: Any, x: Any) -> Any:
    activation = gpunn.activations.get(given)
    return ACTIVATIONS[type(activation).__name__](x, activation.get_config())


def torch_dropout(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    """PyTorch draws other values: it gets our mask, and checks scale and gradient.

    ``ours`` is the output; test_order_and_random.py checks which inputs it keeps.
    """
    rate = arguments["rate"]
    mask = torch.tensor(ours != 0)
    if rate == 0.0:
        assert mask.all()
    kept = x * mask
    return F.dropout(kept, rate) if rate in (0.0, 1.0) else kept / (1 - rate)


def torch_dense(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    kernel, *bias = (torch.tensor(w, requires_grad=True) for w in layer.get_weights())
    layer.torch_weights = [kernel, *bias]
    z = F.linear(x, kernel.T, bias[0] if bias else None)
    return torch_activation(arguments.get("activation"), z)


def torch_weights(layer: Any) -> dict[str, Any]:
    """Return the weights of a layer that updates change, by name."""
    found = {p.name: torch.tensor(p.numpy(), requires_grad=True) for p in layer.trainable_weights}
    layer.torch_weights = list(found.values())
    return found


def torch_batch_norm(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    """In training or, if the layer is frozen, with the moving averages.

    test_normalization.py checks how these averages change: PyTorch divides their variance by n - 1.
    """
    weights, axis = torch_weights(layer), arguments.get("axis", -1)
    frozen = arguments.get("trainable") is False
    mean, variance = (torch.tensor(w) for w in layer.get_weights()[-2:]) if frozen else (None, None)
    gamma, beta = (weights.get(n) for n in ("gamma", "beta"))
    if frozen:
        gamma, beta = (torch.tensor(w) for w in layer.get_weights()[:2])
    # F.batch_norm would reject a batch of one value for each feature.
    y, *_ = torch.native_batch_norm(
        x.movedim(axis, 1), gamma, beta, mean, variance, not frozen, 0.0, layer.epsilon
    )
    return y.movedim(1, axis)


def torch_layer_norm(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    weights = torch_weights(layer)
    shape = (x.shape[-1],)
    return F.layer_norm(x, shape, weights.get("gamma"), weights.get("beta"), layer.epsilon)


def torch_rms_norm(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    return F.rms_norm(x, (x.shape[-1],), torch_weights(layer)["gamma"], layer.epsilon)


def torch_group_norm(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    weights, axis = torch_weights(layer), arguments.get("axis", -1)
    x = x.movedim(axis, 1)
    groups = x.shape[1] if arguments["groups"] == -1 else arguments["groups"]
    gamma, beta = (weights.get(n) for n in ("gamma", "beta"))
    # F.group_norm would reject a group of one value.
    return torch.group_norm(x, groups, gamma, beta, layer.epsilon).movedim(1, axis)


def torch_given_noise(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    """PyTorch gets our noise and checks the gradient; test_noise.py checks the noise."""
    if type(layer).__name__ == "GaussianNoise":
        return x + (torch.tensor(ours) - x).detach()
    return x * (torch.tensor(ours) / x).detach()


def torch_image(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of channels-first images, of the arguments and of the layer."""

    def counterpart(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
        if arguments.get("data_format") == "channels_first":
            return function(x, arguments, layer)
        y = function(x.movedim(-1, 1), arguments, layer)
        return y.movedim(1, -1) if y.ndim > 2 else y

    return counterpart


def torch_padded(x: Any, window: Any, strides: Any, arguments: dict, value: float = 0.0) -> Any:
    """PyTorch pads both sides equally; Keras, and so gpunn, adds an odd row at the bottom."""
    if arguments.get("padding", "valid") == "valid":
        return x
    sides: list[int] = []
    if arguments["padding"] == "causal":
        return F.pad(x, (window[0] - 1, 0))
    for n, span, step in list(zip(x.shape[2:], window, strides, strict=True))[::-1]:
        lacking = max((-(-n // step) - 1) * step + span - n, 0)
        sides += [lacking // 2, lacking - lacking // 2]
    return F.pad(x, sides, value=value)


def along_axes(x: Any, value: Any) -> tuple[int, ...]:
    """An argument as one number for each axis of images."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * (x.ndim - 2)


def torch_convolution(x: Any, arguments: dict, layer: Any) -> Any:
    """One channel for each group if it is depthwise; then combined if it is separable."""
    kernel, *more = (torch.tensor(w, requires_grad=True) for w in layer.get_weights())
    layer.torch_weights = [kernel, *more]
    pointwise = more.pop(0) if "Separable" in type(layer).__name__ else None
    channels, groups = x.shape[1], arguments.get("groups", 1)
    cells = kernel.movedim((-1, -2), (0, 1))
    if pointwise is not None or "Depthwise" in type(layer).__name__:
        groups, cells = channels, cells.movedim(1, 0).flatten(0, 1).unsqueeze(1)
    sizes = ("strides", "dilation_rate", "kernel_size")
    strides, dilation, window = (along_axes(x, arguments.get(name, 1)) for name in sizes)
    span = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    convolve = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]
    padded = torch_padded(x, span, strides, arguments)
    bias = more[0] if more else None
    if pointwise is None:
        z = convolve(padded, cells, bias, strides, dilation=dilation, groups=groups)
    else:
        z = convolve(padded, cells, None, strides, dilation=dilation, groups=groups)
        z = convolve(z, pointwise.movedim((-1, -2), (0, 1)), bias)
    return torch_activation(arguments.get("activation"), z)


def torch_max_pooling(x: Any, arguments: dict, layer: Any) -> Any:
    window = along_axes(x, arguments.get("pool_size", 2))
    strides = along_axes(x, arguments.get("strides") or window)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3]
    return pool(torch_padded(x, window, strides, arguments, -np.inf), window, strides)


def torch_average_pooling(x: Any, arguments: dict, layer: Any) -> Any:
    window = along_axes(x, arguments.get("pool_size", 2))
    strides = along_axes(x, arguments.get("strides") or window)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3]
    sums, counts = (
        pool(torch_padded(a, window, strides, arguments), window, strides)
        for a in (x, torch.ones_like(x))
    )
    return sums / counts


def torch_shifting(x: Any, arguments: dict, layer: Any) -> Any:
    """Zero padding or, as padding by a negative number, cropping."""
    sign = -1 if "Cropping" in type(layer).__name__ else 1
    given = arguments.get("padding", 1) if sign == 1 else arguments.get("cropping", 0)
    given = [given] if x.ndim == 3 else along_axes(x, given)
    sides = [side if isinstance(side, tuple) else (side, side) for side in given]
    return F.pad(x, [sign * n for side in sides[::-1] for n in side])


def torch_global(function: str) -> Callable[..., Any]:
    def pooling(x: Any, arguments: dict, layer: Any) -> Any:
        axes = tuple(range(2, x.ndim))
        return getattr(torch, function)(x, axes, keepdim=arguments.get("keepdims", False))

    return torch_image(pooling)


def torch_prelu(x: Any, arguments: dict, layer: Any, ours: Any) -> Any:
    alpha = torch.tensor(layer.get_weights()[0], requires_grad=True)
    layer.torch_weights = [alpha]
    return F.prelu(x.flatten(1), alpha.expand(x.shape[1:]).flatten()).reshape(x.shape)


def of_each_rank(name: str, counterpart: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {f"{name}{rank}D": counterpart for rank in (1, 2, 3)}


LAYERS: dict[str, Callable[[Any, dict, Any, Any], Any]] = {
    "ReLU": lambda x, arguments, layer, ours: torch_relu(x, arguments),
    "LeakyReLU": lambda x, arguments, layer, ours: F.leaky_relu(x, 0.3),
    "ELU": lambda x, arguments, layer, ours: F.elu(x, arguments["alpha"]),
    "Softmax": lambda x, arguments, layer, ours: torch.softmax(x, -1),
    "PReLU": torch_prelu,
    **dict.fromkeys(
        ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D",
         "SeparableConv1D", "SeparableConv2D"),
        torch_image(torch_convolution),
    ),
    **of_each_rank("MaxPooling", torch_image(torch_max_pooling)),
    **of_each_rank("AveragePooling", torch_image(torch_average_pooling)),
    **of_each_rank("GlobalMaxPooling", torch_global("amax")),
    **of_each_rank("GlobalAveragePooling", torch_global("mean")),
    **of_each_rank("ZeroPadding", torch_image(torch_shifting)),
    **of_each_rank("Cropping", torch_image(torch_shifting)),
    "UpSampling3D": torch_image(
        lambda x, arguments, layer: F.interpolate(x, scale_factor=tuple(map(float, layer.size)))
    ),
    "AdaptiveMaxPooling3D": torch_image(
        lambda x, arguments, layer: F.adaptive_max_pool3d(x, layer.output_size)
    ),
    "AdaptiveAveragePooling3D": torch_image(
        lambda x, arguments, layer: F.adaptive_avg_pool3d(x, layer.output_size)
    ),
    "BatchNormalization": torch_batch_norm,
    "LayerNormalization": torch_layer_norm,
    "RMSNormalization": torch_rms_norm,
    "GroupNormalization": torch_group_norm,
    "UnitNormalization": lambda x, given, *_: F.normalize(x, dim=given.get("axis", -1)),
    "GaussianNoise": torch_given_noise,
    "GaussianDropout": torch_given_noise,
    "Reshape": lambda x, arguments, layer, ours: x.reshape(ours.shape),
    "Flatten": lambda x, arguments, layer, ours: torch.nn.Flatten()(
        x.movedim(1, -1) if "data_format" in arguments and x.ndim > 2 else x
    ),
    "Rescaling": lambda x, arguments, layer, ours: (
        x * arguments["scale"] + arguments.get("offset", 0.0)
    ),
    "Activation": lambda x, arguments, layer, ours: torch_activation(arguments["activation"], x),
    "Dropout": torch_dropout,
    "Dense": torch_dense,
    "Add": lambda x, arguments, layer, ours: x + torch.tanh(x),
    "Identity": lambda x, arguments, layer, ours: x,
    "Average": lambda x, arguments, layer, ours: (x + torch.tanh(x)) / 2,
    "Concatenate": lambda x, arguments, layer, ours: torch.cat(
        [x, torch.tanh(x)], arguments.get("axis", -1)
    ),
    "Maximum": lambda x, arguments, layer, ours: torch.maximum(x, torch.tanh(x)),
    "Minimum": lambda x, arguments, layer, ours: torch.minimum(x, torch.tanh(x)),
    "Multiply": lambda x, arguments, layer, ours: x * torch.tanh(x),
    "Subtract": lambda x, arguments, layer, ours: x - torch.tanh(x),
}
