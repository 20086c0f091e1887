"""The epilogues of products, in steps of the launch mode "fused"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
from products import KINDS, shares, spied_backend, trained

import gpunn
from gpunn import layers, ops
from gpunn.backends.shared.precision import PRECISIONS


def distance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


def expected(**counts: int) -> dict[str, float]:
    counts[""] = counts.pop("plain")
    return {kind: count / sum(counts.values()) for kind, count in counts.items()}


@pytest.mark.parametrize("offered", [KINDS, ("bias",), ("relu",), ("bias_gradient",), ()])
def test_what_is_offered_is_used_and_changes_no_result(offered: tuple[str, ...]) -> None:
    backend, spy = spied_backend(*offered)
    reference = trained(gpunn.backends.get_backend("numpy"))
    assert distance(trained(backend), reference) < 1e-6
    counts = {"bias": 1, "relu": 1, "bias_gradient": 2}
    done = {kind: count for kind, count in counts.items() if kind in offered}
    assert shares(spy) == expected(**done, plain=5 - sum(done.values()))


@pytest.mark.parametrize(
    ("hidden", "counts"),
    [
        # before 4 products with an epilogue and 2 for input gradients
        (lambda: [layers.Dense(47, "tanh")], {"bias_gradient": 3, "plain": 3}),
        (
            lambda: [layers.Dense(47, "relu", use_bias=False)],
            {"bias_gradient": 2, "plain": 4},
        ),
        (
            lambda: [layers.Dense(47), layers.Dropout(0.5)],
            {"bias": 2, "bias_gradient": 3, "plain": 2},
        ),
    ],
    ids=["another activation", "no bias", "dropout behind it"],
)
def test_what_fits_no_epilogue_is_done_by_kernels(
    hidden: Callable[[], list[Any]], counts: dict[str, int]
) -> None:
    backend, spy = spied_backend(*KINDS)
    reference = trained(gpunn.backends.get_backend("numpy"), hidden)
    assert distance(trained(backend, hidden), reference) < 1e-6
    assert shares(spy) == expected(**{"bias": 1, "relu": 1, **counts})


class OwnDense(layers.Layer):
    """Dense, as a user would write it."""

    def __init__(self, activation: Callable[[Any], Any]) -> None:
        super().__init__()
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1], 47), "glorot_uniform")
        self.b = self.add_weight((47,), "zeros")

    def call(self, x: Any) -> Any:
        return self.activation(ops.matmul(x, self.w) + self.b)


@pytest.mark.parametrize(
    ("activation", "counts"),
    [
        # Its bias gradient is summed together with the preceding work.
        (ops.relu, {"relu": 2, "bias_gradient": 2, "plain": 3}),
        (gpunn.activations.get("relu"), {"relu": 2, "bias_gradient": 3, "plain": 2}),
        (lambda y: y, {"bias": 2, "bias_gradient": 3, "plain": 2}),
        (lambda y: ops.relu(y) + ops.tanh(y), {"bias_gradient": 2, "plain": 4}),
    ],
    ids=["relu by an operation", "relu", "none", "one that reads the sum twice"],
)
def test_a_custom_layer_has_the_forward_epilogues_of_dense(
    activation: Callable[[Any], Any], counts: dict[str, int]
) -> None:
    backend, spy = spied_backend(*KINDS)

    def hidden() -> list[Any]:
        return [OwnDense(activation)]

    reference = trained(gpunn.backends.get_backend("numpy"), hidden)
    assert distance(trained(backend, hidden), reference) < 1e-6
    assert shares(spy) == expected(**{"bias": 1, "relu": 1, **counts})


def test_only_what_is_the_products_own_becomes_its_epilogue() -> None:
    shared, _ = spied_backend(*KINDS)
    backend = shared.isolated()
    x, y, other = (backend.upload(np.ones(s, np.float32)) for s in ((8, 3), (8, 40), (8, 40)))
    out, sums, z = (backend.zeros(s, np.float32) for s in ((3, 40), (40,), (8, 40)))
    linear = gpunn.activations.linear

    def tasks(*work: Callable[[], None]) -> int:
        return len(backend.trace(lambda: [ask() for ask in work], epilogues=True))

    def product(accumulate: bool = False) -> None:
        backend.matmul(x, y, out, transpose_a=True, accumulate=accumulate)

    def sum_up() -> None:
        backend.column_sums(y, sums)

    def activate(target: Any) -> None:
        backend.bias_activation(out, sums, linear, target)

    assert tasks(product, sum_up) == tasks(product, lambda: activate(out)) == 1
    assert tasks(sum_up, product) == 2
    assert tasks(product, lambda: backend.column_sums(other, sums)) == 2
    assert tasks(product, lambda: backend.column_sums(y, sums, accumulate=True)) == 2
    assert tasks(lambda: product(accumulate=True), sum_up) == 2
    assert tasks(product, sum_up, lambda: activate(out)) == 2
    long, flat = backend.zeros((120,), np.float32), out.reshape(1, 120)
    assert tasks(product, lambda: backend.bias_activation(flat, long, linear, flat)) == 2
    assert tasks(product, lambda: activate(backend.zeros((3, 40), np.float32))) == 2
    assert tasks(lambda: backend.matmul(x, out, z), lambda: activate(out)) == 2


def test_a_small_product_has_none() -> None:
    """It is a part of a launch that does as much."""
    shared, _ = spied_backend(*KINDS)
    backend = shared.isolated()
    x, w, out, bias = (
        backend.zeros(s, np.float32) for s in ((8, 3), (3, 10), (8, 10), (10,))
    )

    def step() -> None:
        backend.matmul(x, w, out)
        backend.bias_activation(out, bias, gpunn.activations.relu, out)

    assert len(backend.trace(step, epilogues=True)) == 2
    program = backend.program(step, True)
    program.run(1)
    assert len(program.launches) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_factors_are_rounded_there_too(precision: str) -> None:
    backend, spy = spied_backend(*KINDS)
    plain = trained(emulated.make_backend("plain"), precision=precision)
    assert distance(trained(backend, precision=precision), plain) < 1e-6
    assert spy.done["relu"] > 0
