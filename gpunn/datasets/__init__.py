"""Data sets as NumPy arrays: by `load_data()` those that Keras has, and `toy` to look at."""

from __future__ import annotations

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
    "DatasetUnavailable",
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "idx",
    "imdb",
    "mnist",
    "reuters",
    "toy",
]
