"""Convert a picture of a digit, of any size and position, to MNIST's form."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np

from gpunn.feeding.mnist_form import BOX, SIDE

INK = 0.25  # of the strongest ink: fainter pixels do not count for the digit's outline
FAINT = 24  # of 255: a picture with only fainter ink is blank
LONGEST = 280  # pixels: a larger picture is scaled down first, which averages a photograph's noise
PATCHES = 10  # of paper along the longer side; a stroke is narrower than three of them
NOISE = 3  # ink fainter than this many standard deviations of the paper's noise is none


def as_mnist(image: Any, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray | None:
    """Convert a grey picture to MNIST's form.

    The picture is cropped to the ink, scaled to fit 20 x 20 with its proportions, and placed with
    its centre of mass in the middle of 28 x 28, as MNIST's authors describe (LeCun, Cortes and
    Burges, "The MNIST database of handwritten digits"). Ink is what is lighter than the paper
    around it, so shadows on a photograph are none.

    Args:
        image: a picture in Pillow's mode L, light on dark.
        shape: height and width of the result; for other sizes than MNIST's, in proportion.

    Returns:
        uint8 pixels of this shape, from 0 to 255; None for a blank picture, one without ink.

    A bar of 40 x 100 in a corner becomes 8 x 20, in the middle:

    >>> from PIL import Image
    >>> page = np.zeros((280, 280), np.uint8)
    >>> page[10:110, 230:270] = 200
    >>> digit = as_mnist(Image.fromarray(page))
    >>> [np.flatnonzero(digit.max(axis=axis))[[0, -1]].tolist() for axis in (1, 0)]
    [[4, 23], [10, 17]]
    >>> as_mnist(Image.fromarray(page[120:])) is None
    True
    """
    from PIL import Image

    ink = _ink(np.asarray(_small(image)))
    if ink.max() < FAINT:
        return None
    ink *= 255 / ink.max()
    seen = _without_specks(ink > INK * 255)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = BOX * min(shape) / SIDE / max(cropped.shape)
    height, width = (max(1, round(length * factor)) for length in cropped.shape)
    small = Image.fromarray(cropped.round().astype(np.uint8))
    small = small.resize((width, height), Image.Resampling.BICUBIC)
    scaled = np.asarray(small, np.float64)
    scaled = np.minimum(scaled * (255 / max(scaled.max(), 1)), 255)
    place = []
    for axis, (length, most) in enumerate(zip((height, width), shape, strict=True)):
        mass = scaled.sum(axis=1 - axis)
        middle = mass @ np.arange(length) / mass.sum()
        # Pixel 14 of 28, as in MNIST: its images' centres of mass are at 14.0 on average.
        place.append(min(max(round(most / 2 - middle), 0), most - length))
    result = np.zeros(shape, np.uint8)
    top, left = place
    result[top : top + height, left : left + width] = scaled.round()
    return result


def has_dark_ink(image: Any) -> bool:
    """Whether the ink of a digit, a picture in mode L, is darker than its paper.

    Ink differs most from the paper at the picture's edge, whether that is white or grey.

    >>> from PIL import Image
    >>> board = Image.new("L", (50, 50), 150)
    >>> board.paste(250, (20, 10, 25, 40))
    >>> has_dark_ink(board)
    False
    """
    pixels = np.asarray(_small(image), np.float64)
    paper = np.median(edge(pixels))
    return bool(paper - pixels.min() > pixels.max() - paper)


def edge(pixels: np.ndarray) -> np.ndarray:
    """Return the outermost pixels."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _small(image: Any) -> Any:
    """Return a picture whose sides have at most `LONGEST` pixels."""
    from PIL import Image

    share = LONGEST / max(image.size)
    if share >= 1:
        return image
    size = [max(1, round(length * share)) for length in image.size]
    return image.resize(size, Image.Resampling.BILINEAR)


def _ink(pixels: np.ndarray) -> np.ndarray:
    """Return by how much each pixel is lighter than the paper around it, beyond noise."""
    ink = pixels - _paper(pixels).astype(np.float64)
    # Ink may cover half of the picture, so the darker half tells the noise: of a normal
    # distribution, a quarter is 0.67 standard deviations below the mean, a twentieth 1.64.
    low, quarter = np.sort(ink, axis=None)[[ink.size // 20, ink.size // 4]]
    noise = (quarter - low) / 0.97
    ink -= quarter + 0.67 * noise
    ink[ink <= NOISE * noise] = 0
    return ink


def _paper(pixels: np.ndarray) -> np.ndarray:
    """Return what a light-on-dark picture would be without its ink.

    It is the lower quartile of each patch, opened: what is lighter than everything around it,
    within three patches, is ink.
    """
    from PIL import Image

    height, width = pixels.shape
    down, across = (_parts(length, max(height, width)) for length in (height, width))
    quartiles = [[_lower_quartile(pixels[rows, columns]) for columns in across] for rows in down]
    patches = np.array(quartiles, np.uint8)
    opened = _neighbours(_neighbours(patches).min(axis=0)).max(axis=0)
    return np.asarray(Image.fromarray(opened).resize((width, height), Image.Resampling.BILINEAR))


def _parts(length: int, longer: int) -> list[slice]:
    """Divide one side of a picture into patches."""
    count = min(length, max(1, round(PATCHES * length / longer)))
    ends = [round(i * length / count) for i in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def _lower_quartile(patch: np.ndarray) -> int:
    return int(np.sort(patch, axis=None)[patch.size // 4])


def _neighbours(values: np.ndarray, beyond: Literal["edge", "constant"] = "edge") -> np.ndarray:
    """Return an array (9, height, width): each value and the eight around it, within the edges or
    with what `numpy.pad` puts ``beyond`` them."""
    height, width = values.shape
    padded = np.pad(values, 1, beyond)
    return np.stack([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)])


def _without_specks(seen: np.ndarray) -> np.ndarray:
    """Leave out single pixels, unless there are no others."""
    joined: np.ndarray = seen & (_neighbours(seen, "constant").sum(axis=0) > 1)
    return joined if joined.any() else seen
