"""Read a folder of pictures with one subfolder per class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gpunn.loaders.folders import files_by_class, files_in
from gpunn.loaders.opening import MAX_PIXELS, DamagedImage, look_at

from .reading import read_image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
SIZES = (28, 32, 64)  # side lengths to scale pictures to: the first that is large enough
GREY = ("1", "L", "LA", "La")
LOOKED_AT = 500  # pictures whose size and mode decide the model's


@dataclass
class Pictures:
    """Pictures by class.

    Attributes:
        classes: names of the subfolders, sorted.
        paths: paths of the pictures.
        labels: class index of each picture.
        x: the pictures, uint8 (rows, height, width) or (rows, height, width, 3).
        unreadable: files that could not be read, with the reason.
    """

    classes: list[str]
    paths: list[str]
    labels: np.ndarray
    x: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8), repr=False)
    unreadable: list[str] = field(default_factory=list)


def is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def pictures_in(folder: str) -> list[str]:
    """Return the sorted paths of the pictures anywhere in a folder."""
    return files_in(folder, ENDINGS)


def find(folder: str, classes: list[str] | None = None) -> Pictures:
    """Find the pictures in the subfolders of a folder, whose names are the classes.

    Args:
        folder: a folder with a subfolder for each class; subfolders may be nested further.
        classes: classes of a model; by default all subfolders.

    Raises:
        ValueError: if there are no subfolders with pictures, or only one; or if a subfolder is not
            among the ``classes``.
    """
    found = files_by_class(folder, ENDINGS, strict=classes is None)
    there = [name for name in found if found[name]]
    unknown = [name for name in there if classes is not None and name not in classes]
    if unknown:
        raise ValueError(
            f"{folder}: the model knows no class {', '.join(map(repr, unknown))}; it knows "
            f"{', '.join(map(repr, classes or []))}."
        )
    known = classes or there
    paths = [path for name in there for path in found[name]]
    labels = [known.index(name) for name in there for _ in found[name]]
    return Pictures(list(known), paths, np.array(labels, np.int32))


def shape_for(
    paths: list[str], side: int | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[int, ...]:
    """Return a height and width that fit most pictures, and 3 channels if some have colour.

    Only the beginnings of the files are read.

    Raises:
        ValueError: if no picture can be read, or one is too large.
    """
    sizes, modes = [], set()
    for path in paths[:: -(-len(paths) // LOOKED_AT)]:
        try:
            (width, height), mode = look_at(path, max_pixels)
        except DamagedImage:
            continue  # `load` reports it
        sizes.append(max(width, height))
        modes.add(mode)
    if not sizes:
        raise ValueError(f"None of the examined files is a picture, for example {paths[0]}.")
    usual = float(np.median(sizes))
    side = side or next((s for s in SIZES if usual <= s), SIZES[-1])
    grey = all(mode in GREY or mode.startswith(("I", "F")) for mode in modes)
    return (side, side) if grey else (side, side, 3)


def load(pictures: Pictures, shape: tuple[int, ...], max_pixels: int = MAX_PIXELS) -> None:
    """Read the pictures into ``x``, padded to squares and scaled; damaged ones are left out.

    The sizes of all pictures are checked before the first one is read.

    Raises:
        ValueError: if a picture has more than ``max_pixels``, or none can be read.
    """
    good = []
    for i, path in enumerate(pictures.paths):
        try:
            look_at(path, max_pixels)
        except DamagedImage as error:
            pictures.unreadable.append(str(error))
            continue
        good.append(i)
    x = np.empty((len(good), *shape), np.uint8)
    kept: list[int] = []
    for i in good:
        try:
            pixels, _ = read_image(pictures.paths[i], shape, "no", max_pixels)
        except DamagedImage as error:
            pictures.unreadable.append(str(error))
            continue
        assert pixels is not None
        x[len(kept)] = pixels
        kept.append(i)
    if not kept:
        raise ValueError(f"None of the pictures can be read: {pictures.unreadable[0]}")
    pictures.x = x[: len(kept)]
    pictures.labels = pictures.labels[kept]
    pictures.paths = [pictures.paths[i] for i in kept]
