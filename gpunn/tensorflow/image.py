"""``tf.image``: pictures as arrays (height, width, channels), or batches of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.common.arguments import check_choice
from gpunn.compat.tensorflow import missing
from gpunn.loaders.opening import decoded, look_at
from gpunn.ops.dtypes import is_float, named
from gpunn.ops.tensor import Tensor

__all__ = [
    "convert_image_dtype", "crop_to_bounding_box", "decode_image", "decode_jpeg", "decode_png",
    "extract_patches", "pad_to_bounding_box", "resize",
]
_MODES = {"1": 1, "L": 1, "I": 1, "I;16": 1, "RGB": 3, "P": 3, "YCbCr": 3, "RGBA": 4}


def extract_patches(
    images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None
) -> Any:
    """Cut images into patches; see `ops.image.extract_patches`. Lengths are for four axes."""
    kept = (sizes[1:3], strides[1:3], rates[1:3])
    return ops.image.extract_patches(images, *kept, padding.lower())


def resize(
    images: Any, size: Sequence[int], method: str = "bilinear", *, antialias: bool = False,
    name: str | None = None,
) -> Any:
    """Resize images to (height, width), as floats unless ``method`` is ``"nearest"``; see
    `ops.image.resize`. The other kernels are not TensorFlow's, and refused.

    >>> resize([[[0], [3]]], (1, 4)).tolist()
    [[[0.0], [0.75], [2.25], [3.0]]]
    """
    check_choice("method", method, ("bilinear", "nearest"))
    x = images if method == "nearest" else ops.cast(images, "float32")
    return ops.image.resize(x, [int(n) for n in size], method, antialias)


def convert_image_dtype(
    image: Any, dtype: Any, saturate: bool = False, name: str | None = None
) -> Any:
    """Convert an image to floats, of which 1 is the largest integer of its dtype.

    Integers come from arrays: tensors do not say how many bits they had.

    >>> convert_image_dtype(np.array([0, 51, 255], np.uint8), "float64").tolist()
    [0.0, 0.2, 1.0]
    """
    given = np.dtype(getattr(image, "dtype", None) or np.asarray(image).dtype)
    if not is_float(named(dtype)):
        raise ValueError(f"convert_image_dtype makes floats; got dtype={dtype!r}. Use tf.cast.")
    if given.kind != "f" and isinstance(image, Tensor):
        raise TypeError(f"image is a tensor of {given}, which may have had 8 bits: divide by 255.")
    return ops.cast(image, dtype) / (1 if given.kind == "f" else np.iinfo(given).max)


def crop_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any,
    name: str | None = None,
) -> Any:
    """Return the part of an image with this height and width, from these offsets on.

    >>> crop_to_bounding_box([[[1], [2], [3]]], 0, 1, 1, 2).tolist()
    [[[2], [3]]]
    """
    top, left, rows, columns = map(int, (offset_height, offset_width, target_height, target_width))
    return ops.image.crop_images(image, top, left, target_height=rows, target_width=columns)


def pad_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any,
    name: str | None = None,
) -> Any:
    """Put an image at these offsets into zeros of this height and width.

    >>> pad_to_bounding_box([[[1], [2]]], 0, 1, 1, 4).tolist()
    [[[0], [1], [2], [0]]]
    """
    top, left, rows, columns = map(int, (offset_height, offset_width, target_height, target_width))
    return ops.image.pad_images(image, top, left, target_height=rows, target_width=columns)


def decode_image(contents: bytes, channels: int = 0, *, name: str | None = None) -> Any:
    """Decode the bytes of a file that Pillow reads into integers (height, width, channels) from 0
    to 255; with 0 channels as many as it has.

    Raises:
        ValueError: for bytes that are no such file, or another number of channels.
        ImportError: without Pillow.
    """
    own = _MODES.get(look_at(io.BytesIO(contents), None)[1])
    kind = {1: "grayscale", 3: "rgb", 4: "rgba"}.get(channels or own or 0)
    if kind is None:
        raise ValueError(f"channels must be 1, 3 or 4, or 0 for a file with these; got {channels}.")
    return ops.convert_to_tensor(decoded(io.BytesIO(contents), kind))  # type: ignore[arg-type]


decode_png = decode_jpeg = decode_image


def __getattr__(name: str) -> Any:
    raise AttributeError(missing(f"image.{name}"))
