"""Variables that are attributes of models are weights, as in Keras; who else holds one goes on
holding it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*was called on layer:UserWarning"),  # both of Keras
]

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = (2 * X[:, :2] + 1).astype("float32")


def values(x: Any) -> np.ndarray:
    return np.asarray(x.detach() if hasattr(x, "detach") else x)


def step(lib: Any, model: Any, x: Any, y: Any) -> None:
    """Compute the loss of a step and update all trainable variables, as one's own steps do."""
    if lib is gpunn:
        with gpunn.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return
    import torch

    loss = model.compute_loss(x, y, model(x, training=True))
    variables = model.trainable_variables
    gradients = torch.autograd.grad(loss, [v.value for v in variables])
    with torch.no_grad():
        model.optimizer.apply(gradients, variables)


def scaled(lib: Any, early: bool = False, steps: bool = False, **options: Any) -> Any:
    """A model with variables as attributes, in a list and in a dictionary; one is not trained."""

    @lib.saving.register_keras_serializable(package="variables_of_models")
    class Scaled(lib.Model):  # type: ignore[misc]
        def __init__(self, early: bool = early, **common: Any) -> None:
            if not early:
                super().__init__(**common)
            self.scale = lib.Variable(np.full(3, 0.8, "float32"), name="scale")
            self.pair = lib.Variable(1.2), lib.Variable(0.1)
            self.by_name = {"a": [lib.Variable(1.1)]}
            self.seen = lib.Variable(0.0, trainable=False)
            if early:
                super().__init__(**common)
            self.narrow = lib.layers.Dense(2, kernel_initializer="ones")
            self.later: list[Any] = []
            self.later.append(lib.Variable(0.9))

        def call(self, x: Any, training: Any = None) -> Any:
            if training:
                self.seen.assign(self.seen + 1.0)
            y = self.narrow(x * self.scale) * self.pair[0] + self.pair[1]
            return y * self.by_name["a"][0] * self.later[0]

        def get_config(self) -> dict[str, Any]:
            return {"early": early}

    class Stepping(Scaled):  # type: ignore[misc, valid-type]
        def train_step(self, data: Any) -> dict[str, Any]:
            step(lib, self, *data)
            return {"seen": self.seen + 0.0}

    return (Stepping if steps else Scaled)(**options)


def fitted(lib: Any, model: Any) -> Any:
    model.compile(lib.optimizers.SGD(0.02), "mse")
    model.fit(X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("steps", [False, True], ids=["fit", "train_step"])
@pytest.mark.parametrize("early", [False, True], ids=["after", "before"])
def test_they_are_trained_as_in_keras(
    keras: Any, early: bool, steps: bool, backend: str
) -> None:
    theirs = fitted(keras, scaled(keras, early, steps))
    model = fitted(gpunn, scaled(gpunn, early, steps, backend=backend))
    assert len(model.trainable_variables) == len(theirs.trainable_variables) == 7
    assert len(model.weights) == len(theirs.weights) == 8
    assert model.count_params() == theirs.count_params()
    for found, wanted in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert float(model.seen) == 8.0
    np.testing.assert_allclose(
        model.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("suffix", [".gpunn", ".keras", ".weights.h5"])
def test_they_are_saved_and_loaded(suffix: str, tmp_path: Path) -> None:
    model = fitted(gpunn, scaled(gpunn))
    path = tmp_path / f"of{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
        again = scaled(gpunn)
        again.build((None, 3))
        again.load_weights(path)
    else:
        model.save(path)
        again = gpunn.models.load_model(path)
    for found, wanted in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert float(again.seen) == 8.0


def test_weights_files_are_those_of_keras(keras: Any, tmp_path: Path) -> None:
    theirs = fitted(keras, scaled(keras))
    theirs.save_weights(tmp_path / "of.weights.h5")
    model = scaled(gpunn)
    model.build((None, 3))
    model.load_weights(tmp_path / "of.weights.h5")
    np.testing.assert_allclose(
        model.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_model_with_them_is_pickled_copied_and_cloned() -> None:
    model = fitted(gpunn, scaled(gpunn))
    again = pickle.loads(pickle.dumps(type_of_module(model)))
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    clone = gpunn.models.clone_model(model)
    clone.build((None, 3))
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X, verbose=0), model.predict(X, verbose=0))
    before = model.predict(X, verbose=0)
    fitted(gpunn, clone)
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)


