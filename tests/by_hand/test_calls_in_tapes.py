"""Calls of models and losses in tapes are programs: nothing shows it but the time they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interrupting import interrupt, places
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.ops.running.compiled_calls import CompiledCall
from gpunn.ops.trace import current

random = np.random.default_rng(5)
X = random.normal(size=(6, 3))
LABELS = random.integers(0, 2, 6)


def network(*inner: Any) -> Any:
    return gpunn.Sequential([gpunn.Input((3,)), *inner])


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays hold numbers that nobody wants when a run ends, and until the next one fills them."""
    give_back = CompiledCall.give_back

    def spoil_and_give_back(self: Any, bound: Any, is_whole: bool = True) -> None:
        arrays = [*bound.xs, *bound.ys, *bound.dys.values(), *(array for _, _, array in bound.dxs)]
        for array in arrays:
            self.backend.write(array, np.full(array.shape, 77).astype(array.dtype))
        give_back(self, bound, is_whole)

    monkeypatch.setattr(CompiledCall, "give_back", spoil_and_give_back)


@pytest.fixture(autouse=True)
def on_backend(every_backend: str, doubles: None) -> None:
    gpunn.use_backend(every_backend)


def slopes(model: Any, value: Callable[[], Any], times: int = 3) -> list[np.ndarray]:
    """Return the gradients of the weights in the last of several tapes: from the second on, all
    backends have a program."""
    for _ in range(times):
        gpunn.utils.set_random_seed(1)
        with gpunn.GradientTape() as tape:
            loss = value()
        found = tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero")
    return [g.numpy() for g in found]


def by_differences(model: Any, value: Callable[[], Any]) -> list[np.ndarray]:
    """Return the same by central differences."""
    found = []
    for w in model.trainable_variables:
        before, slope = w.numpy(), np.zeros(w.shape)
        for place in np.ndindex(*w.shape):
            ends = []
            for shift in (1e-6, -1e-6):
                moved = before.copy()
                moved[place] += shift
                w.assign(moved)
                gpunn.utils.set_random_seed(1)
                with gpunn.GradientTape():
                    ends.append(value().item())
            slope[place] = (ends[0] - ends[1]) / 2e-6
        w.assign(before)
        found.append(slope)
    return found


def penalty_of_slopes(model: Any) -> Any:
    """The gradient penalty of WGAN-GP."""
    with gpunn.GradientTape() as inner:
        inner.watch(x := ops.convert_to_tensor(X))
        y = model(x, training=True)
    return ops.mean((ops.norm(inner.gradient(y, x), axis=1) - 1.0) ** 2)


LAYERS: dict[str, Callable[[], list[Any]]] = {
    "dense": lambda: [layers.Dense(4, "tanh"), layers.Dense(2)],
    "dropout": lambda: [layers.Dense(8, "tanh"), layers.Dropout(0.4), layers.Dense(2)],
    "noise": lambda: [layers.GaussianNoise(0.3), layers.Dense(4, "gelu"), layers.Dense(2)],
    "normalized": lambda: [layers.Dense(4), layers.LayerNormalization(), layers.Dense(2, "tanh")],
    "batch": lambda: [layers.Dense(4), layers.BatchNormalization(), layers.Dense(2, "tanh")],
    "convolution": lambda: [
        layers.Reshape((3, 1, 1)), layers.Conv2D(2, (2, 1), activation="tanh"), layers.Flatten(),
        layers.Dense(2),
    ],
}  # fmt: skip


