"""Read image files of any kind into arrays of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.loaders.opening import MAX_PIXELS, LargeImage, opened

from .digits import as_mnist, edge, has_dark_ink


def read_image(
    path: Any,
    shape: tuple[Any, ...],
    invert: str = "auto",
    max_pixels: int = MAX_PIXELS,
    mnist: bool = False,
) -> tuple[np.ndarray | None, list[str]]:
    """Read an image file into pixels of a given shape, and list the conversion steps.

    Args:
        path: any file that Pillow reads, open or by its path; of several frames, the first is used.
        shape: (height, width) for a grey image, (height, width, 3) for colour.
        invert: ``"yes"``, ``"no"``, or ``"auto"`` to invert a grey image with a light edge.
        max_pixels: maximum number of pixels.
        mnist: whether to prepare the image as MNIST's digits, see `as_mnist`; otherwise it is
            padded to a square and scaled.

    Returns:
        The uint8 pixels, or None for a blank image of a digit; and a list of strings.

    Raises:
        ImportError: without Pillow.
        DamagedImage: if the file is not an image.
        LargeImage: if the image has too many pixels, or is too long.
        ValueError: if ``shape`` is not the shape of an image.
    """
    if len(shape) != 2 and not (len(shape) == 3 and shape[2] == 3):
        raise ValueError(f"{path}: the model takes samples of shape {shape}, not images.")
    image, done = _opened(path, max_pixels)
    from PIL import Image

    mode = "L" if len(shape) == 2 else "RGB"
    if image.mode.startswith(("I", "F")):  # Pillow would clip their values at 255
        values = np.asarray(image, np.float64)
        low, span = values.min(), np.ptp(values) or 1.0
        image = Image.fromarray(((values - low) * (255 / span)).round().astype(np.uint8))
        done.append(f"values from {low:g} to {low + span:g} scaled to 0 to 255")
    elif image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = "black" if mnist and _is_light(image) else "white"
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image)
        done.append(f"placed on {paper}")
    if image.mode != mode:
        image = image.convert(mode)
        done.append("converted to grey" if mode == "L" else "converted to RGB")
    if mnist:
        light = has_dark_ink(image)
    else:
        light = mode == "L" and np.median(edge(np.asarray(image))) > 127
    inverted = invert == "yes" or (invert == "auto" and bool(light))
    if mnist:
        if inverted:
            image = Image.fromarray(255 - np.asarray(image))
            done.append("inverted")
        pixels = as_mnist(image, shape[:2])
        if pixels is not None:
            done.append("cropped, scaled and centred as MNIST's digits (--as-is skips that)")
        return pixels, done
    height, width = shape[:2]
    if image.size != (width, height):
        if image.width != image.height:
            done.append("padded to a square")
        side = max(image.size)
        # First along the longer side: the square of a long row of pixels would be immense.
        wide = image.width >= image.height
        padded = (width, side) if wide else (side, height)
        if padded[0] * padded[1] > max_pixels:
            raise LargeImage(
                f"{path} is an image of {image.width:,} x {image.height:,} pixels, which is too "
                f"long to be padded to a square: --max-pixels is {max_pixels:,}. Crop it."
            )
        around = np.median(edge(np.asarray(image)), axis=0).astype(int)
        band = image.resize(
            (width, image.height) if wide else (image.width, height), Image.Resampling.BILINEAR
        )
        square = Image.new(mode, padded, tuple(np.atleast_1d(around).tolist()))
        square.paste(band, ((padded[0] - band.width) // 2, (padded[1] - band.height) // 2))
        image = square.resize((width, height), Image.Resampling.BILINEAR)
        done.append(f"scaled to {width}x{height}")
    pixels = np.array(image)
    if inverted:
        pixels = 255 - pixels
        done.append("inverted")
    return pixels, done


def _is_light(image: Any) -> bool:
    """Whether nothing in a picture with transparency is dark: on white it would vanish."""
    opaque = np.asarray(image)[..., 3] > 127
    return bool(opaque.any() and np.asarray(image.convert("L"))[opaque].min() > 127)


def _opened(path: Any, max_pixels: int) -> tuple[Any, list[str]]:
    with opened(path, max_pixels) as stored:
        from PIL import ImageOps

        stored.load()
        image = ImageOps.exif_transpose(stored)
    return image, [f"{image.width}x{image.height} {image.mode} image"]
