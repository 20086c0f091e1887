"""Scans: one trace of the body for all steps gives what the unrolled body gives, everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

B, T, F, U = 4, 7, 3, 5
RANDOM = np.random.default_rng(0)
X, KERNEL, RECURRENT, BIAS = (
    RANDOM.standard_normal(shape).astype("float32") * 0.5
    for shape in ((T, B, F), (F, 4 * U), (U, 4 * U), (4 * U,))
)


def lstm(x: Any, kernel: Any, recurrent: Any, bias: Any, **options: Any) -> Any:
    def f(carry: Any, row: Any) -> Any:
        h, c = carry
        z = row @ kernel + h @ recurrent + bias
        i, forget, g, o = (z[:, k * U : (k + 1) * U] for k in range(4))
        c = ops.sigmoid(forget) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return (h, c), h

    start = ops.zeros((x.shape[1], U), x.dtype)
    return ops.scan(f, (start, start), x, **options)


def loss(*args: Any, **options: Any) -> Any:
    (h, c), ys = lstm(*args, **options)
    return ops.sum(ops.sin(ys)) + ops.sum(h * h) + ops.sum(c)


def test_an_lstm_is_that_of_torch(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    theirs = torch.nn.LSTM(F, U)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(torch.tensor(KERNEL.T))
        theirs.weight_hh_l0.copy_(torch.tensor(RECURRENT.T))
        theirs.bias_ih_l0.copy_(torch.tensor(BIAS))
        theirs.bias_hh_l0.zero_()
    x = torch.tensor(X, requires_grad=True)
    ys, (h, c) = theirs(x)
    (torch.sin(ys).sum() + (h * h).sum() + c.sum()).backward()
    found = gpunn.grad(loss, (0, 1, 2, 3))(X, KERNEL, RECURRENT, BIAS)
    exact = (
        x.grad, theirs.weight_ih_l0.grad.T, theirs.weight_hh_l0.grad.T, theirs.bias_ih_l0.grad
    )  # fmt: skip
    for g, e in zip(found, exact, strict=True):
        assert_allclose(g.numpy(), e.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reverse", [pytest.param(False, marks=pytest.mark.more), True])
def test_gradients_of_gradients_are_those_of_the_unrolled_loop(
    every_backend: str, reverse: bool
) -> None:
    gpunn.use_backend(every_backend)

    def second(**options: Any) -> Any:
        first = gpunn.grad(lambda *args: loss(*args, reverse=reverse, **options), (0, 1, 2, 3))

        def total(*args: Any) -> Any:
            return sum(ops.sum(ops.sin(g)) for g in first(*args))

        return gpunn.grad(total, (0, 1, 2, 3))(X, KERNEL, RECURRENT, BIAS)

    for g, e in zip(second(), second(unroll=True), strict=True):
        assert_allclose(g.numpy(), e.numpy(), rtol=1e-3, atol=1e-4)


def kinds(x: Any, w: Any, b: Any, **options: Any) -> Any:
    """A loop with carries of every kind: swapped, a counter, one that is fixed, one not read."""

    def f(carry: Any, row: Any) -> Any:
        p, q, n, still, _ = carry
        turned = ops.transpose(ops.reshape(row, (B, F)))
        p, q = ops.tanh(q + row * ops.cast(n, "float32") * 0.1), p * w[0] + turned.T @ ops.eye(F)
        inner, _ = ops.scan(lambda s, y: (s * 0.5 + y @ w, None), p, ops.stack([q, p * b]))
        return (p, q, n + 1, still, row), {"p": inner, "n": n, "row": row, "b": b, "none": None}

    init = [ops.zeros((B, F)), x[0] * 2.0, 0, b, x[1]]
    return ops.scan(f, init, x, **options)


@pytest.mark.parametrize("reverse", [False, True])
def test_every_kind_of_carry_and_result(every_backend: str, reverse: bool) -> None:
    gpunn.use_backend(every_backend)
    w, b = RANDOM.standard_normal((F, F)).astype("float32"), np.ones(F, "float32")

    def total(x: Any, w: Any, b: Any, **options: Any) -> Any:
        (p, q, n, still, last), ys = kinds(x, w, b, reverse=reverse, **options)
        assert n.dtype == ys["n"].dtype == "int32" and ys["none"] is None
        parts = [p, q, still, last, ys["p"], ys["row"], ys["b"]]
        parts.append(ops.cast(ys["n"], "float32") * p[0, 0])
        return sum(ops.sum(ops.sin(t)) for t in parts) + ops.cast(n, "float32")

    def unrolled(*args: Any) -> Any:
        return total(*args, unroll=True)

    one, many = (gpunn.value_and_grad(f, (0, 1, 2))(X, w, b) for f in (total, unrolled))
    assert_allclose(one[0].item(), many[0].item(), rtol=1e-5)
    for g, e in zip(one[1], many[1], strict=True):
        assert_allclose(g.numpy(), e.numpy(), rtol=1e-4, atol=1e-4)


class Cell(layers.Layer):
    """A recurrent layer of one's own, of layers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.back = layers.Dense(U), layers.Dense(U, use_bias=False)

    def call(self, x: Any) -> Any:
        def f(h: Any, row: Any) -> Any:
            h = ops.tanh(self.dense(row) + self.back(h))
            return h, h

        start = ops.zeros((x.shape[0], U), x.dtype)
        return ops.scan(f, start, ops.transpose(x, (1, 0, 2)))[0]


def recurrent(**options: Any) -> Any:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential([layers.Input((T, F)), Cell(), layers.Dense(2)])
    model.compile(gpunn.optimizers.SGD(0.1), "mse", **options)
    return model


