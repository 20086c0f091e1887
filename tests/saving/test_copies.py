"""Test copies of models and their parts by pickle, `copy.deepcopy` and joblib.

A copy has the original's weights bit for bit, predicts the same, and trains on in the same way,
but shares nothing with the original."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import joblib
import numpy as np
import pytest
import registered
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers, ops

X = np.random.default_rng(7).normal(size=(24, 6)).astype("float32")
Y = np.arange(24) % 3
LOSS = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)


def through_joblib(thing: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES = [through_pickle, copy.deepcopy, through_joblib]
copies = pytest.mark.parametrize("copied", COPIES)


class Scaled(layers.Layer):
    """A custom layer with a weight, state, an inner layer, and further attributes."""

    def __init__(self, units: int, **common: Any) -> None:
        super().__init__(**common)
        self.units, self.notes = units, {"made": "by hand"}
        self.inner = layers.Dense(units)

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((self.units,), "ones", name="factor")
        self.seen = self.add_weight((), "zeros", name="seen", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.seen.assign(self.seen + 1.0)
        return self.inner(x) * self.factor + 0.1 * gpunn.random.normal((*ops.shape(x)[:1], 1))


class Own(gpunn.Model):
    """A model with a custom call."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.hidden = [layers.Dense(5, activation="tanh"), layers.Dropout(0.3)]
        self.last = layers.Dense(3)

    def call(self, x: Any, training: Any = None) -> Any:
        for layer in self.hidden:
            x = layer(x, training=training)
        return self.last(x)


def plain(y: Any, p: Any) -> Any:
    return ops.mean(ops.square(ops.one_hot(y, 3) - p), axis=-1)


def chain() -> Any:
    hidden = [layers.Dense(5, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3)]
    return gpunn.Sequential([*hidden, layers.GaussianNoise(0.1), layers.Dense(3)])


def graph() -> Any:
    """Two inputs of one tensor, a shared layer, an inner model, and operations."""
    inside = gpunn.Sequential([gpunn.Input((6,)), layers.Dense(6, activation="relu")])
    x = gpunn.Input((6,))
    shared = layers.Dense(6)
    y = inside(shared(shared(x)) + x) * 0.5
    return gpunn.Model(x, layers.Dense(3)(layers.concatenate([y, inside(x)])))


def with_layer() -> Any:
    return gpunn.Sequential([gpunn.Input((6,)), Scaled(4), layers.Dense(3)])


def recurrent() -> Any:
    both = layers.Bidirectional(layers.LSTM(4, dropout=0.2))
    return gpunn.Sequential([layers.Reshape((2, 3)), both, layers.Dense(3)])


NETWORKS = {
    "chain": chain, "graph": graph, "layer": with_layer, "call": Own, "recurrent": recurrent,
}  # fmt: skip


def optimizer() -> Any:
    rate = gpunn.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9)
    return gpunn.optimizers.Adam(rate, use_ema=True, gradient_accumulation_steps=2)


def bits(model: Any) -> list[bytes]:
    return [w.tobytes() for w in model.get_weights()]


def train(model: Any) -> dict[str, list[float]]:
    model.fit(X, Y, batch_size=9, epochs=2, verbose=0)
    return model.history.history


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stage", ["made", "compiled", "trained"])
def test_a_copy_goes_on_as_the_original(backend: str, name: str, stage: str) -> None:
    gpunn.use_backend(backend)
    gpunn.utils.set_random_seed(3)
    model = NETWORKS[name]()
    if stage != "made":
        model.compile(optimizer(), LOSS, metrics=["accuracy", plain])
    if stage == "trained":
        train(model)
        model(X, training=True)
    else:
        model(X)  # creates its weights
    for copied in COPIES[:2] if stage == "trained" else COPIES[:1]:
        again = copied(model)
        assert again.built and again.backend is model.backend and again.name == model.name
        assert bits(again) == bits(model)
        if stage == "made":
            assert again.compiled == model.compiled
            for each in (model, again):  # because `compile` draws a seed
                gpunn.utils.set_random_seed(5)
                each.compile("adam", LOSS)
        assert again.optimizer.iterations == model.optimizer.iterations
        assert again.metrics_names == model.metrics_names
        assert np.array_equal(again(X, training=True), model(X, training=True))
        assert again.predict(X, verbose=0).tobytes() == model.predict(X, verbose=0).tobytes()
        assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
        before = bits(model)
        found = train(again)
        assert bits(model) == before, "the copy shares its weights with the original"
        assert train(model) == found
        assert bits(again) == bits(model) != before
        model.compile(model.optimizer, LOSS)


