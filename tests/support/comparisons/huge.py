"""Operations that read arrays with more elements than 32 bits can index.

An array is a sparse file: only the few pages that are touched exist.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import POSITION, Control
from gpunn.backends.shared.geometry import Geometry
from gpunn.backends.shared.order import Order

from .samples import Comparison, Sample

BEYOND = 2**32  # elements
SIDE = 46_400  # of an image: three images have more
FAR = SIDE - 2  # stride between windows of two by two pixels: one in each corner


def huge(backend: Backend, shape: tuple[int, ...], dtype: str, sample: Sample) -> Any:
    """An array of the backend that is zero except for the first and last few elements, which are
    random."""
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, dtype, "w+", shape=shape)
    flat = array.reshape(-1)
    assert flat.size > BEYOND
    for some in (flat[:5000], flat[-5000:]):
        some[...] = sample.rng.integers(1, 100, some.shape)
    return array.view(type(backend.zeros((1,), np.float32)))


def gather(backend: Backend, sample: Sample) -> None:
    """The last row, in place and shuffled."""
    width = 4096
    rows = BEYOND // width + 1
    source = huge(backend, (rows, width), "uint8", sample)
    for seed in (None, 3):
        order, control = Order(rows, seed), Control(backend)
        control.set(POSITION, int((order.indices(0) == rows - 1).argmax()))
        out = backend.zeros((1, width), np.float32)
        backend.gather(source, order, control, out)
        np.testing.assert_array_equal(backend.read(out)[0], source.view(np.ndarray)[-1])


def images(backend: Backend, sample: Sample) -> tuple[Any, Geometry, np.ndarray]:
    """Return three images, windows in their corners, and the pixels of these windows."""
    x = huge(backend, (3, SIDE, SIDE, 1), "float32", sample)
    geometry = Geometry.fit((SIDE, SIDE), (2, 2), (FAR, FAR), "valid")
    assert geometry.windows == (2, 2)
    plain = x.view(np.ndarray)
    corners = [
        plain[:, i : i + 2, j : j + 2].reshape(3, 4) for i in (0, FAR) for j in (0, FAR)
    ]
    return x, geometry, np.stack(corners, 1)  # (images, windows, pixels)


def convolution(backend: Backend, sample: Sample) -> None:
    x, geometry, corners = images(backend, sample)
    out, kernel = backend.zeros((3, 2, 2, 1), np.float32), np.float32([3, 5, 7, 11])
    linear, w = gpunn.activations.get("linear"), backend.upload(kernel.reshape(2, 2, 1, 1))
    backend.convolution(x, w, None, linear, geometry, out, out)
    np.testing.assert_array_equal(backend.read(out).reshape(3, 4), corners @ kernel)


def pooling(backend: Backend, sample: Sample) -> None:
    x, geometry, corners = images(backend, sample)
    out = backend.zeros((3, 2, 2, 1), np.float32)
    backend.max_pooling(x, geometry, out)
    np.testing.assert_array_equal(backend.read(out).reshape(3, 4), corners.max(-1))
    backend.average_pooling(x, geometry, out)
    np.testing.assert_array_equal(backend.read(out).reshape(3, 4), corners.mean(-1))


def crop(backend: Backend, sample: Sample) -> None:
    x, _, _ = images(backend, sample)
    out = backend.zeros((3, 5, 7, 1), np.float32)
    backend.crop_or_pad(x, (SIDE - 5, SIDE - 7), out)
    np.testing.assert_array_equal(backend.read(out), x.view(np.ndarray)[:, -5:, -7:])


def columns(backend: Backend, sample: Sample) -> None:
    x = huge(backend, (3, BEYOND // 2), "float32", sample)
    out = backend.zeros((3, 5), np.float32)
    backend.copy_columns(x, BEYOND // 2 - 5, out, 0, 5)
    np.testing.assert_array_equal(backend.read(out), x.view(np.ndarray)[:, -5:])


def places(backend: Backend, sample: Sample) -> None:
    """The last rows of a table, read and added to."""
    width = 4096
    n = BEYOND // width + 1
    table = huge(backend, (1, n, width), "float32", sample)
    last = table.view(np.ndarray)[0, -2:].copy()
    numbers = backend.upload(np.array([[n - 1, -2]], np.int32))
    rows = backend.zeros((1, 2, width), np.float32)
    backend.take_rows(table, numbers, rows)
    np.testing.assert_array_equal(backend.read(rows)[0], last[::-1])
    many = backend.upload(np.full((1, 40), n - 1, np.int32))
    backend.scatter_rows("Sum", backend.upload(np.ones((1, 40, width), np.float32)), many, table)
    np.testing.assert_array_equal(table.view(np.ndarray)[0, -1], last[1] + 40)
    np.testing.assert_array_equal(table.view(np.ndarray)[0, 2:9, -1], 0)


HUGE: dict[str, Comparison] = {
    f"huge {compare.__name__}": compare
    for compare in (gather, convolution, pooling, crop, columns, places)
}