def test_layers_in_it_are_trained_as_by_torch(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    model = recurrent()
    x = RANDOM.standard_normal((10, T, F)).astype("float32")
    y = RANDOM.standard_normal((10, 2)).astype("float32")
    weights = [torch.tensor(w, requires_grad=True) for w in model.get_weights()]
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)  # the last batch has 2 rows
    optimizer = torch.optim.SGD(weights, 0.1)
    for _ in range(2):
        for k in (0, 4, 8):
            rows, (kernel, bias, back, last, shift) = torch.tensor(x[k : k + 4]), weights
            h = torch.zeros(len(rows), U)
            for t in range(T):
                h = torch.tanh(rows[:, t] @ kernel + bias + h @ back)
            optimizer.zero_grad()
            torch.mean((h @ last + shift - torch.tensor(y[k : k + 4])) ** 2).backward()
            optimizer.step()
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def trained_by_tape(x: Any, y: Any, eagerly: bool) -> Any:
    class Own(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                value = self.compute_loss(y=y, y_pred=self(x, training=True))
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
            return {"loss": value}

    gpunn.utils.set_random_seed(3)
    model = Own([layers.Input((T, F)), Cell(), layers.Dense(2)])
    model.compile(gpunn.optimizers.SGD(0.1), "mse", run_eagerly=eagerly)
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def test_it_trains_by_tapes_and_eagerly_as_by_fit(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    x = RANDOM.standard_normal((10, T, F)).astype("float32")
    y = RANDOM.standard_normal((10, 2)).astype("float32")
    model, eager = recurrent(), recurrent(run_eagerly=True)
    for one in (model, eager):
        one.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    others = eager.get_weights(), trained_by_tape(x, y, False), trained_by_tape(x, y, True)
    for other in others:
        for a, b in zip(model.get_weights(), other, strict=True):
            assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def refused(change: Callable[[Any], Any]) -> Any:
    class Refused(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.state = self.add_weight((), "zeros", trainable=False)
            self.drop = layers.Dropout(0.5)

        def call(self, x: Any, training: bool | None = None) -> Any:
            def f(carry: Any, row: Any) -> Any:
                return carry + change(self)(row), row

            return ops.scan(f, x[:, 0], ops.transpose(x, (1, 0, 2)))[0]

    return Refused()


def added(layer: Any) -> Any:
    def apply(row: Any) -> Any:
        layer.add_loss(ops.sum(row))
        return row

    return apply


def assigned(layer: Any) -> Any:
    def apply(row: Any) -> Any:
        layer.state.assign_add(1.0)
        return row

    return apply


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: lambda row: row + gpunn.random.normal(row.shape), "draws random numbers"),
        (lambda layer: lambda row: layer.drop(row), "draws random numbers"),
        (assigned, "assigns to a variable"),
        (added, "adds a loss"),
    ],
)
def test_what_one_trace_cannot_repeat_is_refused(change: Any, message: str, eagerly: bool) -> None:
    with pytest.raises(ValueError, match=f"scan: f {message}"):
        model = gpunn.Sequential([layers.Input((T, F)), refused(change)])
        model.compile("sgd", "mse", run_eagerly=eagerly)
        model.fit(np.ones((4, T, F)), np.ones((4, F)), verbose=0)


def test_unrolled_it_draws_new_numbers_in_each_step() -> None:
    class Noise(layers.Layer):
        def call(self, x: Any) -> Any:
            rows = ops.transpose(x, (1, 0, 2))
            draw = gpunn.random.normal
            return ops.scan(lambda c, y: (c, draw(y.shape)), 0.0, rows, unroll=True)[1][:, :, 0].T

    drawn = Noise()(np.zeros((B, T, F)))
    assert len({*np.asarray(drawn).reshape(-1).tolist()}) == B * T


def test_no_steps_return_the_first_carry_and_no_rows(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    empty = np.zeros((0, B), "float32")

    def both(first: Any, rows: Any) -> Any:
        last, ys = ops.scan(lambda c, y: (c + y, {"y": ops.sum(y)}), first, rows)
        assert ys["y"].shape == (0,)
        return ops.sum(last * 2.0)

    assert_array_equal(gpunn.grad(both)(np.ones(B, "float32"), empty).numpy(), np.full(B, 2.0))
    assert ops.scan(lambda c, y: (c + y, y), np.ones(B), empty)[0].tolist() == [1.0] * B


def test_a_number_takes_the_dtype_that_the_function_returns() -> None:
    def total(x: Any) -> Any:
        return ops.scan(lambda c, y: (c + y, c), 0, x)[0]

    assert total(X[:, 0, 0]).dtype == "float32"
    assert_allclose(gpunn.grad(total)(X[:, 0, 0]).numpy(), np.ones(T))
    assert ops.scan(lambda c, y: (c + y, c), 0, ops.array([1, 2]))[0].dtype == "int32"


def test_float64_is_kept(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    x = RANDOM.standard_normal((T, B))

    def total(x: Any) -> Any:
        return ops.sum(ops.scan(lambda c, y: (c * 0.5 + ops.sin(y), c), x[0], x)[1])

    found = gpunn.grad(total)(ops.convert_to_tensor(x, "float64"))
    assert found.dtype == "float64"
    step = 1e-6 * (np.arange(T * B).reshape(T, B) == 9)
    slope = float(total(ops.convert_to_tensor(x + step, "float64"))) - float(
        total(ops.convert_to_tensor(x - step, "float64"))
    )
    assert_allclose(found.numpy()[step > 0], slope / 2e-6, rtol=1e-6)
