"""Single image files and arrays, as Keras's ``utils`` convert them."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.common.config import floatx
from gpunn.layers.arguments import check_data_format
from gpunn.ops.image.framing import crop_of

from .opening import CHANNELS, converted, opened, pillow


def load_img(
    path: Any, color_mode: str = "rgb", target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest", keep_aspect_ratio: bool = False,
) -> Any:
    """Read an image file as an image of Pillow, converted and resized.

    Args:
        path: Path of the file, or an ``io.BytesIO`` with its content.
        color_mode: "rgb", "grayscale" or "rgba". As grayscale, 16 and 32 bits are kept; for
            the others the upper 8 of 16 are taken, where Keras makes all above 255 white.
        target_size: Height and width to resize to.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming", of Pillow.
        keep_aspect_ratio: Whether to cut off edges instead of changing the proportions.

    Returns:
        A ``PIL.Image.Image``. The rotation in a camera's EXIF data is not applied.

    Raises:
        ImportError, ValueError: without Pillow; if the file is no image, or is damaged.

    >>> import io
    >>> import numpy as np
    >>> from gpunn.utils import img_to_array, load_img, save_img
    >>> file = io.BytesIO()
    >>> save_img(file, np.ones((20, 30, 3)), file_format="png")
    >>> img_to_array(load_img(file, target_size=(4, 5))).shape
    (4, 5, 3)
    """
    check_choice("color_mode", color_mode, [*CHANNELS])
    if not isinstance(path, (str, bytes, os.PathLike, io.BytesIO)):
        raise TypeError(f"path must be a path or an io.BytesIO; got {path!r}.")
    methods = {name.lower(): one for name, one in pillow().Resampling.__members__.items()}
    method = methods[check_choice("interpolation", interpolation.lower(), sorted(methods))]
    if isinstance(path, io.BytesIO):
        path.seek(0)
    with opened(path if isinstance(path, io.BytesIO) else os.fsdecode(path)) as image:
        image.load()
        kept = color_mode == "grayscale" and image.mode in ("L", "I;16", "I")
        image = image.copy() if kept else converted(image, CHANNELS[color_mode])
    if target_size is None:
        return image
    (width, height), (high, wide) = image.size, target_size
    if (width, height) == (wide, high):
        return image
    box = None
    if keep_aspect_ratio:
        (top, rows), (left, columns) = crop_of((height, width), target_size)
        box = (left, top, left + columns, top + rows)
    return image.resize((wide, high), method, box=box)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """Convert an image of Pillow to an array (height, width, channels) of floatx, or of ``dtype``.

    Values are as in the image, usually from 0 to 255. With
    ``data_format="channels_first"`` the shape is (channels, height, width).

    Raises:
        ValueError: for an image that is neither two- nor three-dimensional.

    >>> import numpy as np
    >>> from gpunn.utils import array_to_img, img_to_array
    >>> img_to_array(array_to_img(np.ones((2, 3, 1)) * 7, scale=False))[..., 0].tolist()
    [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """
    x = np.asarray(img, dtype or floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"img must have 2 or 3 axes; got the shape {x.shape}.")
    x = x if x.ndim == 3 else x[..., np.newaxis]
    first = check_data_format("data_format", data_format) == "channels_first"
    return x.transpose(2, 0, 1) if first else x


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """Convert an array (height, width, channels) to an image of Pillow, with 1, 3 or 4 channels.

    Args:
        x: The array, of numbers.
        data_format: "channels_last" by default, or "channels_first".
        scale: Whether to scale the values so that they reach from 0 to 255. Otherwise they must
            be in this range; up to 2**31 for one channel. Fractions are cut off.
        dtype: Dtype to compute in; floatx by default.

    Raises:
        ImportError, ValueError: without Pillow; for another shape, or values that are out of range
            or not finite.

    >>> import numpy as np
    >>> from gpunn.utils import array_to_img
    >>> array_to_img(np.zeros((20, 30, 3))).size
    (30, 20)
    """
    image = pillow()
    array = np.asarray(x, dtype or floatx())
    if check_data_format("data_format", data_format) == "channels_first" and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"x must be one image (height, width, channels) with 1, 3 or 4 channels; got the "
            f"shape {np.shape(x)}."
        )
    if not np.isfinite(array).all():
        raise ValueError("x has values that are not finite.")
    if scale:
        array = array - array.min()
        array = array / (array.max() or 1) * 255  # in Keras's order: it is truncated
    most = 255 if array.shape[2] > 1 else 2**31 - 1
    if array.min() < 0 or array.max() > most:
        raise ValueError(
            f"x has values from {array.min():g} to {array.max():g}; with scale=False they must be "
            f"from 0 to {most}."
        )
    if array.shape[2] == 1:
        array = array[..., 0]
    return image.fromarray(array.astype(np.int32 if array.max() > 255 else np.uint8))


def save_img(
    path: Any, x: Any, data_format: str | None = None, file_format: str | None = None,
    scale: bool = True, **kwargs: Any,
) -> None:
    """Write an array (height, width, channels) as an image file.

    Args:
        path: Path, whose ending gives the format, or a file object.
        x, data_format, scale: As of `array_to_img`.
        file_format: Format, needed for a file object. JPEG has no transparency: it is dropped.
        **kwargs: Passed to ``PIL.Image.save``, such as ``quality=90``.

    Raises:
        ImportError, ValueError: as of `array_to_img`, and for an unknown format.

    >>> import io
    >>> import numpy as np
    >>> from gpunn.utils import save_img
    >>> file = io.BytesIO()
    >>> save_img(file, np.ones((2, 2, 3)), file_format="png")
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(os.fspath(path))[1][1:].lower()
    file_format = "jpeg" if (file_format or "").lower() == "jpg" else file_format
    image = array_to_img(x, data_format, scale)
    if image.mode == "RGBA" and (file_format or "").lower() == "jpeg":
        image = image.convert("RGB")
    image.save(path, format=file_format or None, **kwargs)
