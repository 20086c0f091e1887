"""Image files opened with Pillow, with readable errors."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

MAX_PIXELS = 25_000_000  # per image, of the command line by default
CHANNELS = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}  # Pillow's modes
ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "GIF": b"\x3b"}  # of complete files


class DamagedImage(ValueError):
    """Raised for a file that is not an image, or an incomplete one."""


class LargeImage(ValueError):
    """Raised for a file that announces more pixels than are read."""


UNREADABLE = (DamagedImage, LargeImage, FileNotFoundError)  # left out of a folder
_pillows_limit = threading.Lock()  # taken while the process's limit in Pillow is another


def why_no_file(path: Any) -> str | None:
    """Return why a path of a folder is no file to read, or None.

    A pipe, of which nobody may ever write the other end, is not opened; nor is a device.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if os.path.islink(path):
            return f"{path} is a link that leads nowhere."
        return f"{path} cannot be read: {error.strerror}."
    return None if stat.S_ISREG(mode) else f"{path} is no regular file."


def look_at(path: Any, max_pixels: int | None = MAX_PIXELS) -> tuple[tuple[int, int], str]:
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
    if isinstance(path, str) and os.path.lexists(path) and (reason := why_no_file(path)):
        raise DamagedImage(reason)
    try:
        with _begun(Image, path, max_pixels) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise LargeImage(
                    f"{path} is an image of {image.width:,} x {image.height:,} pixels, but "
                    f"--max-pixels is {max_pixels:,}. Scale it down, or pass a larger number."
                )
            yield image
    except UnidentifiedImageError:
        raise DamagedImage(
            f"{path} is not an image that Pillow can read, an IDX file or an .npy file."
        ) from None
    except Image.DecompressionBombError as error:
        raise LargeImage(f"{path}: {error} Scale it down.") from None
    except (LargeImage, FileNotFoundError):
        raise
    except Exception as error:  # a damaged image may raise any error in its decoder
        raise DamagedImage(f"{path} is damaged: {error}") from None


def _begun(Image: Any, path: Any, max_pixels: int | None) -> Any:
    """Return an image of which the beginning was read; ``max_pixels`` replaces Pillow's limit."""
    if max_pixels is None:
        return Image.open(path)
    with _pillows_limit:  # threads that overlap would restore each other's None
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(path)
        finally:
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
    except UNREADABLE as error:
        return str(error), (0, 0), None
    return None, size, None
