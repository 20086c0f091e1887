"""A function draws the same random numbers however it is computed, and others in each call."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore:.*runs in Python")
random = np.random.default_rng(0)
X = random.standard_normal((6, 3)).astype("float32")
ONES = np.ones((4, 16), np.float32)
CALLS = 5


def with_numbers() -> Callable[[Any], Any]:
    """Return a function that draws by `gpunn.random`, with and without generators."""
    own, unseeded = gpunn.random.SeedGenerator(5), gpunn.random.SeedGenerator()

    def drawn(x: Any) -> Any:
        return [
            gpunn.random.normal((3, 4)),
            gpunn.random.uniform((9,), 1.0, 3.0, seed=own),
            gpunn.random.randint((8,), 0, 100, seed=unseeded),
            gpunn.random.dropout(x, 0.4),
            gpunn.random.categorical(x, 2, seed=own),
            gpunn.random.truncated_normal((5,)),
            gpunn.random.gamma((3,), 2.0),
            gpunn.random.beta((3,), 2.0, 0.5),
            gpunn.random.binomial((20,), 9, 0.5),
            gpunn.random.shuffle(ops.arange(30)),
        ]

    return drawn


def with_layers() -> Callable[[Any], Any]:
    """Return a function that calls layers that draw."""
    drawing = [
        layers.Dropout(0.4), layers.GaussianNoise(0.3), layers.Dropout(0.5, seed=3),
        layers.AlphaDropout(0.3), layers.GaussianDropout(0.3), layers.SpatialDropout1D(0.5),
    ]  # fmt: skip

    def drawn(x: Any) -> Any:
        found = [layer(x, training=True) for layer in drawing[:-1]]
        return [*found, drawing[-1](ops.reshape(x, (2, -1, 4)), training=True)]

    return drawn


class Sampling(layers.Layer):
    """Adds noise in every mode, as the encoder of an autoencoder does."""

    def call(self, x: Any) -> Any:
        return x + gpunn.random.normal(x.shape)


def with_models() -> Callable[[Any], Any]:
    """Return a function that calls a model of ones: its outputs are its masks."""
    model = gpunn.Sequential(
        [layers.Input((16,)), layers.Dropout(0.5), Sampling(), layers.Dropout(0.3, seed=2)]
    )
    return lambda x: [model(x, training=True), model(x, training=True), model(x)]


def with_tapes() -> Callable[[Any], Any]:
    """Return a function that draws in tapes and in functions with gradients."""
    inside = with_models()
    scale, drop = gpunn.Variable(np.ones((16,), np.float32)), layers.Dropout(0.5)

    def drawn(x: Any) -> Any:
        before = gpunn.random.normal((2,))
        with gpunn.GradientTape() as tape:
            masks = inside(x * scale)
            noise = gpunn.random.normal((16,))
            loss = ops.sum(noise * scale) + 0.0 * ops.sum(masks[0])
        gradient = tape.gradient(loss, scale)  # the noise
        mask = gpunn.grad(lambda x: ops.sum(drop(x, training=True)))(x)
        return [before, *masks, gradient, mask, gpunn.random.normal((2,))]

    return drawn


def with_built_in_models() -> Callable[[Any], Any]:
    """Return a function that calls a model without custom code, which a tape runs as a program."""
    model = gpunn.Sequential(
        [
            layers.Input((16,)), layers.Dropout(0.5), layers.BatchNormalization(center=False),
            layers.Dense(16, use_bias=False, kernel_initializer="identity"), layers.Dropout(0.3),
        ]
    )  # fmt: skip
    scale, before = gpunn.Variable(np.ones((16,), np.float32)), layers.Dropout(0.2)

    def drawn(x: Any) -> Any:
        with gpunn.GradientTape() as tape:
            kept = [model(x * scale, training=True) != 0.0 for _ in range(2)]
            noise = gpunn.random.normal((16,))
            loss = ops.sum(noise * scale)
        mask = gpunn.grad(lambda x: ops.sum(before(model(x, training=True), training=True)))
        return [*kept, tape.gradient(loss, scale), mask(x) != 0.0, gpunn.random.normal((2,))]

    return drawn


KINDS = {
    "numbers": with_numbers, "layers": with_layers, "models": with_models, "tapes": with_tapes,
    "built-in models": with_built_in_models,
}  # fmt: skip
kinds = pytest.mark.parametrize("kind", KINDS)


def lists(found: Any) -> list[Any]:
    return [np.asarray(t).tolist() for t in found]


def called(kind: str, way: str = "compiled") -> list[list[Any]]:
    """Return what the calls of a function of this kind return, computed in one of the ways."""
    gpunn.utils.set_random_seed(3)
    drawn, extra = KINDS[kind](), gpunn.Variable(0.0)

    def function(x: Any) -> Any:
        if way == "python" and float(ops.sum(extra + x)) > 1e9:
            return None
        return drawn(x + float(retraced[-1]) if retraced else x)

    retraced: list[int] = []
    compiled = gpunn.function(function)
    gpunn.config.run_eagerly(way == "eager")
    found = []
    try:
        for number in range(CALLS):
            if way == "retraced" and number % 3 == 2:
                retraced.append(0)
            with gpunn.GradientTape() if way == "tape" else nullcontext():
                found.append(lists(compiled(ONES)))
    finally:
        gpunn.config.run_eagerly(False)
    assert compiled.compiled or way != "compiled"
    return found


@kinds
def test_they_are_the_same_compiled_in_python_and_retraced(backend: str, kind: str) -> None:
    gpunn.use_backend(backend)
    wanted = called(kind)
    for way in ("python", "eager", "retraced", "tape"):
        for number, (one, other) in enumerate(zip(called(kind, way), wanted, strict=True)):
            assert one == other, f"{way}, call {number}"


DROPPING: dict[str, Callable[[], Any]] = {
    "lstm": lambda: layers.LSTM(4, dropout=0.5, recurrent_dropout=0.3),
    "cells": lambda: layers.RNN([layers.GRUCell(3, dropout=0.5), layers.SimpleRNNCell(2)]),
    "attention": lambda: layers.Attention(dropout=0.5),
    "heads": lambda: layers.MultiHeadAttention(2, 3, dropout=0.5),
}


@pytest.mark.parametrize("name", DROPPING)
def test_layers_that_drop_values_inside_do_so_too(name: str) -> None:
    x = random.standard_normal((2, 6, 8)).astype("float32")
    found = []
    for eager in (False, True):
        gpunn.utils.set_random_seed(1)
        layer = DROPPING[name]()
        given = {"attention": [[x, x]], "heads": [x, x]}.get(name, [x])
        function = gpunn.function(lambda *xs, layer=layer: layer(*xs, training=True))
        gpunn.config.run_eagerly(eager)
        found.append([np.asarray(function(*given)) for _ in range(CALLS)])
        gpunn.config.run_eagerly(False)
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert len({y.tobytes() for y in found[0]}) == CALLS


@kinds
def test_each_call_draws_others(kind: str) -> None:
    for way in ("compiled", "python"):
        found = called(kind, way)
        for number in range(len(found[0])):
            assert len({str(call[number]) for call in found}) == CALLS, f"{way}, draw {number}"


@pytest.mark.parametrize("way", ["compiled", "python"])
def test_their_moments_are_right_over_many_calls(way: str) -> None:
    drop = layers.Dropout(0.25)

    @gpunn.function
    def drawn(x: Any) -> Any:
        if way == "python" and float(ops.sum(x)) < 0:
            return None
        kept = drop(x, training=True) > 0
        return gpunn.random.normal((500,)), ops.cast(kept, "float32"), gpunn.random.uniform((500,))

    gpunn.utils.set_random_seed(1)
    ones = np.ones((1, 500), np.float32)
    calls = [drawn(ones) for _ in range(40)]
    z, kept, u = (np.array(parts).ravel() for parts in zip(*calls, strict=True))
    count = z.size
    assert abs(z.mean()) < 4 / count**0.5 and abs(z.std() - 1) < 4 / (2 * count) ** 0.5
    assert abs(kept.mean() - 0.75) < 4 * (0.75 * 0.25 / count) ** 0.5
    assert abs(u.mean() - 0.5) < 4 * (1 / 12 / count) ** 0.5
    in_turn = np.corrcoef(z[:-500], z[500:])[0, 1]  # of one call and the next
    assert abs(in_turn) < 4 / count**0.5
    assert abs(np.corrcoef(z, u)[0, 1]) < 4 / count**0.5


def test_a_seed_that_is_set_later_begins_again_and_own_seeds_go_on(backend: str) -> None:
    gpunn.use_backend(backend)

    def drawn(x: Any, seed: Any) -> Any:
        return [gpunn.random.normal((3,)), gpunn.random.normal((3,), seed=seed)]

    def of_calls(restarts: bool, python: bool) -> list[list[Any]]:
        gpunn.utils.set_random_seed(7)
        own, found = gpunn.random.SeedGenerator(5), []
        function = gpunn.function(lambda x: drawn(x, own))
        for number in range(8):
            if restarts and number == 4:
                gpunn.utils.set_random_seed(7)
            gpunn.config.run_eagerly(python)
            found.append(lists(function(ONES)))
            gpunn.config.run_eagerly(False)
        return found

    plain = of_calls(False, False)
    for python in (False, True):
        again = of_calls(True, python)
        assert [call[0] for call in again] == [call[0] for call in plain[:4]] * 2
        assert [call[1] for call in again] == [call[1] for call in plain]


def test_two_functions_draw_different_numbers() -> None:
    gpunn.utils.set_random_seed(0)
    one, other = (gpunn.function(lambda: gpunn.random.normal((4,))) for _ in range(2))
    found = [lists([f()]) for f in (one, other) * 4]
    assert len(set(map(str, found))) == 8


def test_a_function_in_a_function_is_a_part_of_it(backend: str) -> None:
    gpunn.use_backend(backend)

    def of_calls(decorated: bool) -> list[list[Any]]:
        gpunn.utils.set_random_seed(2)
        inner: Any = lambda: gpunn.random.normal((3,))  # noqa: E731
        inner = gpunn.function(inner) if decorated else inner
        outer = gpunn.function(lambda: [inner(), gpunn.random.normal((3,)), inner()])
        return [lists(outer()) for _ in range(4)]

    assert of_calls(True) == of_calls(False)


def test_layers_of_arrays_outside_of_functions_are_as_before() -> None:
    drop = layers.Dropout(0.5)
    before = drop(ONES, training=True).tolist()
    gpunn.function(lambda x: drop(x, training=True))(ONES)
    assert drop(ONES, training=True).tolist() != before


# -- the steps of models


class Own(gpunn.Sequential):
    """A model with a step of its own, which returns what its layers drew."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            loss = ops.mean((self(x, training=True) - y) ** 2)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss, "drawn": ops.sum(gpunn.random.normal((3,)))}


