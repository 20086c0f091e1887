"""Patches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.common.arguments import check_choice, check_positive_integer
from gpunn.ops.table import operation_named, ops
from gpunn.ops.tensor import Tensor

from .sampling import Batched


@operation_named("image.extract_patches")
def extract_patches(
    images: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Cut images into patches, whose pixels follow one another along the axis of channels.

    Args:
        images: (batch, height, width, channels), or one image.
        size: (height, width) of a patch, or one number for both, as in the next two arguments.
        strides: from one patch to the next; by default the size.
        dilation_rate: from one pixel of a patch to the next.
        padding: "valid", or "same" for patches that reach over the edges, with zeros there.
        data_format: "channels_last" (the default), or "channels_first".

    Returns:
        patches (batch, rows, columns, height x width x channels).

    Raises:
        ValueError: if no patch fits into the images, or for other options.

    >>> from gpunn import ops
    >>> ops.image.extract_patches([[[1.0], [2.0], [3.0], [4.0]]], (1, 2)).tolist()
    [[[1.0, 2.0], [3.0, 4.0]]]
    """
    check_choice("padding", padding, ("valid", "same"))
    given = Batched(images, data_format)
    x, cuts, edges = given.x, [], [(0, 0)]
    sizes, steps, rates = (_pair(*one) for one in (
        ("size", size), ("strides", size if strides is None else strides),
        ("dilation_rate", dilation_rate),
    ))  # fmt: skip
    for n, k, step, rate in zip(x.shape[1:3], sizes, steps, rates, strict=True):
        reach = (k - 1) * rate + 1
        count = -(-n // step) if padding == "same" else (n - reach) // step + 1
        if count < 1:
            raise ValueError(f"A patch of {reach} pixels does not fit into images of {n}.")
        more = max((count - 1) * step + reach - n, 0) if padding == "same" else 0
        edges.append((more // 2, more - more // 2))
        last = (count - 1) * step + 1
        cuts.append([slice(i * rate, i * rate + last, step) for i in range(k)])
    x = ops.pad(x, [*edges, (0, 0)]) if padding == "same" else x
    return given.back(ops.concatenate([x[:, a, b] for a in cuts[0] for b in cuts[1]], axis=-1))


def _pair(name: str, value: int | Sequence[int]) -> list[int]:
    numbers = [value] * 2 if isinstance(value, int) else list(value)
    if len(numbers) != 2:
        raise ValueError(f"{name} must be a number or (height, width); got {value!r}.")
    return [check_positive_integer(name, n) for n in numbers]
