"""Print the class that a saved model sees in an image, and its probability."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.datasets import idx
from gpunn.datasets.arrays import read_npy
from gpunn.models import Model

from .arguments import (
    add_backend,
    add_json,
    add_model,
    chosen_model,
    grey_shape,
    positive,
    print_result,
    with_channel,
)

MAX_PIXELS = 25_000_000  # of an image, by default

HELP = "classes of images, by a saved model"
EXAMPLES = """\
examples:
  gpunn predict runs/mnist/model.gpunn seven.png
  gpunn predict runs/mnist/model.gpunn t10k-images-idx3-ubyte --json
  gpunn predict runs/mnist/model.gpunn digits.npy

An image of any size and kind is made what MNIST's are: grey, padded to a
square, scaled to the model's 28 x 28, light on dark (inverted if its edge is
light). What was done is said on standard error. Scaling keeps the margin: crop
an image until the digit fills some 7 tenths of it. Arrays (.npy, IDX) are taken
as they are, in the values that the model was trained on: bytes from 0 to 255.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+", help="image, IDX file or .npy")
    add("--invert", choices=("auto", "yes", "no"), default="auto",
        help="whether to make dark light in images (default: auto, if the edge is light)")
    add("--max-pixels", type=positive, default=MAX_PIXELS, metavar="N",
        help="that an image may have (default: 25,000,000)")
    add_backend(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    model = chosen_model(args)
    names: list[str] = []
    batches: list[np.ndarray] = []
    for path in args.files:
        rows = _read(path, model, args.invert, args.max_pixels)
        names += [path] if len(rows) == 1 else [f"{path}[{i}]" for i in range(len(rows))]
        batches.append(rows)
    outputs = np.concatenate([_probabilities(model, rows) for rows in batches])
    result = [
        {"image": name, "class": int(row.argmax()), "probability": float(row.max())}
        for name, row in zip(names, outputs, strict=True)
    ]
    line = "{image}: class {class}, probability {probability:.4f}"
    print_result(args, result, "\n".join(line.format(**row) for row in result))
    return 0


def _probabilities(model: Model, rows: np.ndarray) -> np.ndarray:
    outputs = model.predict(rows, verbose=0)
    if outputs.ndim != 2 or outputs.min() < 0 or not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        raise ValueError("The model's outputs are no probabilities of classes: it needs a softmax.")
    return outputs


def _read(path: str, model: Model, invert: str, max_pixels: int) -> np.ndarray:
    """Samples for the model (rows, ...), whatever kind of file they are in."""
    sample = model.input_shape[1:]
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        rows = read_npy(path)
    elif start.startswith(b"\x1f\x8b") or (start.startswith(b"\0\0") and start[2:3] in _IDX_TYPES):
        rows = idx.read(path)
    else:
        rows = image_to_array(path, grey_shape(sample), invert, max_pixels)
    if rows.shape in (sample, grey_shape(sample)):
        rows = rows[np.newaxis]
    rows = with_channel(rows, sample)
    if rows.shape[1:] != sample or not len(rows) or rows.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} holds an array of shape {rows.shape} and dtype {rows.dtype}; one sample of "
            f"the model is {sample}, several are (rows, {', '.join(map(str, sample))}), numbers."
        )
    return rows


_IDX_TYPES = b"\x08\x09\x0b\x0c\x0d\x0e"  # third byte of an IDX file


def image_to_array(
    path: str, shape: tuple[Any, ...], invert: str = "auto", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """An image file as bytes of shape (height, width), light on dark; says what it did.

    Args:
        path: anything that Pillow reads; of several frames the first.
        shape: the height and width that are wanted.
        invert: "yes", "no", or "auto": if the image's edge is light.
        max_pixels: that it may have.

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no image, or too large a one, or ``shape`` is not that of one.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ImportError(f'{path}: images need Pillow: pip install "gpunn[image]"') from None
    if len(shape) != 2:
        raise ValueError(f"{path}: the model takes samples of shape {shape}, not grey images.")
    try:
        with _without_limit(Image), Image.open(path) as opened:
            if opened.width * opened.height > max_pixels:
                raise _TooLarge(
                    f"{path} is an image of {opened.width:,} x {opened.height:,} pixels, and "
                    f"--max-pixels is {max_pixels:,}. Scale it down, or give a larger number."
                )
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError:
        raise ValueError(
            f"{path} is no image that Pillow knows, no IDX file and no .npy."
        ) from None
    except _TooLarge:
        raise
    except Exception as error:  # a damaged image makes its decoder raise anything
        raise ValueError(f"{path} is damaged: {error}") from None
    done = [f"{image.width}x{image.height} {image.mode} image"]
    if image.mode.startswith(("I", "F")):  # Pillow would cut their values off at 255
        values = np.asarray(image, np.float64)
        low, span = values.min(), np.ptp(values) or 1.0
        image = Image.fromarray(((values - low) * (255 / span)).round().astype(np.uint8))
        done.append(f"values from {low:g} to {low + span:g} made 0 to 255")
    elif image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
        done.append("put on white")
    if image.mode != "L":
        image = image.convert("L")
        done.append("made grey")
    height, width = shape
    if image.size != (width, height):
        if image.width != image.height:
            done.append("padded to a square")
        side = max(image.size)
        square = Image.new("L", (side, side), int(np.median(_edge(np.asarray(image)))))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square.resize((width, height), Image.Resampling.BILINEAR)
        done.append(f"scaled to {width}x{height}")
    pixels = np.array(image)
    if invert == "yes" or (invert == "auto" and np.median(_edge(pixels)) > 127):
        pixels = 255 - pixels
        done.append("inverted")
    print(f"{os.path.basename(path)}: {', '.join(done)}", file=sys.stderr)
    return pixels


class _TooLarge(ValueError):
    pass


@contextmanager
def _without_limit(image: Any) -> Iterator[None]:
    """Without Pillow's own limit of pixels, which is one of the process."""
    before, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        image.MAX_IMAGE_PIXELS = before


def _edge(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
