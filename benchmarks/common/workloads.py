"""The workloads: networks, data, initial weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

# Rows of a round, chosen so that a round takes tenths of a second, and a few seconds for the
# slowest contestant. Times are divided by the `steps` of such a round.
WORKLOADS: dict[str, dict[str, Any]] = {
    "W1": {"sizes": (784, 16, 16, 10), "dropout": 0.0, "optimizer": "sgd", "batch": 10},
    "W2": {"sizes": (784, 128, 10), "dropout": 0.2, "optimizer": "adam", "batch": 32},
    "W3": {"sizes": (784, 1024, 1024, 10), "dropout": 0.0, "optimizer": "momentum", "batch": 128},
}
# Image workloads, for contestants that support them (CONVOLVES). Each convolution is
# 3 x 3, followed by ReLU and pooling by 2.
IMAGE_WORKLOADS: dict[str, dict[str, Any]] = {
    "W4": {
        "convolutions": (32, 64), "sizes": (1600, 10), "dropout": 0.5, "optimizer": "adam",
        "batch": 128,
    },
}  # fmt: skip
ALL_WORKLOADS = WORKLOADS | IMAGE_WORKLOADS
TITLES = {
    "W1": "784-16-16-10, SGD, batch 10",
    "W2": "784-128-dropout 0.2-10, Adam, batch 32",
    "W3": "784-1024-1024-10, SGD with momentum 0.9, batch 128",
    "W4": "28x28, convolutions 32 and 64 with pooling, dropout 0.5, 10, Adam, batch 128",
    "W6": "2-2-3-2, sigmoid, half the squared error, SGD, one point a step, shuffled before each "
    'pass ("in order": not)',
}
ROWS = {"W1": 12_000, "W2": 60_000, "W3": 9_600, "W4": 3_840, "W6": 20_000}
NAMES = ("x", "y", "x_test", "y_test")


def steps(workload: str, rows: int) -> int:
    """Return the steps of one pass over ``rows``; the last one may be a smaller batch.

    >>> steps("W2", 60_000), steps("W3", 9_600)
    (1875, 75)
    """
    return -(-rows // ALL_WORKLOADS[workload]["batch"])


def initial_weights(
    seed: int, sizes: tuple[int, ...], convolutions: tuple[int, ...] = ()
) -> list[np.ndarray]:
    """Return Glorot-uniform kernels and zero biases, float32, the same for every contestant."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = []
    shapes = [(3, 3, n_in, n_out) for n_in, n_out in itertools.pairwise((1, *convolutions))]
    for *window, n_in, n_out in [*shapes, *itertools.pairwise(sizes)]:
        limit = (6.0 / (math.prod(window) * (n_in + n_out))) ** 0.5
        weights.append(generator.uniform(-limit, limit, (*window, n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    return weights


def generated_digits() -> tuple[np.ndarray, ...]:
    """Return noisy images of ten patterns, in MNIST's shapes and types: x, y, x_test, y_test.

    No pixel is 0.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    patterns = generator.integers(1, 129, (10, 28, 28), np.uint8)
    arrays = []
    for rows in (60_000, 10_000):
        y = generator.integers(0, 10, rows).astype(np.uint8)
        arrays += [patterns[y] + generator.integers(0, 128, (rows, 28, 28), np.uint8), y]
    return tuple(arrays)


def lay_out_data(folder: Path) -> str:
    """Write the data as .npy files for the contestants; return a description of the data.

    MNIST, or where there is none, generated images.
    """
    from gpunn.datasets import mnist

    try:
        (x, y), (x_test, y_test) = mnist.load_data()
        arrays, kind = (x, y, x_test, y_test), "MNIST"
    except FileNotFoundError:
        arrays, kind = generated_digits(), "generated images"
    lay_out(folder, arrays)
    return kind


def lay_out(folder: Path, arrays: Iterable[np.ndarray]) -> None:
    """Write ``x``, ``y``, ``x_test`` and ``y_test`` where the contestants read them."""
    folder.mkdir(exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)
