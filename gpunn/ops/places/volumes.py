"""Convolution of volumes, which have three axes, as a sum of convolutions of their slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.backends.shared.geometry import Geometry
from gpunn.ops.shapes import listed, moveaxis, reshape
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor


def three(argument: str, given: Any) -> tuple[int, int, int]:
    """Return an argument as (depth, height, width)."""
    several = listed(given)
    several = several * 3 if len(several) == 1 else several
    if len(several) != 3 or not all(isinstance(n, int) and n >= 1 for n in several):
        raise ValueError(f"{argument} must be one number or three, of 1 or more; got {given!r}.")
    depth, height, width = several
    return depth, height, width


def conv_volumes(
    conv: Callable[..., Tensor], x: Tensor, kernel: Tensor, strides: Any, padding: str,
    data_format: Any, dilation: Any,
) -> Tensor:
    """Convolve x (batch, depth, height, width, channels) with a kernel (depth, height, width,
    channels, filters), by the operation for images; see `ops.conv`. Each of the kernel's slices
    meets as many of the volume's.
    """
    if data_format not in (None, "channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first'; got {data_format!r}."
        )
    if kernel.ndim != 5:
        raise ValueError(
            f"expected a kernel (depth, height, width, channels, filters) for volumes; got shape "
            f"{kernel.shape}."
        )
    first = data_format == "channels_first"
    x = moveaxis(x, 1, -1) if first else x
    by, *steps = three("strides", strides)
    apart, *between = three("dilation_rate", dilation)
    (n, depth), deep, padding = x.shape[:2], kernel.shape[0], str(padding).lower()
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same'; got {padding!r}.")
    try:
        along = Geometry.fit((1, depth), (1, deep), (1, by), padding, (1, apart))
    except ValueError:
        raise ValueError(
            f"a kernel with a depth of {apart * (deep - 1) + 1} is larger than the volume, whose "
            f"depth is {depth}."
        ) from None
    before, many = along.padding[1], along.windows[1]
    after = max((many - 1) * by + apart * (deep - 1) + 1 - depth - before, 0)
    if before or after:
        x = ops.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
    total = None
    for k in range(deep):
        start = k * apart
        slices = x[:, start : start + (many - 1) * by + 1 : by]
        images = reshape(slices, (n * many, *x.shape[2:]))
        y = conv(images, kernel[k], steps, padding, "channels_last", between)
        total = y if total is None else total + y
    found: Tensor = reshape(total, (n, many, *total.shape[1:]))  # type: ignore[union-attr]
    return moveaxis(found, -1, 1) if first else found
