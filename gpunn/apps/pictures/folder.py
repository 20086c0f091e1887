"""Read a folder of pictures with one subfolder per class."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from .reading import MAX_PIXELS, DamagedImage, look_at, read_image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
SIZES = (28, 32, 64)  # side lengths to scale pictures to: the first that is large enough
GREY = ("1", "L", "LA", "La")
LOOKED_AT = 500  # pictures whose size and mode decide those of the model


@dataclass
class Pictures:
    """Pictures by class.

    Attributes:
        classes: names of the subfolders, sorted.
        paths: paths of the pictures.
        labels: class index of each picture.
        x: the pictures, uint8 (rows, height, width) or (rows, height, width, 3).
        left_out: files that could not be read, with the reason.
    """

    classes: list[str]
    paths: list[str]
    labels: np.ndarray
    x: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8), repr=False)
    left_out: list[str] = field(default_factory=list)


def is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def pictures_in(folder: str) -> list[str]:
    """Return the sorted paths of the pictures anywhere in a folder."""
    found = []
    for path, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.join(path, name) for name in sorted(names) if is_picture(name)]
    return found


def find(folder: str, classes: list[str] | None = None) -> Pictures:
    """Find the pictures in the subfolders of a folder, whose names are the classes.

    Args:
        folder: a folder with a subfolder for each class; subfolders may be nested further.
        classes: classes of a model; by default all subfolders.

    Raises:
        ValueError: if there are no subfolders with pictures, or only one; or if a subfolder is not
            among the ``classes``.
    """
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    found = {name: pictures_in(os.path.join(folder, name)) for name in names}
    there = [name for name in names if found[name]]
    if not there:
        raise ValueError(
            f"{folder} has no subfolders with pictures: expected one for each class, such as "
            f"{os.path.join(folder, 'cat', '1.png')}."
        )
    empty = [name for name in names if not found[name]]
    if empty and classes is None:
        raise ValueError(
            f"{folder}: no pictures in {', '.join(empty)}: remove folders that are not classes."
        )
    unknown = [name for name in there if classes is not None and name not in classes]
    if unknown:
        raise ValueError(
            f"{folder}: the model knows no class {', '.join(map(repr, unknown))}; it knows "
            f"{', '.join(map(repr, classes or []))}."
        )
    if classes is None and len(there) == 1:
        raise ValueError(
            f"{folder} has pictures in only one subfolder, {there[0]!r}: with one class there is "
            f"nothing to learn."
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
            pictures.left_out.append(str(error))
            continue
        good.append(i)
    x = np.empty((len(good), *shape), np.uint8)
    kept: list[int] = []
    for i in good:
        try:
            pixels, _ = read_image(pictures.paths[i], shape, "no", max_pixels)
        except DamagedImage as error:
            pictures.left_out.append(str(error))
            continue
        assert pixels is not None
        x[len(kept)] = pixels
        kept.append(i)
    if not kept:
        raise ValueError(f"None of the pictures can be read: {pictures.left_out[0]}")
    pictures.x = x[: len(kept)]
    pictures.labels = pictures.labels[kept]
    pictures.paths = [pictures.paths[i] for i in kept]