def type_of_module(model: Any) -> Any:
    """Let pickle find the class of a model."""
    cls = type(model)
    cls.__qualname__ = cls.__name__ = "FoundScaled"
    globals()["FoundScaled"] = cls
    return model


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_frozen_model_does_not_train_them(keras: Any, when: str) -> None:
    for lib in (keras, gpunn):
        model = scaled(lib)
        if when == "after":
            model.build((None, 3)) if lib is gpunn else model(X)
        model.trainable = False
        assert not model.trainable_variables
        assert len(model.non_trainable_variables) == (8 if when == "after" else 6)


@pytest.mark.parametrize("of", ["layer", "model", "list of a model"])
def test_a_callback_that_holds_a_variable_goes_on_setting_it(
    keras: Any, of: str, backend: str
) -> None:
    found = []
    for lib in (keras, gpunn):
        weight = lib.Variable(0.0, trainable=False)

        class Penalized(lib.layers.Layer):  # type: ignore[name-defined, misc]
            def __init__(self, weight: Any, lib: Any = lib) -> None:
                super().__init__()
                self.dense = lib.layers.Dense(2, kernel_initializer="ones")
                if of == "layer":
                    self.weight = weight

            def call(self, x: Any, weight: Any = None, lib: Any = lib) -> Any:
                y = self.dense(x)
                weight = self.weight if weight is None else weight
                self.add_loss(weight * lib.ops.mean(lib.ops.square(y)))
                return y

        class Net(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, weight: Any, **common: Any) -> None:
                super().__init__(**common)
                self.penalized = Penalized(weight)
                if of == "model":
                    self.weight = weight
                elif of != "layer":
                    self.all = [weight]

            def call(self, x: Any) -> Any:
                if of == "layer":
                    return self.penalized(x)
                return self.penalized(x, self.weight if of == "model" else self.all[0])

        class Annealing(lib.callbacks.Callback):  # type: ignore[name-defined, misc]
            def on_epoch_begin(
                self, epoch: int, logs: Any = None, weight: Any = weight
            ) -> None:
                weight.assign(0.3 * epoch)

        model = Net(weight, **({"backend": backend} if lib is gpunn else {}))
        weight.assign(5.0)  # before it is built
        assert float(values(weight.numpy())) == 5.0
        model.compile(lib.optimizers.SGD(0.05), "mse")
        logs = model.fit(
            X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=[Annealing()]
        )
        found.append(logs.history["loss"])
        held = model.penalized.weight if of == "layer" else getattr(model, "weight", None)
        assert held is weight or held is None
        assert float(values(weight.numpy())) == pytest.approx(0.9)
        assert any(w is weight for w in model.non_trainable_weights)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_two_models_with_one_variable_share_it(keras: Any) -> None:
    for lib in (keras, gpunn):

        class Times(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, factor: Any) -> None:
                super().__init__()
                self.factor = factor

            def call(self, x: Any) -> Any:
                return x * self.factor

        factor = lib.Variable(2.0)
        one, other = Times(factor), Times(factor)
        one.compile(lib.optimizers.SGD(0.1), "mse")
        one.fit(X, X, epochs=100, batch_size=8, verbose=0)
        np.testing.assert_allclose(values(other(X)), X, atol=1e-3)
        assert len(other.trainable_variables) == 1
        other.compile(lib.optimizers.SGD(0.1), "mse")
        other.fit(X, 3 * X, epochs=100, batch_size=8, verbose=0)
        np.testing.assert_allclose(values(factor.numpy()), 3.0, atol=1e-2)
        np.testing.assert_allclose(values(one(X)), 3 * X, atol=3e-2)


class Times(gpunn.Model):
    def __init__(self, factor: Any = None, **common: Any) -> None:
        super().__init__(**common)
        self.factor = gpunn.Variable(2.0) if factor is None else factor

    def call(self, x: Any, training: Any = None) -> Any:
        return x * self.factor


