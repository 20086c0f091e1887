"""Image files opened with Pillow, with readable errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

MAX_PIXELS = 25_000_000  # per image, of the command line by default
CHANNELS = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}  # Pillow's modes
ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "GIF": b"\x3b"}  # of complete files


class DamagedImage(ValueError):
    """Raised for a file that is not an image, or an incomplete one."""


class _TooLarge(ValueError):
    pass


def look_at(path: str, max_pixels: int | None = MAX_PIXELS) -> tuple[tuple[int, int], str]:
    """Read an image's width, height and mode from the beginning of its file; errors as `opened`."""
    with opened(path, max_pixels) as image:
        return image.size, image.mode


def pillow() -> Any:
    """Return the module ``PIL.Image``, or raise an ImportError that says what to install."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('images need Pillow: pip install "gpunn[image]"') from None
    return Image


@contextmanager
def opened(path: Any, max_pixels: int | None = None) -> Iterator[Any]:
    """Open an image without decoding it, and raise readable errors.

    Without ``max_pixels``, Pillow's own limit holds.

    Raises:
        ImportError, DamagedImage: without Pillow; if the file is not an image.
        ValueError: if it has more pixels.
    """
    try:
        Image = pillow()
        from PIL import UnidentifiedImageError
    except ImportError as error:
        raise ImportError(f"{path}: {error}") from None
    before = Image.MAX_IMAGE_PIXELS
    try:
        if max_pixels is not None:  # in place of Pillow's own limit, which is that of the process
            Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise _TooLarge(
                    f"{path} is an image of {image.width:,} x {image.height:,} pixels, but "
                    f"--max-pixels is {max_pixels:,}. Scale it down, or pass a larger number."
                )
            yield image
    except UnidentifiedImageError:
        raise DamagedImage(
            f"{path} is not an image that Pillow can read, an IDX file or an .npy file."
        ) from None
    except Image.DecompressionBombError as error:
        raise _TooLarge(f"{path}: {error} Scale it down.") from None
    except (_TooLarge, FileNotFoundError):
        raise
    except Exception as error:  # a damaged image may raise any error in its decoder
        raise DamagedImage(f"{path} is damaged: {error}") from None
    finally:
        if max_pixels is not None:
            Image.MAX_IMAGE_PIXELS = before


def converted(image: Any, mode: str) -> Any:
    """Convert to one of Pillow's modes L, RGB, RGBA; of 16 bits, the upper 8 are taken.

    Pillow would make everything above 255 white.
    """
    if image.mode.startswith("I") and mode != image.mode:
        image = pillow().fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def decoded(path: str, color_mode: str) -> np.ndarray:
    """Read an image file into uint8 pixels (height, width, channels)."""
    with opened(path) as image:
        return _pixels(image, color_mode)


def _pixels(image: Any, color_mode: str) -> np.ndarray:
    pixels = np.asarray(converted(image, CHANNELS[color_mode]))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def examined(
    path: str, color_mode: str, wanted: tuple[int, int] | None
) -> tuple[str | None, tuple[int, int], np.ndarray | None]:
    """Return why a file is no complete image, or None; its height and width; and its pixels.

    An image of the ``wanted`` height and width is decoded. Of any other, only the beginning and
    the end are read, unless the end is not the usual one.
    """
    try:
        with opened(path) as image:
            size = image.height, image.width
            if size == wanted:
                return None, size, _pixels(image, color_mode)
            file, kind = image.fp, image.format
            file.seek(0, 2)
            file.seek(-min(file.tell(), 12), 2)
            complete = ENDS.get(kind, b"") in file.read() and kind in ENDS
        if not complete:
            decoded(path, color_mode)
    except DamagedImage as error:
        return str(error), (0, 0), None
    return None, size, None
