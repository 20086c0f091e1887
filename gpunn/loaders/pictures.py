"""Data sets of the pictures in a folder, decoded by threads beside the training."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.common.arguments import check_choice, check_pair
from gpunn.feeding.batches import BatchedArrays
from gpunn.layers.arguments import check_data_format

from .batching import check_format
from .folders import FilesDataset, Part, parts_of
from .opening import CHANNELS, UNREADABLE, decoded, examined
from .resizing import INTERPOLATIONS, fitted

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

ENDINGS = (".png", ".bmp", ".gif", ".jpeg", ".jpg")  # Keras's
KEPT_BYTES = 1 << 29  # pictures of a data set are decoded once if they fit
SMALL = 64 * 64  # pixels: pictures that need no resizing are decoded when they are examined
THREADS = min(8, os.cpu_count() or 1)


def image_dataset_from_directory(
    directory: str | os.PathLike[str], labels: Any = "inferred", label_mode: str | None = "int",
    class_names: Sequence[str] | None = None, color_mode: str = "rgb", batch_size: int | None = 32,
    image_size: Any = (256, 256), shuffle: bool = True, seed: int | None = None,
    validation_split: float | None = None, subset: str | None = None,
    interpolation: str = "bilinear", follow_links: bool = False, crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False, data_format: str | None = None, format: str = "tf",
    verbose: bool = True,
) -> FilesDataset | list[FilesDataset]:
    """Read the pictures in a folder, which has a subfolder for each class, into batches for `fit`.

    Threads decode the pictures, while earlier batches train. Decoded pictures stay in memory if
    all take at most 512 MB. Beginning and end of each file are examined at once; pictures of up
    to 64 x 64 that need no resizing are decoded then, and `fit` trains on them as on arrays. A
    damaged file is named and left out, also one that turns out to be damaged only later; so is
    one of more pixels than Pillow reads, a pipe, and a link that leads nowhere. Hidden files are
    left out, and the rotation in a camera's EXIF data is not applied, as in Keras.

    Args:
        directory: The folder.
        labels: "inferred" from the subfolders; or None, or a list with an integer for each file
            anywhere in the folder, sorted by path.
        label_mode: "int": labels int32 (batch,); "binary": float32 (batch, 1), 0 or 1;
            "categorical": one-hot float32 (batch, classes); None: no labels.
        class_names: Subfolders to read, in the order of their indices; by default all, sorted.
        color_mode: "rgb", "grayscale" or "rgba": 3, 1 or 4 channels. Of 16 bits, 8 are taken.
        batch_size: Pictures in a batch; None for single ones.
        image_size: Height and width to resize to, without antialiasing, as TensorFlow does.
        shuffle: Whether each pass has a new order; otherwise the paths are sorted.
        seed: Seed of the order, and of the split. Files and parts are Keras's for this seed.
        validation_split: Share of the files for validation, the last ones after one shuffling.
        subset: "training", "validation", or "both" for a list of the two.
        interpolation: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5",
            "gaussian" or "mitchellcubic".
        follow_links: Whether to read folders behind symbolic links.
        crop_to_aspect_ratio, pad_to_aspect_ratio: Whether to keep the proportions, by cutting
            off the edges or by adding black ones.
        data_format: "channels_last" by default, or "channels_first".
        format: "tf"; the result is always gpunn's own data set.
        verbose: Whether to print the numbers of files and classes.

    Returns:
        A data set of ``(pictures, labels)``, or of pictures: float32 (batch, height, width,
        channels), from 0 to 255. It has the methods of ``tf.data.Dataset``, and ``class_names``
        and ``file_paths``.

    Raises:
        ImportError, ValueError: without Pillow; for a folder without pictures or with a single
            class, and for unusable arguments.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from gpunn.utils import image_dataset_from_directory, save_img
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
    ...         os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
    ...         save_img(os.path.join(folder, name), np.ones((20, 30, 3)))
    ...     data = image_dataset_from_directory(folder, image_size=(8, 8), batch_size=2)
    ...     [x.shape for x, labels in data], data.class_names
    Found 3 files belonging to 2 classes.
    ([(2, 8, 8, 3), (1, 8, 8, 3)], ['cat', 'dog'])
    """
    check_choice("color_mode", color_mode, [*CHANNELS])
    kind = check_choice("interpolation", interpolation.lower(), INTERPOLATIONS)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio cannot both be given.")
    check_format("format", format)
    first = check_data_format("data_format", data_format) == "channels_first"
    given = image_size if isinstance(image_size, int) else tuple(image_size)
    high, wide = check_pair("image_size", given)
    channels, sizes, ready = len(CHANNELS[color_mode]), set(), dict[str, np.ndarray]()

    def check(paths: list[str]) -> list[str | None]:
        small = high * wide <= SMALL and len(paths) * high * wide * channels <= KEPT_BYTES
        look = partial(examined, color_mode=color_mode, wanted=(high, wide) if small else None)
        reasons = []
        for path, (reason, size, pixels) in zip(paths, _threads().map(look, paths), strict=True):
            reasons.append(reason)
            if reason is None:
                sizes.add(size)
            if pixels is not None:
                ready[path] = pixels
        return reasons

    parts = parts_of(
        directory, ENDINGS, "pictures", labels, label_mode, class_names, shuffle, seed,
        validation_split, subset, follow_links, verbose, check,
    )

    def prepared(path: str) -> np.ndarray:
        pixels = ready[path] if path in ready else decoded(path, color_mode)
        if pixels.shape[:2] != (high, wide):
            pixels = fitted(pixels, (high, wide), kind, crop_to_aspect_ratio, pad_to_aspect_ratio)
        return pixels.transpose(2, 0, 1) if first else pixels

    shape = (channels, high, wide) if first else (high, wide, channels)
    whole = kind == "nearest" or sizes == {(high, wide)}
    dtype = np.dtype(np.uint8 if whole else np.float32)
    keeps = sum(len(p.paths) for p in parts) * int(np.prod(shape)) * dtype.itemsize <= KEPT_BYTES
    made = []
    for part in parts:
        reader = _Reader(part, prepared, shape, dtype, keeps)
        made.append(part.dataset(reader, batch_size))
        if keeps and ready.keys() >= {*part.paths}:
            pixels = reader.fill()
            if batch_size is not None:
                made[-1]._batched_arrays = BatchedArrays(
                    pixels, part.labels, batch_size, shuffle, seed
                )
    ready.clear()
    return made if subset == "both" else made[0]


@lru_cache(1)
def _threads() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(THREADS, "decode")


class _Reader:
    """Reads pictures by number, and keeps them if ``keeps``."""

    def __init__(
        self, part: Part, prepare: Any, shape: tuple[int, ...], dtype: np.dtype, keeps: bool
    ) -> None:
        self._paths, self._prepare, self._shape, self._dtype = part.paths, prepare, shape, dtype
        self._kept = np.empty((len(part.paths) if keeps else 0, *shape), dtype)
        self._there = np.zeros(len(part.paths), bool)  # which are in `_kept`
        self._damaged: set[int] = set()
        self._lock = threading.Lock()

    def fill(self) -> np.ndarray:
        """Return all pictures as they are kept, after reading them."""
        for start in range(0, len(self._paths), 1024):
            self(np.arange(start, min(start + 1024, len(self._paths))))
        return self._kept

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pictures, float32 (rows, ...), and the numbers of those that could be read."""
        if self._damaged:
            numbers = np.array([n for n in numbers if n not in self._damaged], int)
        keeps = len(self._kept) > 0
        missing = numbers[~self._there[numbers]]
        x = self._kept if keeps else np.empty((len(numbers), *self._shape), self._dtype)
        places = missing if keeps else np.arange(len(numbers))
        bad: set[int] = set()
        if len(missing):
            pieces = np.array_split(np.stack([missing, places]), min(THREADS, len(missing)), 1)
            bad = bad.union(*_threads().map(lambda piece: self._read(piece, x), pieces))
            self._there[missing] = keeps
        good = np.array([n not in bad for n in numbers], bool)
        return x[numbers[good] if keeps else good].astype(np.float32, copy=False), numbers[good]

    def _read(self, piece: np.ndarray, x: np.ndarray) -> list[int]:
        """Write pictures (number, place) into ``x``, and return the numbers of damaged ones."""
        bad = []
        for number, place in piece.T.tolist():
            try:
                x[place] = self._prepare(self._paths[number])
            except UNREADABLE as error:
                bad.append(number)
                with self._lock:
                    if number not in self._damaged:
                        print(f"left out: {error}")
                    self._damaged.add(number)
        return bad
