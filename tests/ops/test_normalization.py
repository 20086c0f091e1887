"""Normalization as operations: first and second derivatives beside PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pytorch_layers import against_pytorch

import gpunn
from gpunn import ops
from gpunn.ops.fusion.normalizing import by_given_moments

if sys.version_info[:2] == (3, 11):
    import torch

pytestmark = pytest.mark.usefixtures("doubles")


def both(ours: Callable[..., Any], theirs: Callable[..., Any], given: Sequence[np.ndarray]) -> None:
    """Compare the gradients, and those of the sum of their squares, by everything given."""
    numbers = tuple(range(len(given)))
    first = gpunn.grad(lambda *t: ops.sum(ops.sin(ours(*t))), argnums=numbers)
    tensors = [torch.tensor(one, requires_grad=True) for one in given]
    slopes = torch.autograd.grad(
        torch.sin(theirs(*tensors)).sum(), tensors, create_graph=True
    )
    curves = torch.autograd.grad(sum((one**2).sum() for one in slopes), tensors)
    second = gpunn.grad(
        lambda *t: sum(ops.sum(one**2) for one in first(*t)), argnums=numbers
    )
    for found, wanted in ((first(*given), slopes), (second(*given), curves)):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-8, atol=1e-10)


@against_pytorch
@pytest.mark.parametrize("whole", [False, True], ids=["composed", "one operation"])
@pytest.mark.parametrize(("shape", "axis"), [((5, 3), 1), ((4, 3, 2), 1), ((4, 2, 3), -1)])
def test_by_given_moments(shape: tuple[int, ...], axis: int, whole: bool) -> None:
    r, along = np.random.default_rng(0), [1] * len(shape)
    along[axis] = 3
    x, v, (m, g, b) = r.normal(size=shape), r.random(3) + 0.5, r.normal(size=(3, 3))

    def theirs(x: Any, *given: Any) -> Any:
        m, v, g, b = (one.view(along) for one in given)
        return (x - m) / torch.sqrt(v + 0.1) * g + b

    def ours(x: Any, m: Any, v: Any, g: Any, b: Any) -> Any:
        if not whole:
            return ops.batch_normalization(x, m, v, axis, b, g, 0.1)
        features = ops.reshape(x, (-1, 3, 1) if axis == -1 else (len(x), 3, -1))
        return ops.reshape(by_given_moments(features, (m, v), (g, b), 0.1), shape)

    both(ours, theirs, (x, m, v, g, b))


@against_pytorch
def test_by_moments_of_the_batch_that_are_written_out() -> None:
    x, g, b = np.random.default_rng(1).normal(size=(6, 3)), np.ones(3) * 0.7, np.arange(3.0)

    def ours(x: Any, g: Any, b: Any) -> Any:
        return ops.batch_normalization(x, ops.mean(x, 0), ops.var(x, 0), -1, b, g, 0.1)

    def theirs(x: Any, g: Any, b: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, g, b, training=True, eps=0.1)

    both(ours, theirs, (x, g, b))


@against_pytorch
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("factors", ["gamma beta", "gamma", "beta", ""])
def test_each_sample_by_itself(factors: str, axes: int) -> None:
    r = np.random.default_rng(2)
    x, size, axis = r.normal(size=(4, 3, 5)), (3, 5)[2 - axes :], tuple(range(-axes, 0))
    names = factors.split()
    given = [x, *(r.normal(size=size) for _ in names)]

    def normalized(x: Any, *values: Any) -> Any:
        return ops.layer_normalization(x, **dict(zip(names, values, strict=True)), axis=axis,
                                       epsilon=0.1)  # fmt: skip

    def theirs(x: Any, *values: Any) -> Any:  # PyTorch's has no second derivative without factors
        spread = x.var(axis, correction=0, keepdim=True)
        y = (x - x.mean(axis, keepdim=True)) / torch.sqrt(spread + 0.1)
        for name, value in zip(names, values, strict=True):
            y = y * value if name == "gamma" else y + value
        return y

    both(normalized, theirs, given)
    if factors == "gamma":
        both(
            lambda x, g: ops.rms_normalization(x, g, axis, 0.1),
            lambda x, g: x / torch.sqrt((x**2).mean(axis, keepdim=True) + 0.1) * g, given,
        )  # fmt: skip


def test_arrays_count_in_the_dtype_of_x_and_tensors_in_their_own() -> None:
    gpunn.config.set_floatx("float32")
    x, third = np.random.default_rng(3).normal(size=(4, 3)), np.full(3, 1 / 3)
    wide = ops.convert_to_tensor(x, "float64")
    centered = x - x.mean(1, keepdims=True)
    for found, wanted in (
        (ops.batch_normalization(wide, third, third, -1, third, third, 0.1),
         (x - third) / np.sqrt(third + 0.1) * third + third),
        (ops.layer_normalization(wide, third, epsilon=0.1),
         centered / np.sqrt((centered**2).mean(1, keepdims=True) + 0.1) * third),
        (ops.rms_normalization(wide, third, epsilon=0.1),
         x / np.sqrt((x**2).mean(1, keepdims=True) + 0.1) * third),
    ):  # fmt: skip
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    narrow, factors = ops.cast(wide, "float32"), ops.convert_to_tensor(third, "float64")
    assert ops.layer_normalization(narrow, factors).dtype == "float64"