@copies
def test_a_model_that_is_not_built_is_copied(copied: Callable[[Any], Any]) -> None:
    for model in (chain(), Own()):
        model.compile("sgd", "mse")
        again = copied(model)
        assert not again.built
        again.fit(X, X[:, :3], epochs=1, verbose=0)
        assert again.built and not model.built


@copies
def test_what_is_set_on_a_copy_before_it_is_used_counts(copied: Callable[[Any], Any]) -> None:
    model = chain()
    model.compile(gpunn.optimizers.Adam(0.1), LOSS)
    train(model)
    again = copied(model)
    again.optimizer.learning_rate = 0.0
    before = bits(again)[0]
    train(again)
    assert bits(again)[0] == before
    # An optimizer that is compiled again continues, as the original's would.
    again = copied(model)
    again.compile(again.optimizer, LOSS)
    assert again.optimizer.iterations == model.optimizer.iterations > 0
    # It belongs to the copy.
    again.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="already trains the model"):
        chain().compile(again.optimizer, LOSS)


@copies
def test_a_layer_is_copied_without_the_models_around_it(copied: Callable[[Any], Any]) -> None:
    model = graph()
    model.add_note = np.ones(1_000_000)  # a copy of the whole model would include it
    layer = model.layers[1]
    again = copied(layer)
    assert len(pickle.dumps(layer)) < 10_000
    assert bits(again) == bits(layer)
    assert np.array_equal(again(X), layer(X))
    float64 = gpunn.Sequential([gpunn.Input((6,)), layers.Dense(2)], dtype="float64")
    expected = bits(float64)
    assert copied(float64.layers[0]).kernel.numpy().tobytes() == expected[0]


@copies
def test_models_that_share_layers_share_them_in_a_copy_of_both(copied: Any) -> None:
    x = gpunn.Input((6,))
    code = layers.Dense(2)(x)
    encoder, whole = gpunn.Model(x, code), gpunn.Model(x, layers.Dense(6)(code))
    of_encoder, of_whole = copied((encoder, whole))
    assert of_encoder.layers[1] is of_whole.layers[1] is not whole.layers[1]
    of_whole.compile("sgd", "mse")
    of_whole.fit(X, X, verbose=0)
    assert np.array_equal(of_encoder.get_weights()[0], of_whole.get_weights()[0])
    assert not np.array_equal(of_encoder.get_weights()[0], encoder.get_weights()[0])


def test_a_deep_graph_is_copied() -> None:
    y = x = gpunn.Input((2,))
    for _ in range(150):
        y = layers.add([layers.Dense(2)(y), y])
    model = gpunn.Model(x, y)
    for copied in (through_pickle, copy.deepcopy):
        assert bits(copied(model)) == bits(model)


PARTS = ["activation", "constraint", "initializer", "layer", "loss", "metric", "optimizer",
         "regularizer", "schedule"]  # fmt: skip


@pytest.mark.parametrize("kind", PARTS)
def test_every_part_is_copied(kind: str) -> None:
    for name in registered.names(kind):
        for arguments in registered.examples(kind, name):
            part = registered.make(kind, name, arguments)
            for copied in (through_pickle, copy.deepcopy):
                assert copied(part).get_config() == part.get_config()


