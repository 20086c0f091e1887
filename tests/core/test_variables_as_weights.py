"""A variable that has become a weight is still a variable: it has its class, dtype, options and
attributes, and what is done to it holds, as in Keras."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*was called on layer:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*not have any trainable weights:UserWarning"),  # of Keras
]

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def values(x: Any) -> np.ndarray:
    return np.asarray(x.detach() if hasattr(x, "detach") else x)


def times(lib: Any, of: str, factor: Any) -> Any:
    """A model, or a chain with a layer, that multiplies by a variable."""
    base = lib.Model if of == "model" else lib.layers.Layer

    class Times(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * lib.ops.cast(self.factor, "float32")

    return Times() if of == "model" else lib.Sequential([lib.Input((3,)), Times()])


def losses(lib: Any, model: Any, **options: Any) -> list[float]:
    model.compile(lib.optimizers.SGD(0.1), "mse", **options)
    log = model.fit(X, 2 * X, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return log.history["loss"]  # type: ignore[no-any-return]


class Doubling(gpunn.Variable):
    """A variable with a method."""

    def doubled(self) -> Any:
        return self * 2

    def assign(self, value: Any) -> Any:
        self.assigned = getattr(self, "assigned", 0) + 1
        return super().assign(value)


class Product(gpunn.Model):
    def __init__(self, factor: Any) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any, training: Any = None) -> Any:
        return x * self.factor


@pytest.mark.parametrize("of", ["model", "layer"])
def test_all_weights_are_variables(keras: Any, of: str) -> None:
    for lib in (keras, gpunn):
        factor = lib.Variable(1.0)
        model = times(lib, of, factor)
        assert isinstance(factor, lib.Variable)
        losses(lib, model)
        assert isinstance(factor, lib.Variable)
        dense = lib.layers.Dense(2)
        dense.build((None, 3))
        assert all(isinstance(weight, lib.Variable) for weight in dense.weights)


@pytest.mark.parametrize("of", ["model", "layer"])
def test_their_own_attributes_and_options_remain(keras: Any, of: str) -> None:
    found = []
    for lib in (keras, gpunn):
        factor = lib.Variable(np.array([1.0, -1.0, 0.5], "float32"))
        factor.note = "first"
        factor.regularizer = lib.regularizers.L2(0.1)
        factor.constraint = lib.constraints.NonNeg()
        model = times(lib, of, factor)
        found.append([losses(lib, model), values(factor.numpy())])
        assert factor.note == "first"
        factor.regularizer = None
        found[-1].append(losses(lib, model))
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_variable_of_a_class_of_ones_own_keeps_its_methods() -> None:
    factor = Doubling(1.5)
    model = Product(factor)
    assert isinstance(factor, Doubling)
    assert float(factor.doubled()) == 3.0
    model.build((None, 3))
    factor.assign(2.0)
    assert factor.assigned == 1
    np.testing.assert_array_equal(model(X).numpy(), 2 * X)
    for again in (copy.deepcopy(factor), pickle.loads(pickle.dumps(factor))):
        assert isinstance(again, Doubling)
        assert float(again.doubled()) == 4.0
        again.assign(7.0)
    assert float(factor) == 2.0


@pytest.mark.parametrize("dtype", ["int32", "bool"])
@pytest.mark.parametrize("of", ["model", "layer"])
def test_integers_remain_integers(keras: Any, of: str, dtype: str) -> None:
    numbers = np.array([1, 0, 1], dtype)
    for lib in (keras, gpunn):
        factor = lib.Variable(numbers, dtype=dtype, trainable=False)
        model = times(lib, of, factor)
        for _ in range(2):
            assert lib.backend.standardize_dtype(factor.dtype) == dtype
            assert values(factor.numpy()).dtype == dtype
            np.testing.assert_array_equal(values(factor.numpy()), numbers)
            model(X)
        assert np.asarray(model.get_weights()[0]).dtype == dtype
        np.testing.assert_array_equal(values(model(X)), X * numbers)
        factor.assign(numbers[::-1] ^ numbers)
        np.testing.assert_array_equal(values(model(X)), X * 0)


def test_integers_of_add_weight_are_integers(keras: Any) -> None:
    for lib in (keras, gpunn):
        layer = lib.layers.Layer() if lib is keras else times(lib, "layer", 1.0).layers[0]
        count = layer.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        count.assign(count + 3)
        assert list(range(int(count.numpy()))) == [0, 1, 2]
        assert values(count.numpy()).dtype == "int32"


@pytest.mark.parametrize("of", ["model", "layer"])
def test_one_weight_is_frozen_and_trained_again(keras: Any, of: str) -> None:
    found = []
    for lib in (keras, gpunn):
        factor = lib.Variable(1.0)
        model = times(lib, of, factor)
        own: list[Any] = [losses(lib, model)]
        for trainable in (False, True):
            factor.trainable = trainable
            assert factor.trainable is trainable
            assert len(model.trainable_weights) == trainable
            assert len(model.non_trainable_weights) == 1 - trainable
            own.append(losses(lib, model))
        found.append(own)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_a_weight_without_a_gradient_is_not_made_trainable() -> None:
    factor = gpunn.Variable(1.0, trainable=False)
    model = Product(factor)
    model.build((None, 3))
    with pytest.raises(ValueError, match="created with trainable=False"):
        factor.trainable = True


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_weight_of_two_layers_is_frozen_with_either(keras: Any, frozen: int) -> None:
    for lib in (keras, gpunn):
        factor = lib.Variable(1.0)
        pair = [times(lib, "layer", factor).layers[-1] for _ in range(2)]
        pair[frozen].trainable = False
        model = lib.Sequential([lib.Input((3,)), *pair])
        assert not model.trainable_weights
        losses(lib, model)
        assert float(values(factor.numpy())) == 1.0
        pair[frozen].trainable = True
        losses(lib, model)
        assert float(values(factor.numpy())) != 1.0


@pytest.mark.parametrize("of", ["model", "layer"])
def test_a_deleted_variable_is_no_weight(keras: Any, of: str) -> None:
    for lib in (keras, gpunn):
        model = times(lib, of, lib.Variable(1.0))
        holder = model if of == "model" else type(model.layers[-1])()
        holder.other = lib.Variable(2.0)
        assert len(holder.weights) == 2
        del holder.other
        assert len(holder.weights) == 1


def test_a_weight_of_a_built_model_is_not_deleted() -> None:
    model = Product(gpunn.Variable(1.0))
    model.build((None, 3))
    with pytest.raises(ValueError, match="cannot be deleted"):
        del model.factor
    np.testing.assert_array_equal(model(X).numpy(), X)


@pytest.mark.parametrize("run", ["fit", "predict", "call", "save"])
@pytest.mark.parametrize("into", ["list", "dictionary", "list in it"])
def test_variables_that_come_to_a_list_of_a_built_model_are_refused(
    keras: Any, into: str, run: str, tmp_path: Any
) -> None:
    for lib in (keras, gpunn):

        class Chain(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, lib: Any = lib) -> None:
                super().__init__()
                self.held: dict[str, Any] = {"a": lib.Variable(1.0), "more": [lib.Variable(2.0)]}
                self.listed = [lib.Variable(1.0)]

            def call(self, x: Any) -> Any:
                for factor in (*self.listed, *self.held["more"], self.held["a"]):
                    x = x * factor
                return x * self.held.get("b", 1.0)

        model = Chain()
        model.compile(lib.optimizers.SGD(0.01), "mse")
        model.fit(X, X, verbose=0)
        with pytest.raises(ValueError, match="already"):
            if into == "dictionary":
                model.held["b"] = lib.Variable(2.0)
            else:
                (model.listed if into == "list" else model.held["more"]).append(lib.Variable(2.0))
            if run == "fit":
                model.fit(X, X, verbose=0)
            elif run == "save":
                model.save_weights(tmp_path / "of.weights.h5")
            else:
                model.predict(X, verbose=0) if run == "predict" else model(X)


def test_a_metric_reads_trained_weights(keras: Any) -> None:
    for lib in (keras, gpunn):
        factor = lib.Variable(1.0)
        model = times(lib, "model", factor)

        def scaled(y_true: Any, y_pred: Any, lib: Any = lib, factor: Any = factor) -> Any:
            return factor * lib.ops.mean(lib.ops.abs(y_true - y_pred), axis=-1)

        losses(lib, model, metrics=[scaled])
        factor.assign(3.0)
        found = model.evaluate(X, 0 * X, verbose=0, return_dict=True)
        assert found["scaled"] == pytest.approx(9 * np.mean(np.abs(X)), rel=1e-5)
        with_gradient = losses(lib, model)
        assert with_gradient[-1] < with_gradient[0]


def test_functions_read_weights_where_they_are_now(backend: str) -> None:
    gpunn.use_backend(backend)
    dense = gpunn.layers.Dense(2, kernel_initializer="ones")
    dense.build((None, 3))
    kernel = dense.kernel

    @gpunn.function
    def product(x: Any) -> Any:
        return x @ kernel

    np.testing.assert_allclose(product(X).numpy(), X @ np.ones((3, 2)), rtol=1e-5)
    model = gpunn.Sequential([gpunn.Input((3,)), dense])
    for number in (2.0, 3.0):
        kernel.assign(np.full((3, 2), number))
        np.testing.assert_allclose(product(X).numpy(), model(X).numpy(), rtol=1e-5)


def test_a_loss_reads_the_state_of_a_layer(backend: str) -> None:
    gpunn.use_backend(backend)
    layer = times(gpunn, "layer", 1.0).layers[0]
    weight = layer.add_weight(shape=(), initializer="ones", trainable=False, name="of_loss")

    def loss(y_true: Any, y_pred: Any) -> Any:
        return weight * gpunn.ops.mean(gpunn.ops.square(y_true - y_pred), axis=-1)

    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Rescaling(1.0)])
    model.compile("sgd", loss)
    square = np.mean(X**2)
    assert model.evaluate(X, 0 * X, verbose=0) == pytest.approx(square)
    weight.assign(2.0)
    assert model.evaluate(X, 0 * X, verbose=0) == pytest.approx(2 * square)
    for number in (3.0, 4.0):
        gpunn.Sequential([gpunn.Input((3,)), layer]).predict(X, verbose=0)
        weight.assign(number)
        assert model.evaluate(X, 0 * X, verbose=0) == pytest.approx(number * square)


def test_a_metric_reads_weights_where_they_are_now(backend: str) -> None:
    gpunn.use_backend(backend)
    factor = gpunn.Variable(1.0, trainable=False)

    class Scaled(gpunn.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="scaled")
            self.factor, self.total = factor, self.add_weight(shape=(), name="total")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(self.factor * gpunn.ops.sum(gpunn.ops.abs(y_true - y_pred)))

        def result(self) -> Any:
            return self.total

    first = Product(factor)
    first.build((None, 3))
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Rescaling(1.0)])
    model.compile("sgd", "mse", metrics=[Scaled()])
    for number in (1.0, 2.0, 3.0):
        factor.assign(number)
        for _ in range(2):
            found = model.evaluate(X, 0 * X, verbose=0, return_dict=True)["scaled"]
            assert found == pytest.approx(number * np.abs(X).sum(), rel=1e-5)
        Product(factor).predict(X, verbose=0)


@pytest.mark.filterwarnings("ignore:.*changes what it uses:UserWarning")
def test_models_that_share_a_weight_let_others_be() -> None:
    traced: list[Any] = []

    class Counted(Product):
        def call(self, x: Any, training: Any = None) -> Any:
            traced.append(self)
            return x * self.factor

    factor = gpunn.Variable(1.0)
    pair, other = [Product(factor), Product(factor)], Counted(gpunn.Variable(1.0))
    for model in (*pair, other):
        model.compile("sgd", "mse")
    counts = []
    for _ in range(4):
        for model in (*pair, other):
            model.train_on_batch(X, 2 * X)
        counts.append(len(traced))
    assert counts[0] == counts[-1]


@pytest.mark.all_backends
def test_a_loss_does_not_read_weights_on_another_device(backend: str) -> None:
    factor = gpunn.Variable(1.0, trainable=False)
    Product(factor).build((None, 3))
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Rescaling(1.0)], backend=backend)
    model.compile("sgd", lambda y_true, y_pred: factor * gpunn.ops.mean(y_pred, axis=-1))
    if backend == "emulated":
        with pytest.raises(ValueError, match="'emulated' cannot read"):
            model.evaluate(X, X, verbose=0)
    else:
        assert model.evaluate(X, X, verbose=0) == pytest.approx(np.mean(X), rel=1e-4)


def test_other_threads_use_a_variable_while_a_model_takes_it() -> None:
    errors: list[BaseException] = []
    for _ in range(30):
        factor, ended = gpunn.Variable(np.ones(3, "float32"), trainable=False), threading.Event()

        def use(factor: Any = factor, ended: Any = ended) -> None:
            try:
                while not ended.is_set():
                    assert (factor.numpy() + (factor + 1.0).numpy()).tolist() == [3.0] * 3
                    assert factor.value.shape == factor.shape == (3,)
                    assert factor.dtype == "float32"
                    factor.assign(np.ones(3, "float32"))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        np.testing.assert_array_equal(Product(factor)(X).numpy(), X)
        ended.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_models_that_share_one_are_not_trained_at_the_same_time() -> None:
    factor = gpunn.Variable(1.0)
    models = [Product(factor), Product(factor)]
    for model in models:
        model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"share the weight 'call/factor'"):
        gpunn.fit_many(models, X, X, verbose=0)