def own_model(**options: Any) -> Any:
    gpunn.utils.set_random_seed(0)
    return another_model(**options)


def another_model(**options: Any) -> Any:
    hidden, last = layers.Dense(8, "tanh", name="hidden"), layers.Dense(1, name="last")
    model = Own([layers.Input((3,)), hidden, layers.Dropout(0.5), last])
    model.compile(gpunn.optimizers.Adam(0.01), "mse", **options)
    return model


def trained(model: Any, epochs: int) -> list[float]:
    history = model.fit(X, X[:, :1], 2, epochs=epochs, verbose=0, shuffle=False)
    found: list[float] = history.history["drawn"]
    return found


def test_steps_on_rows_draw_as_single_steps_do(backend: str) -> None:
    gpunn.use_backend(backend)
    single, wanted = own_model(), []
    for _ in range(3):
        for at in range(0, 6, 2):
            batch = X[at : at + 2]
            logs = single.train_on_batch(batch, batch[:, :1], return_dict=True)
        wanted.append(logs["drawn"])
    rows = own_model()
    assert trained(rows, 3) == wanted
    assert trained(own_model(run_eagerly=True), 3) == wanted
    for one, other in zip(rows.get_weights(), single.get_weights(), strict=True):
        assert_array_equal(one, other)


def copied(model: Any, way: str, folder: Path) -> Any:
    """Return a copy of a model with its training state, as if the run went on elsewhere."""
    if way == "file":
        model.save(folder / "own.gpunn")
        return gpunn.models.load_model(folder / "own.gpunn", custom_objects={"Own": Own})
    if way == "state":
        made = another_model()
        made.set_weights(model.get_weights())
        made.set_training_state(*model.training_state())
        return made
    return copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("way", ["file", "state", "deepcopy", "pickle"])
def test_a_resumed_model_draws_what_an_uninterrupted_one_draws(way: str, tmp_path: Path) -> None:
    whole = own_model()
    wanted = trained(whole, 4)
    first = own_model()
    start = trained(first, 2)
    second = copied(first, way, tmp_path)
    assert [*start, *trained(second, 2)] == wanted
    assert trained(first, 2) == wanted[2:]  # the copy has drawn numbers of its own


def test_branches_that_draw_draw_what_python_does() -> None:
    def step(x: Any) -> Any:
        drawn = ops.cond(ops.sum(x) > 0, lambda: normal((1,)), lambda: normal((1,)) + 10)
        return ops.concatenate([drawn, normal((1,))])

    normal = gpunn.random.normal
    found = []
    for eagerly in (True, False):
        gpunn.utils.set_random_seed(1)
        gpunn.config.run_eagerly(eagerly)
        try:
            f = gpunn.function(step)
            found.append([f(np.full(1, x)).tolist() for x in (1.0, -1.0, 1.0, -1.0, 1.0)])
        finally:
            gpunn.config.run_eagerly(False)
    assert found[0] == found[1]
