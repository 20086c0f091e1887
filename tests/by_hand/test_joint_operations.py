"""What is computed in one operation has the gradients of what was written, in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import activations, layers, losses, ops

Body = Callable[[Any], Any]
RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(5, 4)), RANDOM.normal(size=(5, 3))
PICTURES = RANDOM.normal(size=(3, 6, 6, 2))


def a_sum_that_is_used_again(x: Any) -> Body:
    bias = gpunn.Variable(RANDOM.normal(size=4))

    def body(x: Any) -> Any:
        with gpunn.GradientTape(persistent=True) as tape:
            z = x + bias
            y = activations.tanh(z)
            again = ops.sum(y * y) + ops.sum(z * z * z)
            alone = ops.sum(y * 3.0)
        return tape.gradient(again, [z, y, bias]), tape.gradient(alone, [z, bias])

    return body


def a_sum_before_the_tape(x: Any) -> Body:
    bias = gpunn.Variable(RANDOM.normal(size=4))

    def body(x: Any) -> Any:
        z = x + bias
        with gpunn.GradientTape() as tape:
            tape.watch(z)
            loss = ops.sum(activations.sigmoid(z) ** 2)
        return tape.gradient(loss, z), z

    return body


def where_a_convolution_looks(x: Any) -> Body:
    """Grad-CAM: the gradient with respect to what the activation reads."""
    kernel = gpunn.Variable(RANDOM.normal(size=(3, 3, 2, 3)))
    bias = gpunn.Variable(RANDOM.normal(size=3))

    def body(x: Any) -> Any:
        with gpunn.GradientTape(persistent=True) as tape:
            c = ops.conv(x, kernel)
            z = c + bias
            loss = ops.sum(activations.relu(z) ** 2)
        by_all = tape.gradient(loss, [c, z, kernel, bias])
        return by_all, tape.gradient(loss, kernel), tape.gradient(loss, bias)

    return body


def a_convolution_of_shared_parts(x: Any) -> Body:
    kernel = gpunn.Variable(RANDOM.normal(size=(3, 3, 2, 2)))
    bias = gpunn.Variable(RANDOM.normal(size=2))

    def body(x: Any) -> Any:
        with gpunn.GradientTape() as outer:
            with gpunn.GradientTape() as tape:
                tape.watch(x)
                once = activations.sigmoid(ops.conv(x, kernel, padding="same") + bias)
                twice = activations.sigmoid(ops.conv(once, kernel, padding="same") + bias)
                loss = ops.sum(twice * once)
            slopes = tape.gradient(loss, [x, kernel, bias])
            penalty = loss + sum(ops.sum(s * s) for s in slopes)
        return slopes, outer.gradient(penalty, [kernel, bias])

    return body


def linear_outputs(x: Any) -> Body:
    bias = gpunn.Variable(RANDOM.normal(size=4))

    def body(x: Any) -> Any:
        with gpunn.GradientTape() as tape:
            y = activations.linear(x + bias)
            loss = ops.sum(activations.tanh(y)) + ops.sum(y * y)
        return tape.gradient(loss, [y, bias])

    return body


def slopes_of_a_loss_twice(x: Any) -> Body:
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(3)])
    loss, mean = losses.MeanSquaredError(), gpunn.metrics.Mean()

    def body(x: Any) -> Any:
        with gpunn.GradientTape(persistent=True) as tape:
            y = model(x)
            value = loss(ops.convert_to_tensor(Y), y)
        first = tape.gradient(value, model.trainable_variables)
        with gpunn.GradientTape() as other:
            size = ops.sum(model(x) ** 2)
        sizes = other.gradient(size, model.trainable_variables)
        mean.update_state(value, sample_weight=5)
        return tape.gradient(value, y), first, sizes, mean.result()

    return body


def a_penalty_on_gradients(x: Any) -> Body:
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(3)])
    loss = losses.MeanSquaredError()

    def body(x: Any) -> Any:
        with gpunn.GradientTape() as outer:
            with gpunn.GradientTape() as tape:
                tape.watch(x)
                value = loss(ops.convert_to_tensor(Y), model(x))
            slopes = tape.gradient(value, x)
            total = value + ops.sum(slopes * slopes)
        return total, outer.gradient(total, model.trainable_variables)

    return body


def two_optimizers_on_one_tape(x: Any) -> Body:
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(3)])
    loss = losses.MeanSquaredError()
    first, second = gpunn.optimizers.SGD(0.1), gpunn.optimizers.SGD(0.05)

    def body(x: Any) -> Any:
        weights = model.trainable_variables
        with gpunn.GradientTape(persistent=True) as tape:
            value = loss(ops.convert_to_tensor(Y), model(x))
        first.apply(tape.gradient(value, weights[:2]), weights[:2])
        with gpunn.GradientTape() as other:
            later = loss(ops.convert_to_tensor(Y), model(x))
        slopes = other.gradient(later, weights[2:])
        second.apply(tape.gradient(value, weights[2:]), weights[2:])
        return value, later, slopes

    return body


CASES = {
    case.__name__: case
    for case in (
        a_sum_that_is_used_again, a_sum_before_the_tape, where_a_convolution_looks,
        a_convolution_of_shared_parts, linear_outputs, slopes_of_a_loss_twice,
        a_penalty_on_gradients, two_optimizers_on_one_tape,
    )
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_call_gives_what_python_gives(case: str, every_backend: str, doubles: None) -> None:
    global RANDOM
    gpunn.use_backend(every_backend)
    x = ops.convert_to_tensor(PICTURES if "convolution" in case else X)
    found = []
    for compiled in (False, True):
        RANDOM = np.random.default_rng(5)
        gpunn.utils.set_random_seed(0)
        body = CASES[case](x)
        call = gpunn.function(body) if compiled else body
        found.append([[np.asarray(t) for t in parts(call(x))] for _ in range(4)])
        assert not compiled or call.compiled
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_equal_operations_have_gradients_of_their_own(backend: str) -> None:
    gpunn.use_backend(backend)

    @gpunn.function
    def slopes(x: Any) -> Any:
        with gpunn.GradientTape() as tape:
            tape.watch(x)
            a, b = ops.sin(x), ops.sin(x)
            y = ops.sum(a * 2.0 + b * 3.0)
        return tape.gradient(y, [a, b])

    for _ in range(3):
        assert [float(s[0]) for s in slopes(np.array([0.5]))] == [2.0, 3.0]


def parts(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [part for one in x for part in parts(one)]
    assert x is not None
    return [x]