def test_a_variable_that_steps_have_read_before_is_read_where_it_is_now(backend: str) -> None:
    weight = gpunn.Variable(1.0, trainable=False)

    @gpunn.function
    def times(x: Any) -> Any:
        return x * weight

    def loss(y_true: Any, y_pred: Any) -> Any:
        return weight * gpunn.ops.mean(gpunn.ops.square(y_true - y_pred), axis=-1)

    def results(number: float) -> list[float]:
        weight.assign(number)
        return [float(times(X)[0, 0]), model.evaluate(X, 0 * X, verbose=0)]

    gpunn.use_backend(backend)
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Rescaling(1.0)])
    model.compile("sgd", loss)
    square = float(np.mean(X**2))
    for number in (1.0, 2.0, 3.0):
        assert results(number) == pytest.approx([number * X[0, 0], number * square])
    other = Times(weight)
    assert results(4.0) == pytest.approx([4 * X[0, 0], 4 * square])
    other.build((None, 3))
    assert results(5.0) == pytest.approx([5 * X[0, 0], 5 * square])
    third = Times(weight)
    third.compile("sgd", loss)
    assert third.evaluate(X, 0 * X, verbose=0) == pytest.approx(5 * 25 * square)
    assert results(6.0) == pytest.approx([6 * X[0, 0], 6 * square])
    np.testing.assert_allclose(other.predict(X, verbose=0), 6 * X, rtol=1e-6)


def test_variables_made_in_build_are_weights_and_those_made_later_refused(keras: Any) -> None:
    for lib in (keras, gpunn):

        class Product(lib.Model):  # type: ignore[name-defined, misc]
            def build(self, input_shape: Any) -> None:
                self.kernel = lib.Variable(  # noqa: B023
                    np.ones((input_shape[-1], 2), "float32")
                )
                self.built = True

            def call(self, x: Any) -> Any:
                return lib.ops.matmul(x, self.kernel)  # noqa: B023

        model = Product()
        np.testing.assert_allclose(values(model(X)), X @ np.ones((3, 2)), rtol=1e-5)
        assert model.count_params() == 6
        with pytest.raises(ValueError, match="already"):
            model.late = lib.Variable(0.0)


def test_a_variable_of_float64_keeps_its_digits() -> None:
    variable = gpunn.Variable(0.1, dtype="float64")
    model = Times(variable, dtype="float64")
    assert float(variable) == 0.1  # also before the model is built
    model(X)
    assert float(variable) == 0.1


