"""Networks whose weights are also PyTorch's tensors, for programs that are run in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

TINY = 1e-30  # an epsilon: Keras and PyTorch add theirs in different places


def network(*chain: Any, shape: tuple[int, ...], seed: int = 0) -> Any:
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential([layers.Input(shape), *chain], dtype="float64")
    model.get_weights()  # which draws them
    return model


def as_torch(sources: Sequence[Any]) -> list[torch.Tensor]:
    return [torch.tensor(np.array(w), requires_grad=True) for w in sources]


def assert_same(sources: Sequence[Any], tensors: Sequence[torch.Tensor]) -> None:
    for one, other in zip(sources, tensors, strict=True):
        assert_allclose(np.asarray(one), other.detach().numpy(), rtol=1e-10, atol=1e-12)


def assert_moved(model: Any, before: Sequence[np.ndarray]) -> None:
    """Each weight: none is left out of the comparison by a gradient of 0."""
    for one, other in zip(model.get_weights(), before, strict=True):
        assert np.abs(one - other).max() > 1e-4
