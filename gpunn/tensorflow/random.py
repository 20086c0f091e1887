"""``tf.random``: `gpunn.random`, and what has other arguments in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import ops
from gpunn.ops import random

__all__ = ["gamma"]


def gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = "float32", seed: Any = None,
    name: str | None = None,
) -> Any:
    """Draw from gamma distributions: ``shape`` values for each of ``alpha``, the shape parameters,
    divided by ``beta``, the rates; see `gpunn.random.gamma`.

    >>> gamma([3], [0.5, 2.0]).shape
    (3, 2)
    """
    rates = np.asarray(1.0 if beta is None else ops.convert_to_numpy(beta))
    shapes = np.asarray(ops.convert_to_numpy(alpha))
    each = np.broadcast_shapes(shapes.shape, rates.shape)
    lengths = [int(n) for n in np.ravel(ops.convert_to_numpy(shape))]
    return random.gamma((*lengths, *each), shapes, dtype, seed) / rates.astype(np.float32)


def __getattr__(name: str) -> Any:
    return getattr(random, name)
