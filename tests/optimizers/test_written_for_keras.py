"""Optimizers of one's own as Keras's guide writes them: `build` and `update_step`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(22, 6, 6, 2)).astype("float32")
Y = RANDOM.normal(size=(22, 2)).astype("float32")


def own(k: Any) -> Any:
    """Adam with bias correction by the count of updates, written for Keras."""
    ops = k.ops

    class Own(k.optimizers.Optimizer):  # type: ignore[misc]
        def __init__(self, learning_rate: Any = 0.05, beta: float = 0.9, **options: Any) -> None:
            super().__init__(learning_rate=learning_rate, **options)
            self.beta = beta

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.m = self.add_optimizer_variables(variables, "m")
            self.v = [self.add_variable_from_reference(variable, name="v", initializer="ones")
                      for variable in variables]  # fmt: skip

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = ops.cast(learning_rate, variable.dtype)
            t = ops.cast(self.iterations + 1, variable.dtype)
            number = self._get_variable_index(variable)
            m, v = self.m[number], self.v[number]
            self.assign_add(m, (gradient - m) * (1 - self.beta))
            self.assign(v, ops.maximum(v * 0.95, ops.mean(ops.square(gradient))))
            step = m / (1 - ops.power(self.beta, t)) / (ops.sqrt(v) + 1e-3)
            self.assign_sub(variable, rate * step)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "beta": self.beta}

    return Own


Own = own(gpunn)
Own.__qualname__ = "Own"  # by which pickle finds it


def network(k: Any, **options: Any) -> Any:
    layers = k.layers
    return k.Sequential([
        k.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(),
        layers.Flatten(), layers.Dense(4, "tanh"), layers.Dense(2),
    ], **options)  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "weight decay": {"weight_decay": 0.1}, "clipped": {"clipnorm": 0.1},
    "averaged": {"use_ema": True, "ema_momentum": 0.8},
    "gathered": {"gradient_accumulation_steps": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_it_trains_as_in_keras(keras: Any, backend: str, name: str) -> None:
    ours, theirs = network(gpunn, backend=backend), network(keras)
    ours.set_weights(theirs.get_weights())
    histories = []
    for k, model in ((gpunn, ours), (keras, theirs)):
        rate = 0.05
        if name == "plain":
            rate = k.optimizers.schedules.ExponentialDecay(0.05, 2, 0.9)
        model.compile(own(k)(rate, **OPTIONS[name]), "mse")
        histories.append(
            model.fit(X, Y, batch_size=8, epochs=4, shuffle=False, verbose=0).history["loss"]
        )
    np.testing.assert_allclose(*histories, rtol=2e-4)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("name", ["model.gpunn", "model.keras"])
def test_a_saved_model_and_copies_train_on(name: str, tmp_path: Path) -> None:
    if name.endswith(".keras"):
        pytest.importorskip("h5py")
    model = network(gpunn)
    model.compile(Own(beta=0.8, weight_decay=0.01), "mse")
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    if name.endswith(".keras"):
        with pytest.warns(UserWarning, match="the state of Own is not in the file"):
            model.save(tmp_path / name)
        again = gpunn.saving.load_model(tmp_path / name, custom_objects={"Own": Own})
        assert again.optimizer.beta == 0.8
        return
    model.save(tmp_path / name)
    others = [
        gpunn.saving.load_model(tmp_path / name, custom_objects={"Own": Own}),
        copy.deepcopy(model), pickle.loads(pickle.dumps(model)),
    ]  # fmt: skip
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    for other in others:
        other.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
        for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_steps_by_hand_are_those_of_fit(backend: str) -> None:
    model = network(gpunn, backend=backend)
    other = gpunn.models.clone_model(model)
    other.set_weights(model.get_weights())
    model.compile(Own(), "mse")
    model.fit(X[:16], Y[:16], batch_size=8, shuffle=False, verbose=0)
    optimizer = Own()
    for rows in (slice(8), slice(8, 16)):
        with gpunn.GradientTape() as tape:
            loss = gpunn.ops.mean(gpunn.ops.square(other(X[rows], training=True) - Y[rows]))
        variables = other.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    for one, two in zip(model.trainable_weights, other.trainable_weights, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-6)
    assert int(optimizer.iterations) == 2


def test_slots_keep_the_digits_of_the_weights(backend: str) -> None:
    """Sums of gradients of float64, beside NumPy's."""

    class Summing(gpunn.optimizers.Optimizer):
        learning_rate: float = 0.1

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.m = [self.add_variable_from_reference(v, name="m") for v in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            m = self.m[self._get_variable_index(variable)]
            self.assign(m, 0.9 * m + gradient)
            self.assign_sub(variable, learning_rate * m)

    x, y = RANDOM.normal(size=(8, 3)), RANDOM.normal(size=(8, 1))
    layer = gpunn.layers.Dense(1, use_bias=False)
    model = gpunn.Sequential([gpunn.Input((3,)), layer], dtype="float64", backend=backend)
    w, m = model.get_weights()[0].copy(), np.zeros((3, 1))
    model.compile(Summing(), "mse")
    model.fit(x, y, batch_size=8, epochs=5, verbose=0)
    for _ in range(5):
        m = 0.9 * m + x.T @ (2 * (x @ w - y) / 8)
        w -= 0.1 * m
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-13)


