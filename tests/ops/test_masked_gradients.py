"""Gradients through masks: masked elements get 0, even if a later slope is infinite."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.computed import BACKENDS, by_torch, in_steps

import gpunn
from gpunn import layers, ops

F = torch.nn.functional
INF, NAN = np.inf, np.nan
Both = tuple[Callable[..., Any], Callable[..., Any]]



def hard_silu(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's own uses single precision inside."""
    return torch.where(x >= 3, x, torch.where(x <= -3, 0.0, x * (x / 6 + 0.5)))


# Each is 0 below 0, where each of the functions applied to it has an infinite slope.
MASKS: dict[str, Both] = {
    "relu": (ops.relu, F.relu),
    "maximum": (lambda x: ops.maximum(x, 0.0), lambda x: torch.maximum(x, torch.zeros_like(x))),
    "maximum of 0 and x": (
        lambda x: ops.maximum(0.0, x), lambda x: torch.maximum(torch.zeros_like(x), x),
    ),
    "minimum": (lambda x: -ops.minimum(-x, 0.0), lambda x: -torch.clamp(-x, max=0)),
    "clip": (lambda x: ops.clip(x, 0.0, 9.0), lambda x: torch.clip(x, 0.0, 9.0)),
    "relu6": (ops.relu6, F.relu6),
    "hard_sigmoid": (
        lambda x: ops.hard_sigmoid(x * 9 - 3), lambda x: torch.clamp((x * 9 - 3) / 6 + 0.5, 0, 1),
    ),
    "hard_tanh": (lambda x: ops.hard_tanh(x * 2 - 1) + 1, lambda x: F.hardtanh(x * 2 - 1) + 1),
    "hard_silu": (lambda x: -ops.hard_silu(x * 9 - 3), lambda x: -hard_silu(x * 9 - 3)),
    "threshold": (lambda x: ops.threshold(x, 0.0, 0.0), lambda x: F.threshold(x, 0, 0)),
    "hard_shrink": (
        lambda x: ops.hard_shrink(ops.where(x > 0, x, 0.0)),
        lambda x: F.hardshrink(torch.where(x > 0, x, 0.0)),
    ),
    "where": (lambda x: ops.where(x > 0, x, 0.0), lambda x: torch.where(x > 0, x, 0.0)),
    "the larger of two, one of them a number": (
        lambda x: ops.fmax(x, 0.0), lambda x: torch.fmax(x, torch.zeros_like(x)),
    ),
    "a power of 0": (lambda x: ops.relu(x) ** 1.0 * x**0, lambda x: F.relu(x) ** 1.0 * x**0),
}  # fmt: skip
BEHIND: dict[str, Both] = {
    "sqrt": (ops.sqrt, torch.sqrt),
    "rsqrt": (ops.rsqrt, torch.rsqrt),
    "log": (ops.log, torch.log),
    "log2": (ops.log2, torch.log2),
    "cbrt": (ops.cbrt, lambda y: torch.sign(y) * torch.abs(y) ** (1 / 3)),
    "reciprocal": (ops.reciprocal, torch.reciprocal),
    "a root": (lambda y: y**0.3, lambda y: y**0.3),
    "a negative power": (lambda y: y**-2, lambda y: y**-2),
    "a quotient": (lambda y: 2.0 / y, lambda y: 2.0 / y),
}
X = np.array([-20.0, -3.0, -0.7, -1e-3, 1e-3, 0.2, 3.0])


