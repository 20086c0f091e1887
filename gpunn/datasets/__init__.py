"""Data sets as NumPy arrays: `mnist` and `fashion_mnist` by `load_data()`, `toy` to look at."""

from __future__ import annotations

from . import fashion_mnist, idx, mnist, toy
from .dataset import DatasetUnavailable

__all__ = ["DatasetUnavailable", "fashion_mnist", "idx", "mnist", "toy"]
