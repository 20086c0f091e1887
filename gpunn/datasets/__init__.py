"""Data sets as NumPy arrays: Keras's, with `load_data()`, and small ones in `toy`."""

from __future__ import annotations

from gpunn.common.importing.lazy import offer

from . import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    fashion_mnist,
    idx,
    imdb,
    mnist,
    reuters,
    toy,
)
from .dataset import DatasetUnavailable

__all__ = [
    "DatasetUnavailable", "boston_housing", "california_housing", "cifar10", "cifar100",
    "fashion_mnist", "idx", "imdb", "mnist", "reuters", "toy",
]
offer(__name__)