@pytest.mark.parametrize(("name", "arguments"), registered.cases("metric"), ids=registered.label)
def test_every_metric_keeps_what_it_has_counted(name: str, arguments: dict[str, Any]) -> None:
    rows = np.random.default_rng(0).random((10, 5)) + 0.1
    y_pred, y_true = rows / rows.sum(axis=1, keepdims=True), np.eye(5)[np.arange(10) % 5]
    metric = registered.make("metric", name, arguments)
    if name in registered.OF_VALUES:
        metric.update_state(y_pred)
    else:
        metric.update_state(y_true.argmax(axis=1) if metric.sparse else y_true, y_pred)
    for copied in COPIES:
        assert_array_equal(np.asarray(copied(metric).result()), np.asarray(metric.result()))


@pytest.mark.parametrize("name", registered.names("optimizer"))
def test_every_optimizer_goes_on(name: str) -> None:
    for arguments in registered.examples("optimizer", name):
        if arguments.get("lazy"):
            continue
        both = registered.make("optimizer", name, arguments), gpunn.Variable(np.ones(4))
        both[0].apply([np.arange(4.0)], [both[1]])
        again = [copied(both) for copied in COPIES]
        for optimizer, v in (*again, both):
            for slope in (1.0, -0.5):
                optimizer.apply([np.full(4, slope)], [v])
        assert all(v.numpy().tobytes() == both[1].numpy().tobytes() for _, v in again)


def test_an_optimizer_on_arrays_goes_on() -> None:
    first = gpunn.optimizers.Adam(0.1)
    w = np.ones(3)
    first.apply([np.arange(3.0)], [w])
    second, v = through_pickle(first), w.copy()
    for each, array in ((first, w), (second, v)):
        each.apply([np.ones(3)], [array])
    assert second.iterations == first.iterations == 2 and w.tobytes() == v.tobytes()


@copies
def test_callbacks_and_history_are_copied_after_a_fit(copied: Any, tmp_path: Any) -> None:
    known = gpunn.callbacks
    originals = [
        known.EarlyStopping("loss", patience=5, restore_best_weights=True),
        known.ReduceLROnPlateau("loss"),
        known.ModelCheckpoint(tmp_path / "best.gpunn", "loss"),
        known.CSVLogger(tmp_path / "log.csv"),
        known.TerminateOnNaN(),
        known.BackupAndRestore(tmp_path / "backup"),
        known.ProgbarLogger(),
    ]
    model = chain()
    model.compile("adam", LOSS)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=originals)
    again, callbacks = copied((history, originals))
    assert again.history == history.history and again.epoch == [0, 1]
    assert [type(c) for c in callbacks] == [type(c) for c in originals]
    assert bits(again.model) == bits(model) and callbacks[0].model is again.model
    assert callbacks[0].get_state().keys() == originals[0].get_state().keys()


def test_a_metric_and_a_variable_keep_what_they_hold() -> None:
    metric, variable = gpunn.metrics.Mean(), gpunn.Variable([1.0, 2.0])
    metric.update_state([1.0, 4.0])
    variable.assign_add([1.0, 1.0])
    for copied in COPIES:
        assert copied(metric).result() == 2.5
        assert copied(variable).numpy().tolist() == [2.0, 3.0]
        assert copied(ops.exp(0.0) + variable).tolist() == [3.0, 4.0]


@pytest.mark.parametrize("module", [gpunn.losses, gpunn.metrics, gpunn.activations])
def test_functions_are_pickled_by_name_and_are_the_same_ones(module: Any) -> None:
    """Like any function of a module, also those that are made of classes."""
    names = [n for n in dir(module) if n not in ("get", "serialize", "deserialize")]
    functions = {n: getattr(module, n) for n in names}
    assert len(functions) > 20
    for name, function in functions.items():
        if callable(function) and not isinstance(function, gpunn.activations.Activation):
            assert through_pickle(function) is function, name


def test_what_cannot_be_pickled_is_pickles_own_error() -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Lambda(lambda x: x + 1)])
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(model)
    assert np.array_equal(copy.deepcopy(model)(X[:, :2]), model(X[:, :2]))


