"""Test models with a custom call: against Keras, on every backend, in files, and nested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.common import registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(24, 6)).astype(np.float32)
Z = RANDOM.normal(size=(24, 3)).astype(np.float32)
Y = RANDOM.normal(size=(24, 2)).astype(np.float32)


# -- models as scripts write them, for Keras or gpunn


def plain(k: Any) -> Any:
    class Plain(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.first = k.layers.Dense(5, activation="tanh")
            self.last = k.layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.last(self.first(inputs))

    return Plain


def residual(k: Any) -> Any:
    """Layers in a list and in a dictionary, one of them called twice."""

    class Residual(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.blocks = [k.layers.Dense(6, activation="relu") for _ in range(2)]
            self.shared = k.layers.Dense(6)
            self.ends = {"norm": k.layers.BatchNormalization(), "last": k.layers.Dense(2)}

        def call(self, x: Any, training: Any = None) -> Any:
            for block in self.blocks:
                x = x + block(x)
            x = self.shared(k.ops.tanh(self.shared(x)))
            x = self.ends["norm"](x, training=training)
            return self.ends["last"](x) * 0.5

    return Residual


def nested(k: Any) -> Any:
    """Sequential and functional models inside a call, and a weight of the model itself."""

    class Scaled(k.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = k.Sequential([k.layers.Dense(4, activation="sigmoid")])

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            return self.inner(x) * self.scale

    class Nested(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.encoder = k.Sequential([k.layers.Dense(5, activation="tanh"), k.layers.Dense(6)])
            x = k.Input((6,))
            self.graph_of_layers = k.Model(x, k.layers.Dense(6)(x) + x * 2)
            self.inner = residual(k)()
            self.scaled = Scaled()
            self.last = k.layers.Dense(2)

        def call(self, x: Any, training: Any = False) -> Any:
            x = self.graph_of_layers(self.encoder(x))
            return self.inner(x, training=training) + self.last(self.scaled(x))

    return Nested


def built(k: Any) -> Any:
    """Layers and weights that are created once the shape is known."""

    class Built(k.Model):
        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight(shape=(input_shape[-1], 4), name="kernel")
            self.last = k.layers.Dense(2)
            self.last.build((None, 4))
            super().build(input_shape)

        def call(self, x: Any) -> Any:
            return self.last(k.ops.relu(k.ops.matmul(x, self.kernel)))

    return Built


MODELS = [plain, residual, nested, built]


def named(model: Any) -> list[str]:
    return [w.path.rpartition("/")[2] for w in model.weights]


def alike(keras: Any, make: Any, x: Any, **options: Any) -> list[Any]:
    """A Keras model and a gpunn model with equal weights, both built on this data."""
    theirs, ours = make(keras)(), make(gpunn)(**options)
    for module, model in ((keras, theirs), (gpunn, ours)):
        model(x)
        model.compile(module.optimizers.SGD(0.05), "mse", metrics=["mae"])
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert named(ours) == named(theirs)
    ours.set_weights(theirs.get_weights())
    return [theirs, ours]


def same_training(models: list[Any], x: Any, y: Any) -> None:
    """Check that predictions, losses, metrics and weights agree."""
    theirs, ours = models
    assert_allclose(
        ours.predict(x, verbose=0), np.asarray(theirs.predict(x, verbose=0)), rtol=1e-4, atol=1e-5
    )
    options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    histories = [model.fit(x, y, **options).history for model in models]
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)
    found = [model.evaluate(x, y, verbose=0) for model in models]
    assert_allclose(found[1], found[0], rtol=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", MODELS)
def test_a_model_with_a_call_is_kerass(keras: Any, make: Any, backend: str) -> None:
    models = alike(keras, make, X, backend=backend)
    theirs, ours = models
    assert_allclose(np.asarray(ours(X[:3])), ours.predict(X, verbose=0)[:3], rtol=1e-5, atol=1e-6)
    same_training(models, X, Y)
    assert ours.count_params() == theirs.count_params()
    assert [type(layer).__name__ for layer in ours.layers] == [
        type(layer).__name__.replace("Functional", "Model") for layer in theirs.layers
    ]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    lines: list[str] = []
    ours.summary(line_length=200, print_fn=lines.append)
    assert all(f"{layer.name} (" in lines[0] for layer in ours.layers)


def attends(k: Any) -> Any:
    """Calls its layers with several tensors, and some that return several."""

    class Attends(k.Model):
        def __init__(self) -> None:
            super().__init__()
            self.heads = k.layers.MultiHeadAttention(2, 3, name="heads")
            self.sum = k.layers.Add(name="sum")
            self.states = k.layers.LSTM(3, return_state=True, name="states")
            self.both = k.layers.Bidirectional(k.layers.GRU(2), name="both")
            self.inner = k.Sequential([k.layers.Dense(2)], name="inner")
            self.unused = k.layers.Dense(2, name="unused")

        def call(self, x: Any) -> Any:
            y = self.sum([x, self.heads(x, x, x)])
            return self.states(y)[0], self.both(y), self.inner(y)

    return Attends()


def parts(k: Any) -> Any:
    """A graph of a layer that returns a list, and one that returns a dictionary."""

    class Halves(k.layers.Layer):
        def call(self, x: Any) -> Any:
            return [x[:, :2], x[:, 2:]]

    class Named(k.layers.Layer):
        def call(self, x: Any) -> Any:
            return {"value": x, "double": x * 2}

    x = k.Input((6,), name="x")
    named = Named(name="named")(Halves(name="halves")(x)[1])
    return k.Model(x, [named["value"], named["double"]])


def shown_shapes(model: Any) -> dict[str, list[str]]:
    """Return the shapes in each layer's row of the summary, without the size of the batch."""
    lines: list[str] = []
    model.summary(line_length=200, print_fn=lambda text, **_: lines.append(text))
    rows = "\n".join(lines).replace("(2,", "(None,").splitlines()
    return {
        layer.name: re.findall(r"\(None(?:, \d+)+\)", row)
        for layer in model.layers
        for row in rows
        if f"{layer.name} (" in row
    }


