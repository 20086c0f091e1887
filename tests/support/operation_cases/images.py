"""Of convolution and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from gpunn import ops

from .case import case, floats

Pair = tuple[int, int]


def padded(x: Any, window: Pair, strides: Pair, dilation: Pair = (1, 1), value: float = 0.0) -> Any:
    """Images with their channels first, with as much around them as Keras's "same" asks for."""
    sides: list[int] = []
    for n, k, step, d in zip(x.shape[2:], window, strides, dilation, strict=True):
        total = max((-(-n // step) - 1) * step + d * (k - 1) + 1 - n, 0)
        sides = [total // 2, total - total // 2, *sides]
    return F.pad(x, sides, value=value)


def convolved(
    strides: Pair, padding: str, dilation: Pair = (1, 1), groups: int = 1
) -> Callable[..., Any]:
    """As the operation, by PyTorch, of channels that are last."""

    def function(x: Any, kernel: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        window = kernel.shape[:2]
        x = padded(x, window, strides, dilation) if padding == "same" else x
        if groups > 1:  # (height, width, channels, each): as PyTorch's filters of groups
            kernel = kernel.reshape(*window, 1, -1)
        y = F.conv2d(x, kernel.permute(3, 2, 0, 1), None, strides, 0, dilation, groups)
        return y.permute(0, 2, 3, 1)

    return function


x, kernel = floats(2, 7, 6, 3), floats(3, 2, 3, 4, seed=1)
for strides, padding, dilation in [
    ((1, 1), "valid", (1, 1)), ((2, 1), "same", (1, 1)), ((3, 2), "valid", (1, 1)),
    ((1, 1), "same", (2, 3)),
]:  # fmt: skip
    case(
        "conv", lambda x, w, o=(strides, padding, None, dilation): ops.conv(x, w, *o),
        convolved(strides, padding, dilation), x, kernel,
    )  # fmt: skip
case(
    "conv", lambda x, w: ops.conv(x, w, 2, "same", "channels_first"),
    lambda x, w: F.conv2d(padded(x, (3, 2), (2, 2)), w.permute(3, 2, 0, 1), None, 2),
    floats(2, 3, 7, 6), kernel,
)  # fmt: skip
case(
    "conv", lambda x, w: ops.conv(x, w, strides=2),
    lambda x, w: F.conv1d(x.mT, w.permute(2, 1, 0), None, 2).mT, floats(2, 9, 3), floats(4, 3, 5),
)  # fmt: skip

case(
    "depthwise_conv", lambda x, w: ops.depthwise_conv(x, w, (2, 1), "same"),
    convolved((2, 1), "same", groups=3), x, floats(2, 3, 3, 2),
)  # fmt: skip
case(
    "separable_conv", lambda x, w, v: ops.separable_conv(x, w, v, 2),
    lambda x, w, v: convolved((2, 2), "valid", groups=3)(x, w) @ v[0, 0],
    x, floats(2, 3, 3, 2), floats(1, 1, 6, 5),
)  # fmt: skip
for step in (1, 2, 4):
    case(
        "conv_transpose", lambda x, w, s=step: ops.conv_transpose(x, w, s),
        lambda x, w, s=step: F.conv_transpose2d(
            x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, s,
            output_padding=(max(s - 3, 0), max(s - 2, 0)),
        ).permute(0, 2, 3, 1),
        floats(2, 4, 3, 4), floats(3, 2, 5, 4),
    )  # fmt: skip
case(
    "conv_transpose", lambda x, w: ops.conv_transpose(x, w, 2, "same"),
    lambda x, w: F.conv_transpose2d(
        x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, 2
    )[:, :, :8, :6].permute(0, 2, 3, 1),
    floats(2, 4, 3, 4), floats(3, 2, 5, 4),
)  # fmt: skip


def pooled(name: str, window: Pair, strides: Pair, padding: str) -> Callable[..., Any]:
    """As the operation, by PyTorch, of channels that are last; what is outside is not counted."""

    def largest(x: Any) -> Any:
        return F.max_pool2d(x, window, strides)

    def mean(x: Any, inside: Any) -> Any:
        return F.avg_pool2d(x, window, strides) / F.avg_pool2d(inside, window, strides)

    def function(x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        inside = torch.ones_like(x)
        if padding == "same":
            outside = -torch.inf if name == "max_pool" else 0.0
            x, inside = (
                padded(t, window, strides, value=v) for t, v in ((x, outside), (inside, 0.0))
            )
        y = largest(x) if name == "max_pool" else mean(x, inside)
        return y.permute(0, 2, 3, 1)

    return function


for name, ours in (("max_pool", ops.max_pool), ("average_pool", ops.average_pool)):
    for window, strides, padding in [
        ((2, 2), (2, 2), "valid"), ((3, 2), (2, 1), "same"), ((2, 3), (1, 2), "valid"),
    ]:  # fmt: skip
        case(
            name, lambda x, f=ours, o=(window, strides, padding): f(x, *o),
            pooled(name, window, strides, padding), x,
        )  # fmt: skip
    case(
        name, lambda x, f=ours: f(x, 2, data_format="channels_first"),
        lambda x, n=name: pooled(n, (2, 2), (2, 2), "valid")(x.permute(0, 2, 3, 1)).permute(
            0, 3, 1, 2
        ),
        floats(2, 3, 7, 6),
    )  # fmt: skip
    case(
        name, lambda x, f=ours: f(x, 3, 2, "same"),
        lambda x, n=name: pooled(n, (1, 3), (1, 2), "same")(x[:, None])[:, 0], floats(2, 8, 3),
    )  # fmt: skip