def test_a_weight_of_a_layer_inside_is_counted_once() -> None:
    class Outer(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Times()
            self.of_inner = self.inner.factor

        def call(self, x: Any, training: Any = None) -> Any:
            return self.inner(x) * self.of_inner

    model = Outer()
    np.testing.assert_allclose(model(X).numpy(), 4 * X, rtol=1e-6)
    model.of_inner = model.inner.factor  # of a built model: it is a weight already
    assert model.count_params() == 1
    assert model.weights[0] is model.of_inner


def test_the_state_of_metrics_and_optimizers_is_no_weight() -> None:
    class Counting(Times):
        def __init__(self) -> None:
            super().__init__()
            self.mean = gpunn.metrics.Mean()
            self.of_mean = self.mean.variables
            self.of_optimizer = gpunn.optimizers.Adam().iterations

    model = Counting()
    model.build((None, 3))
    assert model.count_params() == 1


def test_a_call_uses_them_as_variables(keras: Any, backend: str) -> None:
    found = []
    for lib in (keras, gpunn):

        class Counted(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, lib: Any = lib, **common: Any) -> None:
                super().__init__(**common)
                self.scale = lib.Variable(np.ones(3, "float32"))
                self.sums = lib.Variable(np.zeros(3, "float32"), trainable=False)

            def call(self, x: Any, training: Any = None, lib: Any = lib) -> Any:
                if training:
                    self.sums.assign_add(lib.ops.sum(x, axis=0))
                    if lib is gpunn:
                        self.sums[1].assign(7.0)
                    else:
                        self.sums.assign(lib.ops.slice_update(self.sums, [1], [7.0]))
                return x * self.scale.value

        model = Counted(**({"backend": backend} if lib is gpunn else {}))
        model.compile(lib.optimizers.SGD(0.1), "mse")
        model.fit(X, 2 * X, batch_size=4, epochs=3, shuffle=False, verbose=0)
        found.append([*model.get_weights(), values(model.scale.value), values(model.sums.value)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_what_is_assigned_to_a_weight_is_returned() -> None:
    layer = gpunn.layers.Dense(2, kernel_initializer="ones")
    layer.build((None, 1))
    assert layer.kernel.assign_add([[1.0, 2.0]]).tolist() == [[2.0, 3.0]]
    assert layer.kernel.assign_sub([[1.0, 1.0]]).tolist() == [[1.0, 2.0]]
    assert layer.kernel[0, 1].assign(5.0).tolist() == [[1.0, 5.0]]
    assert layer.kernel.assign([[3.0, 4.0]]).tolist() == layer.kernel.numpy().tolist()


def test_models_are_built_by_each_other_once(keras: Any) -> None:
    found = []
    for lib in (keras, gpunn):

        class Inner(lib.Model):  # type: ignore[name-defined, misc]
            def build(self, input_shape: Any) -> None:
                self.bias = lib.Variable(np.full(3, 0.5, "float32"))  # noqa: B023
                self.built = True

            def call(self, x: Any) -> Any:
                return x + self.bias

        class Outer(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, calls: bool, inner: Any = Inner, lib: Any = lib) -> None:
                super().__init__()
                self.calls, self.inner, self.later = calls, inner(), []
                self.later.append(lib.Variable(2.0))

            def build(self, input_shape: Any) -> None:
                if self.calls:
                    self.inner.build(input_shape)
                self.factor = lib.Variable(np.ones(3, "float32"))  # noqa: B023
                self.built = True

            def call(self, x: Any) -> Any:
                return self.inner(x) * self.factor * self.later[0]

        class Outermost(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, calls: bool, outer: Any = Outer) -> None:
                super().__init__()
                self.outer = outer(calls)

            def call(self, x: Any) -> Any:
                return self.outer(x)

        for calls in (True, False):
            inner = Inner()
            inner.build((None, 3))
            assert inner.built
            assert len(inner.weights) == 1
            for model in (Outer(calls), Outermost(calls)):
                y = model(X)
                found.append([values(y), *map(np.asarray, model.get_weights())])
    for theirs, ours in zip(found[:4], found[4:], strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6)


def test_what_comes_to_lists_of_models_inside_is_tracked(keras: Any) -> None:
    for lib in (keras, gpunn):

        def holder(base: Any, inside: Any, lib: Any = lib) -> Any:
            class Holder(base):  # type: ignore[misc]
                def __init__(self) -> None:
                    super().__init__()
                    self.factors: list[Any] = []
                    self.inside = inside

                def call(self, x: Any) -> Any:
                    for factor in self.factors:
                        x = x * factor
                    for one in self.inside:
                        x = one(x)
                    return x

            return Holder()

        shared = lib.Variable(2.0)
        pair = [holder(base, []) for base in (lib.layers.Layer, lib.Model)]
        for one in pair:
            one.factors.append(shared)
        model = holder(lib.Model, pair)
        np.testing.assert_allclose(values(model(X)), 4 * X, rtol=1e-6)
        assert len(model.trainable_weights) == 1


def test_each_of_several_weights_of_one_name_is_trained_and_saved(
    keras: Any, tmp_path: Path
) -> None:
    """Models that share a variable name others as they name it."""
    found = []
    for lib in (keras, gpunn):

        class Pair(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, one: Any, other: Any) -> None:
                super().__init__()
                self.pair, self.inside = (one, other), None

            def call(self, x: Any) -> Any:
                x = x * self.pair[0] * self.pair[1]
                return x if self.inside is None else self.inside(x)

        factors = [lib.Variable(1.0 + 0.1 * k) for k in range(3)]
        model = Pair(factors[0], factors[1])
        model.inside = inside = Pair(factors[2], factors[0])
        assert len({path for path, _ in model.named_parameters()}) == 3 if lib is gpunn else True
        model(X)
        assert len(model.trainable_weights) == 3
        model.compile(lib.optimizers.SGD(0.05), "mse")
        model.fit(X, 2 * X, batch_size=4, epochs=2, shuffle=False, verbose=0)
        model.save_weights(tmp_path / "of.weights.h5")
        trained = model.get_weights()
        model.set_weights([0 * w for w in trained])
        model.load_weights(tmp_path / "of.weights.h5")
        found.append([*model.get_weights(), values(inside(X))])
        np.testing.assert_array_equal(found[-1][:3], trained)
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
