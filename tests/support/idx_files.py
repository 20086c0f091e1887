"""IDX files written by the format's published description, and a small data set of four files."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np

from gpunn.datasets import routes
from gpunn.datasets.dataset import DataSet, File

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an IDX file by the published description, without the package."""
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    sizes = b"".join(struct.pack(">I", n) for n in array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def small_arrays(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = ((6, 28, 28), (6,), (2, 28, 28), (2,))
    return [rng.integers(0, 10, shape, dtype=np.uint8) for shape in shapes]


ARRAYS_0 = small_arrays()
CONTENT = {name: idx_bytes(a) for name, a in zip(NAMES, ARRAYS_0, strict=True)}
GZ = {f"/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}


def declare(*ways: routes.Route) -> DataSet:
    files = [
        File(name, array.shape, hashlib.sha256(CONTENT[name]).hexdigest())
        for name, array in zip(NAMES, ARRAYS_0, strict=True)
    ]
    return DataSet("Small", "small", "small", (files[0], files[1], files[2], files[3]), ways)


def same(loaded: tuple) -> bool:
    (x_train, y_train), (x_test, y_test) = loaded
    pairs = zip((x_train, y_train, x_test, y_test), ARRAYS_0, strict=True)
    return all(a.dtype == np.uint8 and np.array_equal(a, b) for a, b in pairs)