# Each mask with some of the functions, and each function with one mask.
PAIRS = [
    *itertools.product(MASKS, ("sqrt", "cbrt", "a negative power")),
    *itertools.product(["relu"], BEHIND),
]


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("numpy", "float64"), ("compiled", "float32"), ("emulated", "float32"),
        pytest.param("compiled", "float64", marks=pytest.mark.more),
        pytest.param("emulated", "float64", marks=pytest.mark.more),
    ],
)  # fmt: skip
def test_what_is_masked_gets_no_gradient(backend: str, dtype: str) -> None:
    def gradients(number: int, take: Callable[..., list[np.ndarray]]) -> np.ndarray:
        """Use one input for each pair, so that none hides another."""

        def all_pairs(*xs: Any) -> list[Any]:
            parts = zip(PAIRS, xs, strict=True)
            return [BEHIND[b][number](MASKS[m][number](x)) for (m, b), x in parts]

        return np.array(take(all_pairs, [X.astype(dtype)] * len(PAIRS)))

    found = gradients(0, lambda f, xs: in_steps(f, xs, backend, twice=False).first)
    expected = gradients(1, lambda f, xs: by_torch(f, xs, twice=False).first)
    cube_roots = [b == "cbrt" for _, b in PAIRS]  # PyTorch has no cbrt at 0
    assert_array_equal(found[:, X < 0], 0.0)
    expected[cube_roots] = np.where(X < 0, 0.0, expected[cube_roots])
    assert_allclose(found, expected, 1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_smaller_ones_of_a_row_get_no_gradient(backend: str) -> None:
    """PyTorch's gradients are NaN there: it multiplies by 0."""
    x = np.array([[0.0, -1.0, -2.0], [-3.0, 0.0, 0.0]], np.float32)
    found = in_steps(lambda x: ops.sqrt(ops.max(x, axis=1)), [x], backend, twice=False).first[0]
    assert_array_equal(found[:, 1:][0], 0.0)
    assert_array_equal(np.isfinite(found), x < 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lengths_of_0_have_no_slope(backend: str) -> None:
    """Where PyTorch gives 0, and where a power or a root of 0 would give NaN."""
    x = np.array([[0.0, 0.0, -0.0], [3.0, 0.0, -4.0]])
    functions: list[Both] = [
        (lambda x: ops.norm(x, axis=1), lambda x: torch.linalg.vector_norm(x, dim=1)),
        (lambda x: ops.norm(x, 3, axis=1), lambda x: torch.linalg.vector_norm(x, 3, dim=1)),
        (lambda x: ops.norm(x, 1, axis=1), lambda x: torch.linalg.vector_norm(x, 1, dim=1)),
        (lambda x: ops.std(x, axis=1), lambda x: torch.std(x, 1, correction=0)),
        (lambda x: ops.nanstd(x, axis=1), lambda x: torch.std(x, 1, correction=0)),
        (ops.normalize, lambda x: F.normalize(x, dim=-1, eps=1e-7)),
        (ops.abs, torch.abs),
    ]
    for number, (ours, theirs) in enumerate(functions):
        found = in_steps(ours, [x], backend, twice=False).first[0]
        assert_allclose(found, by_torch(theirs, [x], twice=False).first[0], 1e-12, err_msg=number)
    both = in_steps(ops.hypot, [x[:, 0].copy(), x[:, 1].copy()], backend, twice=False).first
    assert both[0][0] == both[1][0] == 0.0
    # An infinite slope after an absolute value or a norm, whose own slope at 0 is 0.
    for ours in (ops.abs, lambda x: ops.norm(x, axis=1), lambda x: ops.hypot(x, x)):
        found = in_steps(lambda x, f=ours: ops.sqrt(f(x)), [x], backend, twice=False).first[0]
        assert_array_equal(found[0], 0.0)


class Rooted(layers.Layer):
    """The root of another layer's output; its slope at 0 is infinite."""

    def call(self, x: Any) -> Any:
        return ops.sqrt(x)


ACTIVATIONS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "relu": (layers.Activation("relu"), F.relu),
    "relu6": (layers.Activation("relu6"), F.relu6),
    "hard_sigmoid": (layers.Activation("hard_sigmoid"), F.hardsigmoid),
    "hard_silu": (layers.Activation("hard_silu"), lambda x: torch.abs(F.hardswish(x))),
    "bounded": (layers.ReLU(max_value=2.0), lambda x: torch.clamp(F.relu(x), max=2.0)),
    "traced": (layers.Lambda(lambda x: ops.relu(x)), F.relu),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_of_training_through_masks(backend: str) -> None:
    """A regression test: the weights are PyTorch's; they once were all NaN."""
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    for name, (mask, theirs) in ACTIVATIONS.items():
        if name == "hard_silu":  # negative within (-3, 0), where there is no root
            rooted: Any = layers.Lambda(lambda x: ops.sqrt(ops.abs(x)))
        else:
            rooted = Rooted()
        gpunn.utils.set_random_seed(5)
        model = gpunn.Sequential(
            [layers.Input((4,)), layers.Dense(8), mask, rooted], backend=backend
        )
        model.compile(gpunn.optimizers.SGD(0.01), "mse")
        kernel = 4 * model.get_weights()[0]  # so that all parts of a mask are reached
        model.set_weights([kernel, np.zeros(8, np.float32)])
        weights = torch.tensor(kernel, requires_grad=True)
        loss = torch.square(torch.sqrt(theirs(torch.tensor(x) @ weights)) - 1).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        model.fit(x, np.ones((6, 8)), batch_size=6, verbose=0)
        found = model.get_weights()[0]
        assert np.isfinite(found).all(), name
        assert_allclose(found, kernel - 0.01 * gradient.nan_to_num(0.0).numpy(), 1e-3, 1e-5, name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["Maximum", "Minimum"])
def test_the_smaller_of_two_layers_gets_no_gradient(name: str, backend: str) -> None:
    """An infinite slope after a layer that chooses."""
    a, b = layers.Input((3,)), layers.Input((3,))
    merged = getattr(layers, name)()([a, b])
    model = gpunn.Model([a, b], layers.Lambda(ops.rsqrt)(merged), backend=backend)
    x = np.array([[0.0, 4.0, 2.0], [0.0, 0.0, 1.0]], np.float32)
    less = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 2.0]], np.float32)
    y = x - less if name == "Maximum" else x + less
    both = gpunn.grad(lambda x, y: ops.sum(model([x, y])), argnums=(0, 1))
    given = [torch.tensor(a, requires_grad=True) for a in (x, y)]
    chosen = torch.rsqrt(getattr(torch, name.lower())(*given))
    expected = [g.numpy() for g in torch.autograd.grad(chosen.sum(), given)]
    for found, other in zip(both(x, y), expected, strict=True):
        assert_allclose(found.numpy(), other, 1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_that_are_not_the_largest_get_no_gradient(backend: str) -> None:
    model = gpunn.Sequential(
        [layers.Input((4, 6, 2)), layers.MaxPooling2D((2, 3)), Rooted()], backend=backend
    )
    x = np.random.default_rng(1).normal(size=(3, 4, 6, 2)).astype(np.float32)
    x[0] = np.minimum(x[0], 0.0)  # a maximum of 0, after which the slope is infinite
    found = gpunn.grad(lambda x: ops.sum(model(x)))(x).numpy()
    taken = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    torch.sqrt(torch.max_pool2d(taken, (2, 3))).sum().backward()
    assert taken.grad is not None
    assert_allclose(found, taken.grad.numpy().transpose(0, 2, 3, 1), 1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_mask_hides_may_be_infinite(backend: str) -> None:
    """Above a diagonal, dropped, of an impossible class: 0, never 0 times infinity."""
    x = np.array([[1.0, INF, NAN], [2.0, 3.0, -INF], [4.0, 5.0, 6.0]], np.float32)
    (lower,) = in_steps(ops.tril, [x], backend, twice=False).values
    assert_array_equal(lower, np.tril(x))
    (upper,) = in_steps(lambda x: ops.triu(ops.transpose(x)), [x], backend, twice=False).values
    assert_array_equal(upper, np.triu(x.T))
    logits, labels = np.array([[1.0, -INF, 2.0]]), np.array([0], np.int32)
    found = in_steps(
        lambda y: ops.sparse_categorical_crossentropy(labels, y, from_logits=True), [logits],
        backend, twice=False,
    )  # fmt: skip
    expected = by_torch(
        lambda y: F.cross_entropy(y, torch.tensor([0]), reduction="none"), [logits], twice=False
    )
    assert_allclose(found.values[0], expected.values[0], 1e-12)
    assert_allclose(found.first[0], expected.first[0], 1e-12)
    model = gpunn.Sequential([layers.Input((400,)), layers.Dropout(0.5)], backend=backend)
    drops = gpunn.value_and_grad(lambda x: ops.max(ops.sqrt(model(x, training=True))))
    value, slopes = drops(np.ones((1, 400), np.float32))
    assert value.item() == pytest.approx(2**0.5) and np.isfinite(slopes.numpy()).all()
