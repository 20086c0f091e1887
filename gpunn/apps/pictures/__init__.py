"""Read image files into arrays that a model takes, with Pillow (extra ``image``)."""

from __future__ import annotations

from gpunn.loaders.opening import MAX_PIXELS

from .digits import as_mnist
from .reading import read_image

__all__ = ["MAX_PIXELS", "as_mnist", "read_image"]
