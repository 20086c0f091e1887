"""`build`, `variables` and `stateless_apply` of optimizers, and `apply` of gradients alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

SHAPES = [(3, 2), (2,), (2, 1)]
MADE: dict[str, Callable[[Any], Any]] = {
    "adam": lambda m: m.optimizers.Adam(0.05),
    "adamw": lambda m: m.optimizers.AdamW(0.05, weight_decay=0.01),
    "nesterov": lambda m: m.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "centered": lambda m: m.optimizers.RMSprop(0.01, centered=True),
    "nadam": lambda m: m.optimizers.Nadam(0.05),
    "adagrad": lambda m: m.optimizers.Adagrad(0.1),
    "schedule": lambda m: m.optimizers.Adam(
        m.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "clipped": lambda m: m.optimizers.Adam(0.05, clipnorm=0.5),
    "accumulated": lambda m: m.optimizers.Adam(0.05, gradient_accumulation_steps=2),
}  # fmt: skip
OWN = {
    "averaged": lambda m: m.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "scaled": lambda m: m.optimizers.SGD(0.1, loss_scale_factor=4.0),
}  # fmt: skip


def drawn() -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    random = np.random.default_rng(0)
    return [random.standard_normal(s) for s in SHAPES], [
        [random.standard_normal(s) for s in SHAPES] for _ in range(5)
    ]


def stepped(optimizer: Any, weights: Any, gradients: Any, given: Callable[[Any], Any]) -> Any:
    state = [given(v) for v in optimizer.variables]
    for each in gradients:
        weights, state = optimizer.stateless_apply(state, list(map(given, each)), weights)
    return weights


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("name", MADE)
def test_steps_are_those_of_keras(keras: Any, name: str) -> None:
    start, gradients = drawn()
    theirs, ours = MADE[name](keras), MADE[name](gpunn)

    def tensor(x: Any) -> Any:
        return keras.ops.convert_to_tensor(x, "float64" if isinstance(x, np.ndarray) else None)

    theirs.build([keras.Variable(w, dtype="float64") for w in start])
    ours.build([gpunn.Variable(w, dtype="float64") for w in start])
    expected = stepped(theirs, list(map(tensor, start)), gradients, tensor)
    # Its learning rate has float32.
    for one, other in zip(stepped(ours, start, gradients, np.asarray), expected, strict=True):
        assert_allclose(one, other.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", [*MADE, *OWN])
def test_steps_are_those_in_place(name: str) -> None:
    make = {**MADE, **OWN}[name]
    start, gradients = drawn()
    variables = [gpunn.Variable(w, dtype="float64") for w in start]
    pure, changing = make(gpunn), make(gpunn)
    pure.build(variables)
    before = [v.numpy() for v in pure.variables]
    found = stepped(pure, start, gradients, np.asarray)
    for one, other in zip(pure.variables, before, strict=True):  # nothing was changed
        assert_array_equal(one, other)
    assert pure.iterations == 0
    for v, w in zip(variables, start, strict=True):
        assert_array_equal(v.numpy(), w)
    changing.build(variables)
    for each in gradients:
        changing.apply(each)
    for v, w in zip(variables, found, strict=True):
        assert_array_equal(v.numpy(), w)


def test_the_state_goes_on_where_fit_has_stopped(backend: str) -> None:
    """Of a model: as if each further step was made by the optimizer itself."""
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)], backend=backend,
        dtype="float64",
    )  # fmt: skip
    model.compile("adam", "mse")
    x, y = np.random.default_rng(1).standard_normal((2, 8, 3))
    y = y[:, :1]
    model.fit(x, y, batch_size=4, verbose=0)
    optimizer, weights = model.optimizer, model.trainable_variables
    optimizer.build(weights)
    assert int(optimizer.variables[0]) == 2
    slopes: Any = None
    with gpunn.GradientTape() as tape:
        loss = ops.mean(ops.square(model(x, training=True) - y))
    slopes = tape.gradient(loss, weights)
    values = [w.numpy() for w in weights]
    after, state = optimizer.stateless_apply(optimizer.variables, slopes, values)
    for w, value in zip(weights, values, strict=True):
        assert_array_equal(w.numpy(), value)
    optimizer.apply(slopes, weights)
    for w, value in zip(weights, after, strict=True):
        assert_allclose(w.numpy(), value, rtol=1e-12)
    for one, other in zip(state, optimizer.variables, strict=True):
        assert_allclose(one, other, rtol=1e-12)


def test_each_error_says_what_to_do() -> None:
    optimizer = gpunn.optimizers.Adam(0.1)
    assert [v.shape for v in optimizer.variables] == [(), ()]
    with pytest.raises(ValueError, match=r"Adam.stateless_apply must know .* optimizer.build"):
        optimizer.stateless_apply(optimizer.variables, [[1.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"Adam.apply was given gradients alone: .*\.build"):
        optimizer.apply([[1.0]])
    optimizer.build([gpunn.Variable([1.0, 2.0])])
    state = optimizer.variables
    assert [v.shape for v in state] == [(), (), (2,), (2,)]
    with pytest.raises(ValueError, match=r"optimizer_variables must have the shapes \[\(\), \(\),"):
        optimizer.stateless_apply(state[:2], [[1.0, 1.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"grads must have the shapes \[\(2,\)\], .* got \[None\]"):
        optimizer.stateless_apply(state, [None], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"trainable_variables must have .* got \[\(1,\)\]"):
        optimizer.stateless_apply(state, [[1.0, 1.0]], [[1.0]])
    copy = pickle.loads(pickle.dumps(optimizer))
    with pytest.raises(ValueError, match="given gradients alone"):  # weights are not copied
        copy.apply([[1.0, 1.0]])