def test_layers_frozen_and_freed_later() -> None:
    model, optimizer = network(gpunn), Own()
    model.compile(optimizer, "mse")
    for frozen in (False, True, False):
        model.layers[3].trainable = not frozen
        before = model.layers[3].get_weights()[0].copy()
        model.fit(X, Y, batch_size=8, verbose=0)
        assert np.array_equal(before, model.layers[3].get_weights()[0]) == frozen


def test_slots_of_several_names_are_made_at_once(keras: Any) -> None:
    w, gradients = np.array([1.0, -2.0], np.float32), [[0.5, -1.0], [0.25, 3.0]]
    found: list[Any] = []
    for k in (gpunn, keras):

        class Two(k.optimizers.Optimizer):  # type: ignore[misc, name-defined]
            def build(self, variables: Any) -> None:
                super().build(variables)
                self.m, self.v = self.add_optimizer_variables(
                    variables, ["m", "v"], ["zeros", "ones"]
                )

            def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
                number = self._get_variable_index(variable)
                m, v = self.m[number], self.v[number]
                self.assign(m, m * 0.5 + gradient)
                self.assign(v, v + gradient * gradient)
                self.assign_sub(variable, rate * m / v)

        variable, optimizer = k.Variable(w), Two(0.25)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([k.ops.array(gradient, "float32")])
        found.append(k.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_slots_have_no_values_outside_of_steps() -> None:
    model, optimizer = network(gpunn), Own()
    model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    for use in (
        lambda slot: slot.numpy(), lambda slot: slot + 1.0, np.array,
        lambda slot: slot.assign(np.ones(slot.shape)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"slot 'm' .*training_state\(\)\[0\]"):
            use(optimizer.m[0])
    kept = {name: x for name, x in model.training_state()[0].items() if name.startswith("slot/m/")}
    assert len(kept) == len(optimizer.m) and all(np.any(x) for x in kept.values())


def across(k: Any) -> Any:
    """Updates that read other weights and their slots, and count in a variable of the class."""
    ops = k.ops

    class Across(k.optimizers.Optimizer):  # type: ignore[misc]
        def __init__(self, learning_rate: Any = 0.05, **options: Any) -> None:
            super().__init__(learning_rate=learning_rate, **options)
            self.seen = k.Variable(1.0)

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.m = [self.add_variable_from_reference(v, name="m") for v in variables]
            self.given = list(variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            own = self.m[self._get_variable_index(variable)]
            self.seen.assign(self.seen + 0.1)
            size = sum(ops.mean(ops.abs(m)) for m in self.m)
            far = ops.mean(ops.abs(self.given[0])) + ops.mean(ops.abs(self.given[-1]))
            self.assign_add(own, gradient / (1 + size))
            self.assign_sub(variable, learning_rate * own * far / self.seen)

    return Across


@pytest.mark.parametrize("name", ["plain", "gathered"])
def test_updates_read_other_weights_as_in_keras(keras: Any, backend: str, name: str) -> None:
    ours, theirs = network(gpunn, backend=backend), network(keras)
    ours.set_weights(theirs.get_weights())
    for k, model in ((gpunn, ours), (keras, theirs)):
        model.compile(across(k)(0.1, **OPTIONS[name]), "mse")
        model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("what", ["the slot 'm' of", "dense"])
def test_assignments_to_other_weights_are_refused(what: str) -> None:
    class Reaches(across(gpunn)):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if self._get_variable_index(variable) == 0:
                other = self.m[-1] if "slot" in what else self.given[-1]
                self.assign(other, other + 1.0)

    model = network(gpunn)
    model.compile(Reaches(), "mse")
    with pytest.raises(TypeError, match=rf"Reaches\.update_step assigns to {what}.*another"):
        model.fit(X, Y, verbose=0)


def test_a_count_kept_by_python_is_told_and_changes_no_later_fit() -> None:
    class Counts(own(gpunn)):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.count = getattr(self, "count", 0) + 1
            self.assign_sub(variable, learning_rate * gradient * self.count)

    model, counts = network(gpunn), []
    model.compile(Counts(0.001), "mse")
    with pytest.warns(UserWarning, match=r"Counts\.update_step changes 'count'"):
        for _ in range(4):
            model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
            counts.append(model.optimizer.count)
    assert counts[1] == counts[2] == counts[3]


def test_what_cannot_be_is_named() -> None:
    class Counted(gpunn.optimizers.Optimizer):
        learning_rate: float = 0.1

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.product = self.add_variable((), "ones", name="product")

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, learning_rate * gradient)

    class Drawn(Counted):
        def build(self, variables: Any) -> None:
            super(Counted, self).build(variables)
            self.m = [
                self.add_variable_from_reference(v, "m", "random_normal") for v in variables
            ]

    model = network(gpunn)
    class Uneven(Counted):
        def build(self, variables: Any) -> None:
            super(Counted, self).build(variables)
            self.m = self.add_optimizer_variables(variables, ["m", "v"], ["zeros"])

    class Nothing(gpunn.optimizers.Optimizer):
        learning_rate: float = 0.1

    for optimizer, message in [
        (Uneven(), r"an initializer for each of the names \['m', 'v'\] is expected; got 1"),
        (Nothing(), r"Nothing\.rule: an optimizer must define rule\(\.\.\.\) or update_step"),
        (Counted(), r"Counted\.build makes a variable of no weight"),
        (Drawn(), "first values of the slot 'm' must be equal"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            model.compile(optimizer, "mse")
            model.fit(X, Y, verbose=0)
    with pytest.raises(TypeError, match=r"Lost\.build would be ignored"):

        class Lost(gpunn.optimizers.Optimizer):
            def build(self, variables: Any) -> None:
                pass
