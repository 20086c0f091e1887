"""What is dropped, counted by the slopes that vanish: every layer that drops in training."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import registered
from properties import masked_sequences as sequences
from properties.masked_sequences import near, numbers

import gpunn
from gpunn import layers, ops
from gpunn.utils import set_random_seed

pytestmark = pytest.mark.usefixtures("doubles")
RATE = 0.3


def having(attribute: str) -> list[str]:
    """The names of the registered layers with this argument."""
    return [
        name for name in registered.names("layer")
        if hasattr(registered.make("layer", name, registered.examples("layer", name)[0]), attribute)
    ]  # fmt: skip


NOISES = having("rate")
"""Layers that drop entries of their inputs, or multiply them by noise."""
DROPPING = [*NOISES, *having("dropout"), "GaussianNoise"]


CELLS = {name for name, _ in sequences.CELLS}
MORE = pytest.mark.more


def later(names: list[str], some: set[str]) -> list[Any]:
    """The names, some of which only `make test-more` runs."""
    return [pytest.param(name, marks=[MORE] * (name in some)) for name in names]


def example(name: str, **options: Any) -> Any:
    arguments = dict(registered.examples("layer", name)[0])
    for rate in ("rate", "dropout", "recurrent_dropout"):
        if hasattr(registered.make("layer", name, arguments), rate):
            arguments[rate] = RATE
    if name == "GaussianNoise":
        arguments["stddev"] = RATE
    layer = registered.make("layer", name, {**arguments, **options})
    return layers.RNN(layer) if name in CELLS else layer


def shape_of(layer: Any) -> tuple[int, ...]:
    if "ConvLSTM" in type(layer).__name__ or registered.has_three_axes(layer):
        return registered.images_for(layer, (2, 3, 3, 4))
    return (2, 3, 3, 4) if "2D" in type(layer).__name__ else (2, 5, 6)


def applied(layer: Any, x: Any, training: bool = True) -> Any:
    if hasattr(layer, "query_dense"):
        return layer(x, x, training=training)
    return layer([x, x] if layer.takes_list else x, training=training)


@pytest.mark.parametrize(
    "name",
    later(DROPPING, {*CELLS, "GRU", "SimpleRNN", "AdditiveAttention", "GroupQueryAttention"}),
)
def test_draws_are_those_of_the_seed_and_differ_from_call_to_call(backend: str, name: str) -> None:
    """The slopes are those of the outputs with the same draws: the mask of both passes is one."""
    gpunn.use_backend(backend)
    draw = random.Random(name)
    weights: list[Any] = []

    def fresh(seed: int) -> Any:
        layer = example(name, seed=seed)
        applied(layer, x, training=False)
        weights[:] = weights or [numbers(draw, *w.shape) for w in layer.get_weights()]
        layer.set_weights(weights)
        return layer

    def run(layer: Any, x: Any) -> list[Any]:
        return sequences.slopes(lambda x: [applied(layer, x)], [x], layer)

    x, way = (numbers(draw, *shape_of(example(name))) for _ in range(2))
    first, size = fresh(5), 1e-7
    y, dx, *_ = run(first, x)
    near(run(fresh(5), x)[0], y, 0)
    slope = (np.asarray(run(fresh(5), x + size * way)[0]) - y) / size
    factors = np.cos(np.arange(y.size)).reshape(y.shape)
    near((slope * factors).sum(), (np.asarray(dx) * way).sum(), 1e-4)
    quiet, after, other = (applied(layer, x, False) for layer in (first, first, fresh(6)))
    near([after, other], [quiet, quiet])
    # Calls outside a tape: in tapes, a layer with a seed draws the same in each of them.
    now, then = applied(first, x), applied(first, x)
    for one, different in ((y, quiet), (now, quiet), (now, then), (y, run(fresh(6), x)[0])):
        assert not np.allclose(one, different)


def share_is(found: Any, rate: float = RATE) -> None:
    """Check a share of zeros, of this many draws, to five deviations."""
    zeros = np.asarray(found) == 0
    assert abs(zeros.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / zeros.size)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("rate", [0.4, pytest.param(0.75, marks=MORE)])
def test_share_and_shape_of_what_vanishes(backend: str, name: str, rate: float) -> None:
    """An output is its input times its slope, and a number of its own where it is dropped."""
    gpunn.use_backend(backend)
    draw = random.Random(f"{name} {rate}")
    options: Any = {"rate": rate, "seed": draw.randrange(1000)}
    shape: tuple[int, ...] = (8, 3, 4, 100)
    alike: tuple[int, ...] = ()  # axes of one draw
    if "1D" in name:
        shape, alike = (8, 3, 100), (1,)
    if "2D" in name or "3D" in name:
        first = draw.random() < 0.5
        options["data_format"] = "channels_first" if first else "channels_last"
        axes = (3, 4) if "2D" in name else (2, 3, 4)
        shape = (8, 100, *axes) if first else (8, *axes, 100)
        alike = tuple(range(1 + first, 1 + first + len(axes)))
    elif hasattr(registered.make("layer", name, {"rate": 0.5}), "noise_shape"):
        alike = tuple(draw.sample(range(1, 3), draw.randint(0, 2)))
        sizes = [1 if axis in alike else draw.choice([n, None]) for axis, n in enumerate(shape)]
        options["noise_shape"] = tuple(sizes) if alike else draw.choice([None, tuple(sizes)])
    layer, x = registered.make("layer", name, options), 1 + numbers(draw, *shape) ** 2
    y, dx = sequences.slopes(lambda x: [layer(x, training=True)], [x], layer)
    factor = np.asarray(dx) / np.cos(np.arange(x.size)).reshape(shape)
    one = np.take(factor, [0], axis=alike[0]) if alike else factor
    one = np.take(one, [0], axis=alike[1]) if len(alike) > 1 else one
    near(factor, np.broadcast_to(one, shape))
    rest = np.asarray(y) - factor * x
    if name == "GaussianDropout":
        near(rest, np.zeros(shape), 1e-12)
        deviation = np.sqrt(rate / (1 - rate))
        assert abs(one.mean() - 1) < 5 * deviation / np.sqrt(one.size)
        assert abs(one.std() / deviation - 1) < 5 / np.sqrt(2 * one.size)
        return
    share_is(one, rate)
    assert np.ptp(factor[factor != 0]) < 1e-9
    for group in (factor == 0, factor != 0):
        assert np.ptp(rest[group]) < 1e-9
    if name != "AlphaDropout":
        near(factor[factor != 0][0], 1 / (1 - rate)), near(rest, np.zeros(shape), 1e-12)


@pytest.mark.parametrize("name", later(having("implementation"), CELLS))
@pytest.mark.parametrize(
    ("kind", "implementation"),
    [
        ("dropout", 1), ("recurrent_dropout", 2), pytest.param("dropout", 2, marks=MORE),
        pytest.param("recurrent_dropout", 1, marks=MORE),
    ],
)  # fmt: skip
def test_each_gate_has_its_mask_of_all_steps(
    backend: str, name: str, kind: str, implementation: int
) -> None:
    """The slope by a row of a kernel vanishes if that input, or state, is dropped for the gate."""
    gpunn.use_backend(backend)
    draw, units = random.Random(f"{name} {kind} {implementation}"), 24
    options = {"implementation": implementation, "units": units, "dropout": 0.0,
               "recurrent_dropout": 0.0, kind: RATE, "seed": draw.randrange(1000)}  # fmt: skip
    if "GRU" in name:
        options["reset_after"] = implementation == 1
    layer = registered.make("layer", name, options)
    layer = layers.RNN(layer) if name in CELLS else layer
    x = numbers(draw, 1, 2, units)
    layer.build(x.shape)
    states = [numbers(draw, 1, units) for _ in layer.state_size]

    def called(x: Any, *states: Any) -> list[Any]:
        return [layer(x, initial_state=[*states], training=True)]

    _, *slopes = sequences.slopes(called, [x, *states], layer)
    kernels = [np.asarray(slope) for slope in slopes[1 + len(states) :][:2]]
    dropped, other = kernels if kind == "dropout" else kernels[::-1]
    gates = dropped.reshape(units, -1, units)
    vanished = (gates == 0).all(2)  # of each input and gate
    unused = (gates == 0).all(0)  # a reset gate of what is dropped for the candidate
    np.testing.assert_array_equal(gates == 0, vanished[..., None] | unused)
    several = implementation == 1 or kind == "recurrent_dropout"
    share_is(~vanished[:, : vanished.shape[1] if several else 1])
    assert ((other != 0) | (other == 0).all(0)).all()
    assert vanished.any(0).all()
    by_gate = {tuple(column) for column in vanished.T}
    assert len(by_gate) == (vanished.shape[1] if several else 1)


class Offset(layers.Layer):
    """Add a weight to each entry, whose slope in training is that of the entry."""

    def build(self, input_shape: Any) -> None:
        self.offset = self.add_weight(shape=tuple(input_shape[1:]), initializer="ones")

    def call(self, x: Any) -> Any:
        return x + self.offset


@pytest.mark.parametrize(
    "name",
    later(
        [n for n in NOISES if n != "GaussianDropout"],
        {"AlphaDropout", "SpatialDropout2D", "SpatialDropout3D"},
    ),
)
def test_steps_of_a_fit_draw_anew_and_twice_in_one_step(backend: str, name: str) -> None:
    """With SGD, the weights before the layer change by what the layer multiplies them with."""
    gpunn.use_backend(backend)
    shape = {"2D": (2, 3, 40), "3D": (1, 2, 3, 40)}.get(name[-2:], (6, 40))

    def trained() -> tuple[list[float], list[Any]]:
        set_random_seed(3)
        x = gpunn.Input(shape)
        layer = registered.make("layer", name, {"rate": RATE})
        h = Offset()(x)
        y = layers.Add()([layer(h), layers.Rescaling(1e3)(layer(h))])  # a second use
        model = gpunn.Model(x, y)
        model.compile(gpunn.optimizers.SGD(1.0), lambda y, p: ops.sum(p, axis=[*range(1, p.ndim)]))
        weights = [model.get_weights()[0]]
        keep = gpunn.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: weights.append(model.get_weights()[0])
        )
        zeros = np.zeros((3, *shape))
        options: Any = {"batch_size": 1, "epochs": 2, "verbose": 0, "callbacks": [keep]}
        return model.fit(zeros, zeros, **options).history["loss"], weights

    losses, weights = trained()
    near(trained()[1], weights)
    changes = -np.diff(weights, axis=0)
    kinds = np.unique(changes.round(6))  # nothing, once, in the other use, or in both
    assert len(kinds) == 4 and len(np.unique(changes, axis=0)) == len(changes) == 6
    near(kinds[2:], [1e3 * kinds[1], 1001 * kinds[1]], 1e-4)
    share_is(~np.isin(changes.round(6), kinds[[0, 2]]) * 1.0)
    if name != "AlphaDropout":  # then the loss is what is left of the weights
        near(kinds[1], 1 / (1 - RATE), 1e-5)
        of_steps = (changes * weights[:-1]).reshape(2, 3, -1).sum(2)
        near(losses, of_steps.mean(1))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dropped", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_any_of_stacked_cells_may_drop_whatever_their_sizes(
    backend: str, kind: str, dropped: Any
) -> None:
    def network(rate: float) -> Any:
        set_random_seed(0)
        cells = [
            getattr(layers, kind)(units, dropout=rate if k in dropped else 0.0)
            for k, units in enumerate((7, 3, 5))
        ]
        layers_ = [gpunn.Input((4, 2)), layers.RNN(cells), layers.Dense(1)]
        model = gpunn.Sequential(layers_, backend=backend)
        model.compile("sgd", "mse")
        return model

    x = np.random.default_rng(0).normal(size=(6, 4, 2))
    some, none = network(0.5), network(0.0)
    near(some.predict(x, verbose=0), none.predict(x, verbose=0), 1e-6)
    first, *_ = (model.fit(x, x[:, 0, :1], epochs=2, verbose=0) for model in (some, none))
    assert np.isfinite(first.history["loss"]).all()
    assert np.asarray(some.layers[0](x, training=True)).shape == (6, 5)
    assert (np.asarray(some(x, training=True)) != np.asarray(none(x, training=True))).any()
