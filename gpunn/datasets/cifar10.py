"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in ten classes.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The classes, from 0 to 9:
airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpunn.common.importing.lazy import offer

from .keras_files import KerasFile, find
from .unpickling import read_tar_pickles

__all__ = ["load_data"]
offer(__name__)

FOLDER = "cifar-10-batches-py"
CIFAR10 = KerasFile(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    also=(f"{FOLDER}-target_archive", f"{FOLDER}.tar.gz"),
    most=256 << 20,
)
Split = tuple[NDArray[np.uint8], NDArray[Any]]


def pictures(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert rows of 3072 bytes, channel after channel, to images with channels last.

    Args:
        data: (n, 3072): for each image the 1024 red bytes, then the green and the blue ones.

    Returns:
        Images (n, 32, 32, 3).

    >>> red = np.repeat([[255, 0, 0]], 1024, axis=1).astype(np.uint8)
    >>> pictures(red).shape, pictures(red)[0, 0, 0].tolist()
    ((1, 32, 32, 3), [255, 0, 0])
    """
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def load_data(path: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load CIFAR-10 from ``path``, else from ``GPUNN_DATA``, Keras's folder, the cache, or its
    server.

    Args:
        path: the file ``cifar-10-python.tar.gz``.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))`` of unsigned bytes, images (50000, 32,
        32, 3) and (10000, 32, 32, 3), labels (50000, 1) and (10000, 1) from 0 to 9.

    Raises:
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    >>> x_train.shape, x_train.dtype, y_train.shape  # doctest: +SKIP
    ((50000, 32, 32, 3), dtype('uint8'), (50000, 1))
    """
    names = [*(f"{FOLDER}/data_batch_{number}" for number in range(1, 6)), f"{FOLDER}/test_batch"]
    *parts, test = read_tar_pickles(find(CIFAR10, path), names)
    x = pictures(np.concatenate([part["data"] for part in parts]))
    y = np.concatenate([part["labels"] for part in parts]).astype(np.uint8)
    y_test = np.array(test["labels"], np.uint8)
    return (x, y[:, None]), (pictures(test["data"]), y_test[:, None])
