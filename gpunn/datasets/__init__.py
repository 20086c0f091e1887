"""Data sets as NumPy arrays: `mnist` and `fashion_mnist`, each with `load_data()`."""

from __future__ import annotations

from gpunn.datasets import fashion_mnist, idx, mnist
from gpunn.datasets.dataset import DatasetUnavailable

__all__ = ["DatasetUnavailable", "fashion_mnist", "idx", "mnist"]