def test_a_model_that_another_thread_trains_is_not_copied() -> None:
    model = chain()
    model.compile("adam", LOSS)
    copying, found = threading.Event(), list[Any]()

    class Waiting(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            found.append(through_pickle(self.model))  # its own thread may copy it
            other = threading.Thread(target=ask)
            other.start()
            other.join()

    def ask() -> None:
        try:
            pickle.dumps(model)
        except RuntimeError as error:
            found.append(str(error))
        copying.set()

    history = model.fit(X, Y, verbose=0, callbacks=[Waiting()])
    assert copying.is_set() and "trained just now" in found[1]
    assert bits(found[0]) == bits(model) and len(history.epoch) == 1


def test_other_processes_load_what_was_pickled() -> None:
    model = graph()
    model.compile("adam", LOSS)
    train(model)
    expected = model.predict(X, verbose=0).tobytes()
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(model.predict, (X,), {"verbose": 0}).tobytes() == expected


def test_without_its_backend_a_copy_goes_on_with_the_one_that_is_chosen() -> None:
    from gpunn.backends.numpy.backend import NumpyBackend

    gpunn.backends.register_backend("borrowed", NumpyBackend)
    model = gpunn.Sequential([gpunn.Input((6,)), layers.Dense(2)], backend="borrowed")
    data = pickle.dumps(model)
    gpunn.use_backend("numpy")
    assert pickle.loads(data).backend is model.backend
    with (
        gpunn.backends.as_in_a_new_process(),
        pytest.warns(UserWarning, match="'borrowed' now uses"),
    ):
        del gpunn.backends._factories["borrowed"]
        gpunn.use_backend("numpy")
        assert pickle.loads(data).predict(X, verbose=0).shape == (24, 2)


def test_clones_have_the_layers_and_other_weights() -> None:
    for model in (chain(), graph(), with_layer(), Own()):
        model(X)
        clone = gpunn.models.clone_model(model)
        clone(X)
        assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
        assert bits(clone) != bits(model) and not clone.compiled
        assert not set(map(id, clone.layers)) & set(map(id, model.layers))
    with pytest.raises(TypeError, match="takes a model"):
        gpunn.models.clone_model(layers.Dense(2))


def test_other_libraries_take_numbers_over(backend: str) -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(2)], backend=backend)
    for source in (model.weights[0], gpunn.Variable([1.0, 2.0]), ops.ones((2, 3))):
        taken = np.from_dlpack(source)
        assert taken.tolist() == source.numpy().tolist()
        taken[...] = 7
        assert not (source.numpy() == 7).any()
    with pytest.raises(ValueError, match="not built"):
        np.from_dlpack(layers.Dense(2).add_weight((2,)))


@pytest.mark.parametrize("seed", [3, 4])
def test_a_state_is_taken_over_by_a_model_that_was_trained_with_another_seed(seed: int) -> None:
    """From then on, row order and dropout masks are those of the first model."""

    def trained(seed: int) -> Any:
        gpunn.utils.set_random_seed(seed)
        model = gpunn.Sequential(
            [
                layers.Input((6,)), layers.Dense(9, "relu", name="hidden"), layers.Dropout(0.4),
                layers.Dense(3, name="logits"),
            ]
        )  # fmt: skip
        model.compile("adam", LOSS)
        model.fit(X, Y, batch_size=7, epochs=2, verbose=0)
        return model

    first, other = trained(3), trained(seed)
    other.set_weights(first.get_weights())
    other.set_training_state(*copy.deepcopy(first.training_state()))
    histories = [
        model.fit(X, Y, batch_size=7, epochs=2, verbose=0).history for model in (first, other)
    ]
    assert histories[0] == histories[1]
    for found, expected in zip(other.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_shallow_copy_is_a_model_of_the_same_layers() -> None:
    """Each trains the layers that both contain, with an optimizer state of its own."""
    model = gpunn.Sequential([layers.Input((6,)), layers.Dense(3)])
    other = copy.copy(model)
    for each in (model, other):
        each.compile("adam", LOSS)
        each.fit(X, Y, verbose=0)
    assert other.layers[0] is model.layers[0]
    before = model.get_weights()[0]
    other.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before).all()
    np.testing.assert_array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))
    other.name = "other"
    assert model.name != "other"
    with pytest.raises(ValueError, match="The model 'other' takes samples"):
        other.build((None, 7))
