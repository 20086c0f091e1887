"""A softmax or sigmoid is fused with the cross-entropy that follows, which shows in no gradient."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpunn
from gpunn import activations, losses, ops

RANDOM = np.random.default_rng(3)
Z, SHARES = RANDOM.normal(size=(4, 3)), RANDOM.dirichlet(np.ones(3), 4)
LABELS, BITS, WEIGHTS = np.array([2, 0, 1, 1]), RANDOM.integers(0, 2, (4, 3)) * 1.0, np.arange(4.0)


def torchs_categorical(t: Any, p: Any, weights: Any = None, smoothing: float = 0.0) -> Any:
    t = torch.tensor(t) * (1 - smoothing) + smoothing / 3
    rows = -(t * torch.log(p / p.sum(-1, keepdim=True))).sum(-1)
    return (rows if weights is None else rows * torch.tensor(weights)).mean()


def torchs_sparse(t: Any, p: Any, ignored: int | None = None) -> Any:
    counted = torch.tensor(t != ignored)
    logs = torch.log(p / p.sum(-1, keepdim=True))
    return torch.nn.functional.nll_loss(logs[counted], torch.tensor(t)[counted])


TORCH = SimpleNamespace(
    softmax=lambda z: torch.softmax(z, -1), sigmoid=torch.sigmoid, sum=torch.sum,
    reshape=torch.reshape, categorical=torchs_categorical, sparse=torchs_sparse,
    binary=lambda t, p: torch.nn.functional.binary_cross_entropy(p, torch.tensor(t)),
    total=lambda t, p: 4 * torchs_sparse(t, p),
)  # fmt: skip
CATEGORICAL = {s: losses.CategoricalCrossentropy(label_smoothing=s) for s in (0.0, 0.2)}
SPARSE = {c: losses.SparseCategoricalCrossentropy(ignore_class=c) for c in (None, 1)}
OURS = SimpleNamespace(
    softmax=activations.softmax, sigmoid=activations.sigmoid, sum=ops.sum, reshape=ops.reshape,
    categorical=lambda t, p, weights=None, smoothing=0.0: CATEGORICAL[smoothing](t, p, weights),
    sparse=lambda t, p, ignored=None: SPARSE[ignored](t, p),
    binary=losses.BinaryCrossentropy(),
    total=losses.SparseCategoricalCrossentropy(reduction="sum"),
)  # fmt: skip

Program = Callable[[Any, Any], tuple[Any, Any]]
PROGRAMS: dict[str, Program] = {
    "categorical": lambda k, z: ((y := k.softmax(z)), k.categorical(SHARES, y)),
    "sparse": lambda k, z: ((y := k.softmax(z)), k.sparse(LABELS, y)),
    "binary": lambda k, z: ((y := k.sigmoid(z)), k.binary(BITS, y)),
    "a sum": lambda k, z: ((y := k.softmax(z)), k.total(LABELS, y)),
    "smoothed": lambda k, z: ((y := k.softmax(z)), k.categorical(SHARES, y, smoothing=0.2)),
    "weights": lambda k, z: ((y := k.softmax(z)), k.categorical(SHARES, y, weights=WEIGHTS)),
    "a class ignored": lambda k, z: ((y := k.softmax(z)), k.sparse(LABELS, y, ignored=1)),
    "two losses": lambda k, z: (
        (y := k.softmax(z / 2.0)), k.categorical(SHARES, y) * 3.0 - k.sparse(LABELS, y)
    ),
    "used again": lambda k, z: ((y := k.sigmoid(z)), k.binary(BITS, y) + k.sum(y * y * y)),
    "changed": lambda k, z: ((y := k.softmax(z)), k.sparse(LABELS, y * 0.9 + 0.1 / 3)),
    "reshaped": lambda k, z: (
        (y := k.softmax(k.reshape(z, (2, 2, 3)))), k.sparse(LABELS, k.reshape(y, (4, 3)))
    ),
    "two heads": lambda k, z: (
        (y := k.softmax(z)), k.sparse(LABELS, y) + k.binary(BITS, k.sigmoid(y * z))
    ),
}  # fmt: skip


def by_torch(program: Program) -> list[Any]:
    z = torch.tensor(Z, requires_grad=True)
    y, value = program(TORCH, z)
    (alone,) = torch.autograd.grad(value, z, create_graph=True)
    both = torch.autograd.grad(value, [y, z], create_graph=True)
    (second,) = torch.autograd.grad((alone**2).sum() + (both[0] ** 2).sum() + value, z)
    return [value, alone, *both, second]


@pytest.mark.parametrize("compiled", [False, True], ids=["tape", "function"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_those_of_pytorch(
    name: str, compiled: bool, every_backend: str, doubles: None
) -> None:
    """By the logits, by the probabilities too, and of these gradients."""
    gpunn.use_backend(every_backend)

    def slopes(z: Any) -> Any:
        with gpunn.GradientTape() as outer:
            outer.watch(z)
            with gpunn.GradientTape(persistent=True) as tape:
                tape.watch(z)
                y, value = PROGRAMS[name](OURS, z)
            alone, both = tape.gradient(value, z), tape.gradient(value, [y, z])
            total = ops.sum(alone**2) + ops.sum(both[0] ** 2) + value
        return value, alone, *both, outer.gradient(total, z)

    call = gpunn.function(slopes) if compiled else slopes
    for _ in range(3 if compiled else 1):
        found = call(ops.convert_to_tensor(Z))
    assert not compiled or call.compiled
    for one, other in zip(found, by_torch(PROGRAMS[name]), strict=True):
        assert_allclose(np.asarray(one), other.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_probabilities_from_before_a_tape(every_backend: str, doubles: None) -> None:
    """The tape knows how they are used, not what they were made of."""
    gpunn.use_backend(every_backend)

    @gpunn.function
    def slopes(z: Any) -> Any:
        y = activations.softmax(z)
        with gpunn.GradientTape(persistent=True) as tape:
            tape.watch([y, z])
            value = OURS.sparse(LABELS, y)
        return [tape.gradient(value, t, unconnected_gradients="zero") for t in (y, z)]

    wanted = -np.eye(3)[LABELS] / (np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)) / 4
    for _ in range(3):
        by_y, by_z = slopes(ops.convert_to_tensor(Z))
        assert_allclose(np.asarray(by_y), wanted + 0.25, rtol=1e-8)  # they are divided by their sum
        assert not np.asarray(by_z).any()


def test_a_loss_that_reads_probabilities_on_arrays_gets_them(backend: str) -> None:
    class Own(losses.BinaryCrossentropy):
        def elements(self, backend: Any, y_true: Any, y_pred: Any, terms: Any, slopes: Any) -> None:
            terms[...] = np.abs(y_pred - y_true)
            if slopes is not None:
                slopes[...] = np.sign(y_pred - y_true)

    dense = gpunn.layers.Dense(3, "sigmoid", kernel_initializer="identity")
    model = gpunn.Sequential([gpunn.Input((3,)), dense], backend=backend)
    model.compile("sgd", Own())
    expected = np.abs(1 / (1 + np.exp(-Z)) - BITS).mean()
    assert model.evaluate(Z, BITS, verbose=0) == pytest.approx(expected, rel=1e-5)