@pytest.mark.filterwarnings("ignore:.build:UserWarning")  # Keras's
@pytest.mark.parametrize(("make", "shape"), [(attends, (2, 5, 6)), (parts, (2, 6))])
def test_summaries_of_layers_of_several_tensors_are_kerass(
    keras: Any, make: Any, shape: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # where Keras cuts
    ours, theirs = make(gpunn), make(keras)
    for model in (ours, theirs):
        model(np.ones(shape, np.float32))
    found = shown_shapes(ours)
    assert found == shown_shapes(theirs)
    assert all(found[name] for name in found if name != "unused")


def test_the_output_shape_of_a_layer_of_several_tensors_is_known_once_it_is_called() -> None:
    layer = layers.MultiHeadAttention(2, 3)
    layer.build((None, 5, 6), (None, 5, 6))
    with pytest.raises(AttributeError, match="no output shape yet"):
        layer.output_shape  # noqa: B018
    layer(np.ones((2, 5, 6)), np.ones((2, 5, 6)))
    assert layer.output_shape == (None, 5, 6)


def by_dunder(k: Any) -> Any:
    """Defines `__call__` in the place of `call`."""

    class Dunder(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.first = k.layers.Dense(5, activation="tanh")
            self.last = k.layers.Dense(2)

        def __call__(self, x: Any, training: Any = False, scale: float = 1.0) -> Any:
            return self.last(self.first(x)) * scale

    return Dunder


def test_a_model_with_a_call_operator_is_kerass(keras: Any, backend: str) -> None:
    models = alike(keras, by_dunder, X, backend=backend)
    theirs, ours = models
    found, wanted = ours(X[:3], scale=3.0), theirs(keras.ops.convert_to_tensor(X[:3]), scale=3.0)
    assert_allclose(found.numpy(), keras.ops.convert_to_numpy(wanted), rtol=1e-4, atol=1e-6)
    same_training(models, X, Y)


def test_a_call_operator_that_calls_its_base_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Net\.__call__ would be ignored.*write call\(inputs\)"):

        class Net(gpunn.Model):
            def __call__(self, x: Any, **options: Any) -> Any:  # type: ignore[override]
                return super().__call__(x, **options)

    with pytest.raises(TypeError, match=r"Chain\.__call__ would be ignored"):

        class Chain(gpunn.Sequential):
            def __call__(self, x: Any, **options: Any) -> Any:  # type: ignore[override]
                return x


def list_of_two(k: Any) -> Any:
    class Two(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.left, self.right = k.layers.Dense(4), k.layers.Dense(4)
            self.last = k.layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            a, b = inputs
            return self.last(k.ops.concatenate([self.left(a), self.right(b)], axis=-1))

    return Two


def by_names(k: Any) -> Any:
    class Named(list_of_two(k)):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return super().call([inputs["x"], inputs["z"]])

    return Named


@pytest.mark.parametrize(
    ("make", "x"), [(list_of_two, [X, Z]), (by_names, {"x": X, "z": Z})], ids=["list", "names"]
)
def test_several_inputs_are_kerass(keras: Any, make: Any, x: Any, backend: str) -> None:
    same_training(alike(keras, make, x, backend=backend), x, Y)


def list_of_outputs(k: Any) -> Any:
    class Heads(k.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.body = k.layers.Dense(4, activation="tanh")
            self.one, self.other = k.layers.Dense(2), k.layers.Dense(3)

        def call(self, x: Any) -> Any:
            x = self.body(x)
            return [self.one(x), self.other(x) * 2]

    return Heads


def outputs_by_names(k: Any) -> Any:
    class Named(list_of_outputs(k)):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return dict(zip(("one", "other"), super().call(x), strict=True))

    return Named


OUTPUTS = {
    "list": (list_of_outputs, [Y, Z], ["mse", "mae"]),
    "names": (outputs_by_names, {"one": Y, "other": Z}, {"one": "mse", "other": "mae"}),
    "one loss": (list_of_outputs, [Y, Z], "mse"),
}


@pytest.mark.parametrize("case", OUTPUTS)
@pytest.mark.parametrize("seen", [False, True], ids=["compiled first", "seen first"])
def test_several_outputs_are_kerass(keras: Any, case: str, seen: bool, backend: str) -> None:
    make, y, loss = OUTPUTS[case]
    theirs, ours = make(keras)(), make(gpunn)(backend=backend)
    losses = []
    for module, model in ((keras, theirs), (gpunn, ours)):
        given = [loss] * 2 if module is keras and case == "one loss" else loss
        if seen:
            model(X)
        model.compile(module.optimizers.SGD(0.05), given)
        if not seen:
            model.evaluate(X, y, verbose=0)
        if module is gpunn:
            model.set_weights(theirs.get_weights())
            predicted = model.predict(X, verbose=0), theirs.predict(X, verbose=0)
            assert type(predicted[0]) is type(predicted[1])
            for mine, other in zip(*map(list_of, predicted), strict=True):
                assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    for model in (theirs, ours):
        options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
        losses.append(model.fit(X, y, **options).history["loss"])
    assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_the_last_compile_counts(backend: str) -> None:
    """Also if the model was built, but not trained, between two of them."""
    model = list_of_outputs(gpunn)(backend=backend)
    model.compile("adam", ["mse", "mae"], metrics=[["mae"], ["mse"]])
    model.build((None, 6))
    optimizer = gpunn.optimizers.SGD(0.05)
    model.compile(optimizer, ["mae", "mse"])
    model.fit(X, [Y, Z], epochs=1, verbose=0)
    assert model.optimizer is optimizer
    assert [loss.name for loss in model.loss] == ["mean_absolute_error", "mean_squared_error"]


def penalized(k: Any) -> Any:
    class Penalized(plain(k)):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            y = super().call(x)
            self.add_loss(0.1 * k.ops.mean(k.ops.square(y)))
            return y

    return Penalized


def test_a_loss_that_a_model_adds_is_kerass(keras: Any, backend: str) -> None:
    same_training(alike(keras, penalized, X, backend=backend), X, Y)


def list_of(outputs: Any) -> list[np.ndarray]:
    return list(map(np.asarray, outputs.values() if isinstance(outputs, dict) else outputs))


def test_a_shape_builds_it_too() -> None:
    model = plain(gpunn)(backend="numpy")
    assert not model.built and model.layers and not model.weights
    with pytest.raises(ValueError, match="not built"):
        model.count_params()
    model.build((None, 6))
    assert model.count_params() == 6 * 5 + 5 + 5 * 2 + 2
    assert model.input_shape == (None, 6) and model.output_shape == (None, 2)
    with pytest.raises(ValueError, match=r"\(24, 3\).*\(batch, 6\)"):
        model.predict(Z, verbose=0)
    two = list_of_two(gpunn)(backend="numpy")
    two.build([(None, 6), (None, 3)])
    assert two.count_params() == 6 * 4 + 4 + 3 * 4 + 4 + 8 * 2 + 2


def test_a_call_with_a_training_argument_gets_it(backend: str) -> None:
    class TrainingDependent(gpunn.Model):
        def call(self, x: Any, training: Any = None) -> Any:
            return x * (3.0 if training else 2.0)

    model = TrainingDependent(backend=backend)
    assert_array_equal(model(X), X * 2)
    assert_array_equal(model(X, training=True), X * 3)
    assert_array_equal(model.predict(X, verbose=0), X * 2)


def test_a_reassigned_attribute_takes_effect(backend: str) -> None:
    class Scaled(gpunn.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.factor, self.last = 1.0, layers.Dense(2)

        def call(self, x: Any) -> Any:  # type: ignore[override]
            return self.last(x) * self.factor

    model = Scaled(backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    model.factor = 0.0
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(np.mean(Y**2), rel=1e-5)
    before = model.get_weights()
    loss = model.fit(X, Y, epochs=1, verbose=0).history["loss"][0]
    assert loss == pytest.approx(np.mean(Y**2), rel=1e-5)
    for now, then in zip(model.get_weights(), before, strict=True):
        assert_array_equal(now, then)


def test_dropout_in_a_call_draws_in_training_only(backend: str) -> None:
    class Dropping(gpunn.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.drop = layers.Dropout(0.5, seed=3)

        def call(self, x: Any, training: Any = None) -> Any:
            return self.drop(x, training=training)

    model = Dropping(backend=backend)
    ones = np.ones((50, 40), np.float32)
    assert_array_equal(model(ones), ones)
    once, again = (np.asarray(model(ones, training=True)) for _ in range(2))
    assert set(np.unique(once)) == {0.0, 2.0} and 0.4 < (once == 0).mean() < 0.6
    assert (once != again).any()


def test_freezing_reaches_what_is_inside(backend: str) -> None:
    model = nested(gpunn)(backend=backend)
    model(X)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.encoder.trainable = False
    frozen, before = model.encoder.get_weights(), model.last.get_weights()
    model.fit(X, Y, epochs=1, verbose=0)
    for now, then in zip(model.encoder.get_weights(), frozen, strict=True):
        assert_array_equal(now, then)
    assert (model.last.get_weights()[0] != before[0]).any()
    whole = plain(gpunn)(trainable=False, backend=backend)
    whole(X)
    assert whole.weights and not whole.trainable_weights


def test_a_class_that_ends_in_a_softmax_is_not_taken_for_logits() -> None:
    class Named(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.activation = gpunn.activations.get("softmax")

        def call(self, x: Any) -> Any:  # type: ignore[override]
            return ops.softmax(x)

    model = gpunn.Sequential([gpunn.Input((6,)), Named()], backend="numpy")
    model.compile("sgd", "sparse_categorical_crossentropy")
    classes = np.arange(24) % 6
    p = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(24), classes]).mean()
    assert model.evaluate(X, classes, verbose=0) == pytest.approx(expected, rel=1e-5)


# -- nested, and in files


def test_it_stands_in_chains_and_graphs(backend: str) -> None:
    inner = plain(gpunn)()
    chain = gpunn.Sequential([gpunn.Input((6,)), inner, layers.Dense(2)], backend=backend)
    chain.compile(gpunn.optimizers.SGD(0.05), "mse")
    losses = chain.fit(X, Y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    x = gpunn.Input((6,))
    graph = gpunn.Model(x, inner(x) + inner(x * 2), backend=backend)
    assert_allclose(
        graph.predict(X, verbose=0), inner.predict(X, verbose=0) + inner.predict(X * 2, verbose=0),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    assert graph.count_params() == inner.count_params()


class Stored(gpunn.Model):
    """A model with constructor arguments that are kept as attributes."""

    def __init__(self, units: int, rate: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.rate = units, rate
        self.first = layers.Dense(units, activation="tanh")
        self.rest = gpunn.Sequential([layers.Dense(units), layers.Dense(2)])
        self.offset = self.add_weight((2,), "zeros", name="offset")

    def call(self, x: Any, training: Any = None) -> Any:
        return self.rest(self.first(x)) * self.rate + self.offset


@pytest.fixture
def registered() -> Any:
    with registry.restored():
        yield gpunn.saving.register_serializable(package="tests")(Stored)


def test_it_is_saved_and_loaded(registered: Any, tmp_path: Path) -> None:
    gpunn.use_backend("numpy")
    model = registered(7, rate=0.25, name="mine")
    model.compile(gpunn.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert type(loaded) is registered and loaded.name == "mine"
    assert (loaded.units, loaded.rate) == (7, 0.25)
    assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    histories = [m.fit(X, Y, epochs=2, verbose=0).history for m in (model, loaded)]
    assert histories[0] == histories[1]
    chain = gpunn.Sequential([gpunn.Input((6,)), model])
    chain.save(tmp_path / "chain.gpunn")
    again = gpunn.saving.load_model(tmp_path / "chain.gpunn")
    assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_it_is_loaded_as_a_custom_object(tmp_path: Path) -> None:
    with registry.restored():
        model = gpunn.saving.register_serializable()(Stored)(3)
        model.build((None, 6))
        model.save(tmp_path / "model.gpunn")
    options = {"custom_objects": {"Stored": Stored}}
    loaded = gpunn.saving.load_model(tmp_path / "model.gpunn", **options)
    assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_its_weights_are_stored_alone(tmp_path: Path) -> None:
    first, second = Stored(3, backend="numpy"), Stored(3, backend="numpy")
    first(X)
    first.save_weights(tmp_path / "weights.gpunn")
    with pytest.raises(ValueError, match="no weights yet"):
        second.load_weights(tmp_path / "weights.gpunn")
    second(X)
    second.load_weights(tmp_path / "weights.gpunn")
    assert_array_equal(second.predict(X, verbose=0), first.predict(X, verbose=0))


def test_what_cannot_be_saved_says_so(tmp_path: Path) -> None:
    class Forgetful(Stored):
        def __init__(self, *widths: int) -> None:
            super().__init__(widths[0])

    model = Forgetful(3)
    model(X)
    with pytest.raises(ValueError, match=r"widths.*get_config"):
        model.save(tmp_path / "model.gpunn")
    with pytest.raises(TypeError, match="call"):
        gpunn.Model()


@pytest.mark.parametrize("inside", ["layer", "model"])
@pytest.mark.parametrize("asks", [None, True, False])
@pytest.mark.parametrize("own_step", [False, True])
def test_layers_train_with_the_call_around_them(
    keras: Any, own_step: bool, asks: Any, inside: str
) -> None:
    """Whether a call trains is what it was asked, or else what the call around it was."""
    for k in (keras, gpunn):
        base = k.Model if inside == "model" else k.layers.Layer

        class Counting(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                super().__init__()
                self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

            def call(self, x: Any, training: Any = None) -> Any:
                if training:
                    self.count.assign(self.count + 1.0)
                return x

        class Around(base):  # type: ignore[misc, valid-type]
            def __init__(self, counting: Any = Counting) -> None:
                super().__init__()
                self.counting = counting()

            def call(self, x: Any, training: Any = None) -> Any:
                return self.counting(x)

        class Whole(k.Model):  # type: ignore[name-defined, misc]
            def __init__(self, around: Any = Around, k: Any = k) -> None:
                super().__init__()
                self.around, self.dense = around(), k.layers.Dense(2)

            def call(self, x: Any, training: Any = None) -> Any:
                options = {} if asks is None else {"training": asks}
                return self.dense(self.around(x, **options))

        class Stepping(Whole):
            def train_step(self, data: Any, k: Any = k) -> Any:
                return {"mean": k.ops.mean(self(data[0], training=True))}

        model = Stepping() if own_step else Whole()
        model.compile("sgd", "mse")
        model.fit(X, Y, batch_size=12, epochs=1, verbose=0)
        count = float(np.asarray(model.around.counting.count.numpy()))
        assert count == (0 if asks is False else 2)
        if not asks:
            model.evaluate(X, Y, verbose=0)
            assert float(np.asarray(model.around.counting.count.numpy())) == count