@pytest.mark.parametrize("inner", LAYERS.values(), ids=list(LAYERS))
def test_gradients_are_the_slopes(inner):
    model = network(*inner())
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    for value in (
        lambda: loss(LABELS, model(X, training=True)),
        lambda: loss(LABELS, model(X, training=True), sample_weight=np.arange(6.0)),
    ):
        for ours, wanted in zip(slopes(model, value), by_differences(model, value), strict=True):
            assert_allclose(ours, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("inner", LAYERS.values(), ids=list(LAYERS))
def test_slopes_of_slopes(inner):
    """Random numbers are drawn once for a call, and for its derivatives of each order."""
    model = network(*inner())
    found = slopes(model, lambda: penalty_of_slopes(model))
    wanted = by_differences(model, lambda: penalty_of_slopes(model))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_several_calls_of_a_model_in_a_tape():
    model = network(layers.Dense(3, "tanh"))
    kernel, bias = (torch.from_numpy(w.numpy()).requires_grad_() for w in model.weights)
    y = torch.from_numpy(X)
    for _ in range(7):
        y = torch.tanh(y @ kernel + bias)
    y.square().sum().backward()
    for _ in range(3):
        with gpunn.GradientTape() as tape:
            y = ops.convert_to_tensor(X)
            for _ in range(7):  # more than programs keep their arrays for
                y = model(y)
            loss = ops.sum(y * y)
        ours = tape.gradient(loss, model.trainable_variables)
        for g, theirs in zip(ours, (kernel, bias), strict=True):
            assert_allclose(g.numpy(), theirs.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_persistent_tape_gives_each_gradient_again(rate):
    model = network(layers.Dense(8, "tanh"), layers.Dropout(rate), layers.Dense(1))
    for _ in range(3):
        with gpunn.GradientTape(persistent=True) as tape:
            tape.watch(x := ops.convert_to_tensor(X))
            y = model(x, training=True)
        first = [tape.gradient(y, model.trainable_variables), tape.gradient(y, [x])]
        kept = [[g.numpy() for g in found] for found in first]
        again = [tape.gradient(y, model.trainable_variables), tape.gradient(y, [x])]
        for one, before, other in zip(first, kept, again, strict=True):
            for a, b, c in zip(one, before, other, strict=True):
                assert_array_equal(a, b)
                assert_array_equal(a, c)


def test_what_a_tape_gave_stays_as_it_is():
    """Neither later steps nor updates change it, whatever part of it is kept."""
    model, optimizer = network(layers.Dense(3, "tanh"), layers.Dense(1)), gpunn.optimizers.SGD(0.5)
    held, copies = [], []
    for step in range(6):
        with gpunn.GradientTape() as tape:
            y = model(X + step)
            w = ops.convert_to_tensor(model.weights[0])
            loss = ops.sum(y * y)
        found = tape.gradient(loss, model.trainable_variables)
        held += [y[2:4], w[1], loss, *found, ops.reshape(found[0], (-1,))[:2]]
        copies += [np.array(t) for t in held[len(copies) :]]
        optimizer.apply(found, model.trainable_variables)
    for t, copy in zip(held, copies, strict=True):
        assert_array_equal(t, copy)


def test_a_weight_that_was_read_in_a_tape_stays_as_it_was() -> None:
    model = network(layers.Dense(2, use_bias=False))
    (kernel,) = model.weights
    held = []
    for step in range(5):
        kernel.assign(np.full((3, 2), float(step)))
        with gpunn.GradientTape():
            model(X)
            w = ops.convert_to_tensor(kernel)
        held.append(ops.reshape(w, (-1,)))
        del w
    assert_array_equal(ops.stack(held), np.repeat(np.arange(5.0)[:, None], 6, axis=1))


def test_gradients_of_many_tapes_are_those_of_their_weights() -> None:
    model = network(layers.Dense(1, use_bias=False))
    (kernel,) = model.weights
    tapes = []
    for step in range(9):  # more than programs keep their arrays for
        kernel.assign(np.full((3, 1), float(step)))
        with gpunn.GradientTape() as tape:
            tape.watch(x := ops.convert_to_tensor(X))
            y = model(x)
        tapes.append((tape, x, y))
    for step, (tape, x, y) in enumerate(tapes):
        assert_array_equal(tape.gradient(y, x), np.full(X.shape, float(step)))


def test_weights_that_change_before_the_gradient_is_taken():
    model = network(layers.Dense(1, use_bias=False))
    (kernel,) = model.weights
    for _ in range(3):
        kernel.assign(np.ones((3, 1)))
        with gpunn.GradientTape() as tape:
            tape.watch(x := ops.convert_to_tensor(X))
            y = model(x)
            kernel.assign(np.full((3, 1), 5.0))
            y = y + model(x)
        assert_array_equal(tape.gradient(y, x), np.full(X.shape, 6.0))
        assert_array_equal(kernel.numpy(), np.full((3, 1), 5.0))


def test_a_changed_model_is_called_as_it_is_now():
    dropout = layers.Dropout(0.5)
    model = network(dropout, layers.Dense(2, use_bias=False, kernel_initializer="ones"))
    for rate in (0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.5):
        dropout.rate = rate
        with gpunn.GradientTape():
            y = model(np.ones((400, 3)), training=True)
        assert set(np.unique(y.numpy())) == ({0, 2, 4, 6} if rate else {3})


def test_statistics_of_batches_are_updated_once_a_call():
    model = network(layers.BatchNormalization(momentum=0.5))
    wanted = np.zeros(3)
    for _ in range(4):
        with gpunn.GradientTape():
            model(X, training=True)
        wanted = 0.5 * wanted + 0.5 * X.mean(axis=0)
        assert_allclose(model.layers[-1].moving_mean.numpy(), wanted, rtol=1e-12)


def test_losses_that_layers_add_are_those_of_the_call():
    model = network(layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l1"))
    for _ in range(3):
        with gpunn.GradientTape() as tape:
            y = model(X)
            loss = sum(model.losses)
        wanted = 0.01 * np.sum(y.numpy() ** 2) / 6 + 0.01 * np.abs(model.weights[0].numpy()).sum()
        assert loss.item() == pytest.approx(wanted)
        (slope, _) = tape.gradient(loss, model.trainable_variables)
        kernel = model.weights[0].numpy()
        assert_allclose(slope, 0.02 * X.T @ y.numpy() / 6 + 0.01 * np.sign(kernel), rtol=1e-10)


def test_custom_code_is_called_each_time():
    calls = []

    class Noted(layers.Layer):
        def call(self, x: Any) -> Any:
            calls.append("call")
            return x / 2.0

    model = network(Noted())
    for _ in range(4):
        before = len(calls)
        with gpunn.GradientTape():
            y = model(X)
        assert len(calls) == before + 1
        assert_array_equal(y, X / 2)


@pytest.mark.parametrize("bad", [2, -1])
def test_a_bad_label_is_refused_each_time_and_leaves_nothing(bad):
    model, loss = network(layers.Dense(2)), gpunn.losses.SparseCategoricalCrossentropy()

    def value(labels: Any) -> Any:
        return loss(labels, ops.softmax(model(X)))

    good = slopes(model, lambda: value(LABELS))
    for _ in range(6):
        with pytest.raises(ValueError, match=f"{bad}"), gpunn.GradientTape():
            value([bad, 0, 1, 0, 1, 0])
    for one, other in zip(good, slopes(model, lambda: value(LABELS)), strict=True):
        assert_array_equal(one, other)


def test_copies_of_models_have_programs_of_their_own():
    model = network(layers.Dense(2))
    slopes(model, lambda: ops.sum(model(X)))
    other = gpunn.models.clone_model(model)
    other.set_weights([w + 1 for w in model.get_weights()])
    assert_allclose(slopes(other, lambda: ops.sum(other(X) ** 2))[0],
                    2 * X.T @ other(X).numpy(), rtol=1e-12)  # fmt: skip


FILES = {
    str(Path(gpunn.__file__).parent / name)
    for name in (
        "ops/running/compiled_calls.py", "ops/running/tape_entries.py", "ops/running/eager.py",
        "ops/running/tape.py", "ops/running/tape_trace.py", "optimizers/on_arrays.py",
    )
}  # fmt: skip


def test_an_interrupt_leaves_programs_that_work() -> None:
    """At sampled lines of the second and third step, which make a program and run it."""
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)

    def made() -> tuple[Any, Callable[[], Any]]:
        model = network(layers.Dense(4, "tanh"), layers.Dropout(0.5), layers.Dense(2))
        optimizer = gpunn.optimizers.Adam(0.1)

        def steps() -> None:
            for _ in range(3):
                with gpunn.GradientTape() as tape:
                    value = loss(LABELS, model(X, training=True))
                found = tape.gradient(value, model.trainable_variables)
                optimizer.apply(found, model.trainable_variables)

        return model, steps

    model, steps = made()
    start = model.get_weights()
    lines = places(steps, FILES)
    assert len(lines) > 200
    model.set_weights(start)
    wanted = slopes(model, lambda: loss(LABELS, model(X, training=True)))
    for place in lines[::13]:
        model, steps = made()
        interrupt(steps, place)
        assert current() is None
        steps()  # whatever state it was left in
        model.set_weights(start)
        found = slopes(model, lambda model=model: loss(LABELS, model(X, training=True)))
        for ours, theirs in zip(found, wanted, strict=True):
            assert_array_equal(ours, theirs)
