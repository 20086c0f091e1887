"""What `save` accepts, `load_model` gives back, and so does each other way to copy a model.

Every registered layer, adapted or not, alone and in wrappers; and layers that several others share.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

pytestmark = [
    # What Keras lacks is written in gpunn's format, with a warning; NumPy 2's are Keras's.
    pytest.mark.filterwarnings("ignore:.*is in gpunn's own format", "ignore::DeprecationWarning"),
]
X = np.random.default_rng(0).normal(size=(3, 12))


def by_file(ending: str) -> Callable[[Any, Path], Any]:
    def road(model: Any, folder: Path) -> Any:
        model.save(folder / f"model{ending}")
        return gpunn.saving.load_model(folder / f"model{ending}")

    return road


def by_weights(model: Any, folder: Path) -> Any:
    model.save_weights(folder / "model.weights.h5")
    again = gpunn.models.clone_model(model)
    again.load_weights(folder / "model.weights.h5")
    return again


def with_weights(again: Any, model: Any) -> Any:
    again.set_weights(model.get_weights())
    return again


ROADS: dict[str, Callable[[Any, Path], Any]] = {
    "gpunn": by_file(".gpunn"),
    "keras": by_file(".keras"),
    "weights.h5": by_weights,
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "clone": lambda model, _: with_weights(gpunn.models.clone_model(model), model),
    "json": lambda model, _: with_weights(
        gpunn.models.model_from_json(model.to_json()), model
    ),
}  # fmt: skip


def check(model: Any, x: Any, folder: Path) -> None:
    expected = model.predict(x, verbose=0)
    for name, road in ROADS.items():
        again = road(model, folder)
        assert again.count_params() == model.count_params(), name
        assert [w.shape for w in again.get_weights()] == [w.shape for w in model.get_weights()]
        for one, two in zip(again.get_weights(), model.get_weights(), strict=True):
            assert one.dtype == two.dtype, name
            assert one.tobytes() == two.tobytes(), name
        found = again.predict(x, verbose=0)
        assert np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=True), name


# These take strings, whole numbers or dates: test_lookups_elsewhere.py.
OF_OTHER_INPUTS = {
    "CategoryEncoding", "DatetimeEncoder", "Hashing", "HashingVectorizer", "IntegerLookup",
    "InputLayer", "StringLookup", "TextVectorization",
}  # fmt: skip


def bare(name: str, arguments: dict[str, Any]) -> Any:
    layer = registered.make("layer", name, arguments)
    return [layers.Input((12,)), *registered.in_a_chain(layer, 12)]


@pytest.mark.in_turn(6)
@pytest.mark.parametrize(
    ("name", "arguments"), registered.cases("layer", *OF_OTHER_INPUTS), ids=registered.label
)
def test_every_layer(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    model = gpunn.Sequential(bare(name, arguments))
    check(model, X, tmp_path)
    twice = gpunn.Sequential([layers.Input((12,)), model, layers.Flatten(), layers.Dense(2)])
    check(twice, X, tmp_path)


# -- layers that several others share


def two_wrappers(x: Any) -> Any:
    shared = layers.Dense(3)
    return layers.TimeDistributed(shared)(layers.TimeDistributed(shared)(x))


def steps_and_their_largest(x: Any) -> Any:
    shared = layers.Dense(3)
    return shared(layers.GlobalMaxPooling1D()(x)) + shared(x)[:, 0]


def two_recurrent_layers(x: Any) -> Any:
    cell = layers.GRUCell(3)
    y = layers.RNN(cell, return_sequences=True)(x)
    return layers.RNN(cell, return_sequences=True, go_backwards=True)(y)


def stacked_cells(x: Any) -> Any:
    cell = layers.LSTMCell(3)
    return layers.RNN([cell, layers.GRUCell(3), cell])(x)


def inner_models(x: Any) -> Any:
    shared = layers.Dense(3)
    one = gpunn.Sequential([gpunn.Input((4, 3)), shared])
    two = gpunn.Sequential([gpunn.Input((4, 3)), shared, layers.ReLU()])
    return two(one(x))


def inner_model_in_two(x: Any) -> Any:
    a = gpunn.Input((4, 3))
    shared = gpunn.Model(a, layers.Dense(3, "tanh")(a))
    b = gpunn.Input((4, 3))
    one, two = (gpunn.Model(b, k * shared(b)) for k in (1.0, 2.0))
    return one(x) + two(x)


def own_layer_and_the_model(x: Any) -> Any:
    shared = layers.Dense(3)
    return shared(Around(shared)(x))


@gpunn.saving.register_serializable(package="saved")
class Around(layers.Layer):
    """A layer of a user's that takes another, as Keras's guide writes it."""

    def __init__(self, inner: Any, **common: Any) -> None:
        super().__init__(**common)
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x) * 2.0

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return {**config, "inner": gpunn.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config["inner"] = gpunn.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


@gpunn.saving.register_serializable(package="saved")
class Blocks(layers.Layer):
    """A layer that takes others in a list and by name, and leaves its configuration to gpunn."""

    def __init__(self, blocks: Any, ends: Any, scale: Any = None, **common: Any) -> None:
        super().__init__(**common)
        self.blocks, self.ends, self.scale = blocks, ends, scale

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.ends["first"](x) + self.scale(self.ends["second"][0](x))


def own_layer_of_layers(x: Any) -> Any:
    shared = layers.Dense(3)
    inner = gpunn.Sequential([layers.Dense(3, "tanh"), shared])
    return Blocks([shared, inner], {"first": shared, "second": [layers.Dense(3)]}, layers.ReLU())(x)


SHARING = [
    two_wrappers, steps_and_their_largest, two_recurrent_layers, stacked_cells, inner_models,
    inner_model_in_two, own_layer_and_the_model, own_layer_of_layers,
]  # fmt: skip


def sharing(build: Any) -> Any:
    x = gpunn.Input((4, 3))
    model = gpunn.Model(x, build(x))
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("build", SHARING)
def test_shared_layers_stay_shared(build: Any, tmp_path: Path) -> None:
    check(sharing(build), X.reshape(3, 4, 3), tmp_path)


@gpunn.saving.register_serializable(package="saved")
class Judged(gpunn.Model):
    """A model that takes a model, a loss and a metric, which have names in common."""

    def __init__(self, inner: Any, loss_of: Any, metric: Any, **common: Any) -> None:
        super().__init__(**common)
        self.inner, self.loss_of, self.metric = inner, loss_of, metric

    def call(self, x: Any, training: Any = None) -> Any:
        return self.inner(x) * self.loss_of.scale

    @property
    def kinds(self) -> list[type]:
        return [type(part) for part in (self.inner, self.loss_of, self.metric)]


@gpunn.saving.register_serializable(package="saved")
class Off(gpunn.losses.Loss):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * gpunn.ops.mean(abs(y_true - y_pred), axis=-1)


def test_models_that_take_parts(tmp_path: Path) -> None:
    inner = gpunn.Sequential([layers.Dense(3, "tanh"), layers.Dense(2)])
    model = Judged(inner, Off(2.0), gpunn.metrics.MeanSquaredError())
    model.predict(X, verbose=0)
    check(model, X, tmp_path)
    for name in ("gpunn", "keras", "json"):
        assert ROADS[name](model, tmp_path).kinds == model.kinds


# Keras has no such layer of a user's here, and mixes up the applications of an inner model by two.
@pytest.mark.parametrize("build", SHARING[:-3])
def test_keras_shares_them_too(build: Any, tmp_path: Path, keras: Any) -> None:
    """Keras reads what is written here, and what Keras writes, which it does not read itself."""
    model, x = sharing(build), X.reshape(3, 4, 3)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "ours.keras")
    theirs = keras.saving.load_model(tmp_path / "ours.keras")
    assert theirs.count_params() == model.count_params()
    assert_allclose(theirs.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    theirs.save(tmp_path / "theirs.keras")
    again = gpunn.saving.load_model(tmp_path / "theirs.keras")
    assert again.count_params() == model.count_params()
    assert_allclose(again.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_two_parts_of_one_number_are_refused() -> None:
    model = sharing(two_wrappers)
    config = model.get_config()
    inner = config["layers"][2]["layer"]["config"]["layer"]
    inner["config"]["name"] = "another"
    with pytest.raises(ValueError, match="Two different parts have the shared_object_id 1"):
        gpunn.Model.from_config(config)
    inner["shared_object_id"] = "1"
    with pytest.raises(ValueError, match="must be an integer"):
        gpunn.Model.from_config(config)


# -- parts of layers, as Keras's guides describe them

PARTS: list[Callable[[Any], Any]] = [
    lambda k: k.layers.Dense(3, "relu", kernel_regularizer="l2"),
    lambda k: k.layers.Bidirectional(k.layers.LSTM(4)),
    lambda k: k.Sequential([k.Input((3,)), k.layers.Dense(2)]),
    lambda k: k.regularizers.L1L2(0.1, 0.2),
    lambda k: k.initializers.TruncatedNormal(0.0, 0.1, seed=3),
    lambda k: k.constraints.MaxNorm(2.0),
    lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.25),
    lambda k: k.metrics.TopKCategoricalAccuracy(3),
    lambda k: k.optimizers.Adam(0.25),
    lambda k: [1, 2.5, None, "relu", {"a": [k.layers.ReLU()]}],
]


ARGUMENTS = {
    "class_name", "config", "units", "layer", "layers", "a", "l1", "l2", "stddev", "max_value", "k",
    "label_smoothing",
}  # fmt: skip


def described(x: Any) -> Any:
    """The classes and some arguments of a part, without what one of the two describes besides."""
    if isinstance(x, dict):
        return {key: described(x[key]) for key in x if key in ARGUMENTS}
    return [described(one) for one in x] if isinstance(x, list) else x


@pytest.mark.parametrize("make", PARTS)
def test_parts_are_described_as_keras_does(make: Any, keras: Any) -> None:
    ours, theirs = make(gpunn), make(keras)
    entry = gpunn.saving.serialize_keras_object(ours)
    expected = keras.saving.serialize_keras_object(theirs)
    assert described(entry) == described(expected)
    for one in (entry, expected):
        again = gpunn.saving.deserialize_keras_object(one)
        assert type(again) is type(ours)
        assert gpunn.saving.serialize_keras_object(again) == entry or one is expected
    keras.saving.deserialize_keras_object(entry)
