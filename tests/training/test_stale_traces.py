"""Test changes to values that custom code reads: every later call computes with the new value, like
eager steps, which run that code each time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from changing.parts import PARTS, Distance, Network, Scaled, Total, compile_model, network
from changing.roads import MOMENTS, ROADS, X, Y, everything, run
from changing.values import CHANGES, KINDS, Kind, Plain
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import layers, losses, ops

pytestmark = pytest.mark.traced
RATE = KINDS["list"]


@pytest.fixture(params=["numpy", "compiled"])
def backend(request: pytest.FixtureRequest) -> str:
    """Tracing does not depend on the backend, so a GPU is tested only once."""
    return request.param


# -- every kind of value, in every part, at every moment

NO_ATTRIBUTE_OF_A_CLASS = (  # in a class, functions become methods
    "function", "default", "closure", "attribute of a function", "new attribute of a function",
    "derivative", "operation", "weak reference",
)  # fmt: skip


def fits(part: str, kind: str) -> bool:
    if part == "class of a layer":
        return kind not in NO_ATTRIBUTE_OF_A_CLASS
    return kind != "variable" or not part.startswith("layer")  # in a layer it becomes a weight


def table() -> list[tuple[str, str, str, str, str]]:
    """Each part with each moment, cycling through the changes and the backends."""
    pairs = [(part, moment) for part in PARTS for moment in MOMENTS]
    found = []
    for number, (part, moment) in enumerate(pairs):
        fitting = [change for change in CHANGES if fits(part, change[0])]
        change = fitting[37 * number % len(fitting)]
        found.append((part, moment, *change, ("numpy", "compiled")[number // 2 % 2]))
    return found


# Every run tests each part and each moment; half of their pairs run in `make test-more`.
FEW = {(part, MOMENTS[7 * k % len(MOMENTS)]) for k, part in enumerate(PARTS)}
CASES = [
    pytest.param(*case, marks=[] if case[:2] in FEW else [pytest.mark.more(3)])
    for number, case in enumerate(table())
    if case[:2] in FEW or number % 2
]


def assert_same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for some, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(some, others, rtol=2e-4, atol=1e-6)


def subject(part: str, kind: Kind, backend: Any, eager: bool) -> Any:
    made = PARTS[part](kind, backend)
    made.model.run_eagerly = eager
    return made


@pytest.mark.parametrize(("part", "moment", "name", "how", "backend"), CASES)
def test_what_has_changed_is_followed(
    part: str, moment: str, name: str, how: str, backend: str
) -> None:
    kind, found = KINDS[name], []
    for eager in (True, False):
        made = subject(part, kind, "numpy" if eager else backend, eager)
        found.append(run(made.model, moment, lambda made=made: made.change(kind, how)))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("part", ["layer", "loss", "metric", "regularizer global"])
def test_it_is_followed_on_a_gpu(part: str) -> None:
    found = []
    for eager in (True, False):
        made = subject(part, RATE, "numpy" if eager else "emulated", eager)
        found.append(
            run(made.model, "on_train_batch_begin", lambda made=made: made.change(RATE, "mutated"))
        )
    assert_same(found[1], found[0])


class Seldom(gpunn.callbacks.Callback):
    """It is called only for the second batch, or when progress is shown."""

    def __init__(self, change: Callable[[], None]) -> None:
        self.change = change

    def next_train_batch(self, batch: int) -> int | None:
        return 1 if batch <= 1 else None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.change()


class InProgress(gpunn.callbacks.Callback):
    def __init__(self, change: Callable[[], None]) -> None:
        self.change, self.called = change, False

    def on_train_progress(self, done: int, total: int | None) -> None:
        if not self.called:
            self.called = True
            self.change()


@pytest.mark.parametrize("callback", [Seldom, InProgress])
def test_steps_behind_a_callback_that_is_called_seldom(callback: Any, backend: str) -> None:
    """Many steps run in one call, with the new value."""
    found = []
    for eager in (True, False):
        made = subject("layer", RATE, "numpy" if eager else backend, eager)
        everything(made.model)
        watch = callback(lambda made=made: made.change(RATE, "mutated"))
        losses_ = ROADS["fit"](made.model, batch_size=2, callbacks=[watch], epochs=2)
        found.append([np.array(losses_), *made.model.get_weights()])
    assert_same(found[1], found[0])


def test_arrays_that_a_layer_of_a_graph_is_called_with(backend: str) -> None:
    class Times(layers.Layer):
        def call(self, x: Any, table: Any) -> Any:
            return x * table

    table = np.ones(4, np.float32)
    x = gpunn.Input((4,))
    model = gpunn.Model(x, Times()(x, table), backend=backend)
    for factor in (1.0, 3.0, 0.5):
        table[1] = factor
        np.testing.assert_allclose(model.predict(X, verbose=0), X * table, rtol=1e-6)


# -- the framework's own parts

BUILT_IN: dict[str, tuple[Callable[[], Any], str, str, Any]] = {
    "dropout": (lambda: layers.Dropout(0.2, seed=1), "middle", "rate", 0.6),
    "noise": (lambda: layers.GaussianNoise(0.1, seed=1), "middle", "stddev", 0.9),
    "batch normalization": (layers.BatchNormalization, "middle", "momentum", 0.5),
    "its epsilon": (layers.BatchNormalization, "middle", "epsilon", 0.5),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.2), "middle", "negative_slope", 0.7),
    "Rescaling": (lambda: layers.Rescaling(1.0), "middle", "scale", 0.5),
    "activation": (gpunn.activations.LeakyRelu, "activation", "negative_slope", 0.9),
    "L2": (gpunn.regularizers.L2, "kernel_regularizer", "l2", 0.5),
    "activity": (gpunn.regularizers.L1, "activity_regularizer", "l1", 0.5),
    "constraint": (lambda: gpunn.constraints.MaxNorm(0.9), "kernel_constraint", "max_value", 0.2),
    "Huber": (losses.Huber, "loss", "delta", 0.1),
    "momentum": (lambda: gpunn.optimizers.SGD(0.02, momentum=0.9), "optimizer", "momentum", 0.5),
    "beta_1": (lambda: gpunn.optimizers.Adam(0.02), "optimizer", "beta_1", 0.2),
    "clipnorm": (lambda: gpunn.optimizers.SGD(0.02), "optimizer", "clipnorm", 0.01),
    "schedule": (
        lambda: gpunn.optimizers.schedules.ExponentialDecay(0.02, 2, 0.5), "optimizer of",
        "decay_rate", 0.9,
    ),
    "values of a schedule": (
        lambda: gpunn.optimizers.schedules.PiecewiseConstantDecay([2], [0.02, 0.01]),
        "optimizer of", "values", [0.03, 0.02],
    ),
    "metric": (lambda: gpunn.metrics.BinaryAccuracy(threshold=0.0), "metric", "threshold", 0.4),
}  # fmt: skip
"""What makes a part, where it stands, and an attribute with another value."""


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        (name, ("before fit", "before predict", "on_train_batch_begin")[k % 3])
        for k, name in enumerate(BUILT_IN)
    ],
)
def test_attributes_of_built_in_parts_are_followed(name: str, moment: str) -> None:
    make, place, attribute, value = BUILT_IN[name]
    found = []
    for eager in (True, False):
        part = make()
        whole = gpunn.optimizers.SGD(part) if place == "optimizer of" else part
        model = network("numpy" if eager else "auto", **{place.removesuffix(" of"): whole})
        model.run_eagerly = eager
        found.append(run(model, moment, lambda part=part: setattr(part, attribute, value)))
    assert_same(found[1], found[0])


PENALTY, LIMIT = gpunn.regularizers.L2(0.5), gpunn.constraints.MaxNorm(0.2)
OF_PARAMETERS: dict[str, Callable[[Any], None]] = {
    "regularizer": lambda p: setattr(p, "regularizer", PENALTY),
    "constraint": lambda p: setattr(p, "constraint", LIMIT),
    "decay": lambda p: setattr(p, "decay", False),
    "trainable": lambda p: setattr(p.layer, "trainable", False),
    "multiplier": lambda p: setattr(p.layer, "learning_rate_multiplier", 0.1),
}


@pytest.mark.parametrize("name", OF_PARAMETERS)
def test_how_a_parameter_is_trained_is_followed(name: str, backend: str) -> None:
    """If all parts are built-in, most calls of `fit` detect quickly that none changed."""

    def made() -> Any:
        inside = [layers.Input((X.shape[1],)), layers.Dense(5, "tanh"), layers.Dense(Y.shape[1])]
        model = gpunn.Sequential(inside, backend=backend)
        model.compile(gpunn.optimizers.SGD(0.1, weight_decay=0.2), "mse")
        return model

    model, fresh = made(), made()
    for _ in range(3):
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    fresh.set_weights(model.get_weights())
    for each in (model, fresh):
        OF_PARAMETERS[name](each.layers[0].kernel)
        each.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    assert_same(model.get_weights(), fresh.get_weights())


def test_the_loss_that_takes_over_an_activation_is_followed(backend: str) -> None:
    def made(smoothing: float) -> Any:
        gpunn.utils.set_random_seed(1)
        model = gpunn.Sequential(
            [gpunn.Input((4,)), layers.Dense(2, activation="softmax")], backend=backend
        )
        model.compile("sgd", losses.CategoricalCrossentropy(label_smoothing=smoothing))
        return model

    model, wanted = made(0.0), made(0.3)
    truth = np.eye(2)[np.arange(12) % 2]
    model.evaluate(X, truth, verbose=0)
    model.loss.label_smoothing = 0.3
    for road in ("evaluate", "fit", "evaluate"):
        results = [getattr(m, road)(X, truth, verbose=0) for m in (model, wanted)]
        if road == "evaluate":
            np.testing.assert_allclose(*results, rtol=1e-5)
    assert_same(model.get_weights(), wanted.get_weights())


def test_the_loss_follows_a_replaced_activation(backend: str) -> None:
    """The loss takes over a softmax, but not the sigmoid that replaces it."""
    gpunn.utils.set_random_seed(1)
    dense = layers.Dense(2, activation="softmax")
    model = gpunn.Sequential([gpunn.Input((4,)), dense], backend=backend)
    model.compile("sgd", "categorical_crossentropy")
    truth = np.eye(2)[np.arange(12) % 2]
    model.fit(X, truth, verbose=0)
    dense.activation = gpunn.activations.get("sigmoid")
    p = 1 / (1 + np.exp(-(X @ model.get_weights()[0] + model.get_weights()[1])))
    np.testing.assert_allclose(model.predict(X, verbose=0), p, rtol=1e-5)
    log = np.log(p / p.sum(1, keepdims=True))
    np.testing.assert_allclose(
        model.evaluate(X, truth, verbose=0), -(truth * log).sum(1).mean(), rtol=1e-4
    )


# -- layers on their own, and replaced layers


class Repeated(layers.Layer):
    """Repeats its input several times side by side."""

    def __init__(self, times: Any) -> None:
        super().__init__()
        self.times = times

    def call(self, x: Any) -> Any:
        return ops.concatenate([x * factor for factor in self.times], axis=1)


def test_a_layer_by_itself_follows(backend: str) -> None:
    gpunn.use_backend(backend)
    times = [1.0]
    layer = Repeated(times)
    for now in ([2.0], [2.0, 3.0], [3.0], [0.5, 0.5, 4.0]):
        times[:] = now
        np.testing.assert_allclose(layer(X), np.concatenate([X * f for f in now], 1), rtol=1e-6)
        assert layer.compute_output_shape((None, 4)) == (None, 4 * len(now))


def test_an_output_of_another_shape_is_refused(backend: str) -> None:
    layer = Repeated([1.0])
    model = gpunn.Sequential([gpunn.Input((4,)), layer, layers.Dense(2)], backend=backend)
    model.compile("sgd", "mse")
    everything(model)
    layer.times = [1.0, 2.0]
    for road in ROADS.values():
        with pytest.raises(ValueError, match=r"gives the shapes \(\d+, 8\) of float32 for"):
            road(model)
    layer.times = [3.0]
    everything(model)


class Turned(layers.Layer):
    axes = (0, 1, 2)

    def call(self, x: Any) -> Any:
        return ops.transpose(x, self.axes)


def test_an_output_of_another_shape_and_as_many_numbers_is_refused(backend: str) -> None:
    layer = Turned()
    model = gpunn.Sequential([gpunn.Input((2, 3)), layer, layers.Flatten()], backend=backend)
    x = np.zeros((4, 2, 3), np.float32)
    model.predict(x, verbose=0)
    layer.axes = (0, 2, 1)
    with pytest.raises(ValueError, match=r"gives the shapes \(4, 3, 2\)"):
        model.predict(x, verbose=0)


class Blocks(gpunn.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first, self.last, self.blocks = layers.Dense(3), layers.Dense(2), [layers.Dense(3)]
        self.further: Any = None

    def call(self, x: Any, training: Any = None) -> Any:
        for block in (self.first, *self.blocks, self.further, self.last):
            x = x if block is None else block(x)
        return x


def built_elsewhere() -> Any:
    layer = layers.Dense(3)
    layer(X)
    return layer


OTHERS: dict[str, Callable[[Any], Any]] = {
    "replaced": lambda model: setattr(model, "first", layers.Dense(3)),
    "by one that is built": lambda model: setattr(model, "first", built_elsewhere()),
    "taken away": lambda model: model.blocks.clear(),
    "appended": lambda model: model.blocks.append(layers.Dense(3)),
    "new": lambda model: setattr(model, "further", layers.Dense(3)),
}


@pytest.mark.parametrize("how", OTHERS)
def test_another_layer_with_weights_is_refused(how: str, backend: str) -> None:
    model = Blocks(backend=backend)
    compile_model(model)
    everything(model)
    OTHERS[how](model)
    for road in (*ROADS.values(), *ROADS.values()):
        with pytest.raises(ValueError, match=r"were created after|layers have changed"):
            road(model)


def test_another_layer_without_weights_is_followed(backend: str) -> None:
    model = Blocks(backend=backend)
    compile_model(model)
    before = model.predict(X, verbose=0)
    model.further = layers.Rescaling(2.0)
    inner = gpunn.Model.predict(model, X, verbose=0) - model.last.bias.numpy()
    np.testing.assert_allclose(inner, 2 * (before - model.last.bias.numpy()), rtol=1e-4)
    model.blocks.append(model.blocks[0])
    everything(model)


def test_a_penalty_on_outputs_that_comes_later_is_refused() -> None:
    layer = Scaled().holds(RATE)
    model = network("numpy", layer)
    everything(model)
    layer.activity_regularizer = gpunn.regularizers.L2(0.1)
    with pytest.raises(ValueError, match="was given an activity_regularizer after the model"):
        model.fit(X, Y, verbose=0)


def test_a_layer_that_only_training_applies_is_refused() -> None:
    class InTraining(Blocks):
        def call(self, x: Any, training: Any = None) -> Any:
            return self.last(self.further(x)) if training else self.last(x)

    model = InTraining()
    model.further = layers.Dense(4)
    compile_model(model)
    with pytest.raises(ValueError, match="weights that were created after the model was built"):
        model.fit(X, Y, verbose=0)


# -- state that calls change themselves


def fresh(rate: float, model: Any) -> Any:
    """A new model whose layer has this number, with the weights of another model."""
    made = network("numpy", Scaled().holds(Kind(lambda: [rate], list, RATE.read)))
    made.set_weights(model.get_weights())
    return made


class Counting(Scaled):
    """Counts its calls, which are traced."""

    traces: ClassVar[int] = 0
    n = 0

    def call(self, x: Any) -> Any:
        self.n += 1
        type(self).traces += 1
        return super().call(x) * (1 + 0 * self.n)


def test_a_call_that_changes_its_attributes_is_not_traced_for_ever(backend: str) -> None:
    layer = Counting().holds(RATE)
    with pytest.warns(UserWarning, match=r"^counting\S*\.call changes 'n'. It is called only once"):
        models = [network(backend, layer), network(backend, layer)]
    counts = []
    for _ in range(5):
        for model in models:
            model.predict(X, verbose=0)
            model.evaluate(X, Y, batch_size=8, verbose=0)
            model.fit(X, Y, batch_size=8, epochs=3, verbose=0)
        counts.append(Counting.traces)
    assert counts[1] == counts[-1]
    layer.value = [3.0]  # changes from outside are followed
    for model in models:
        wanted = fresh(3.0, model)
        assert_same([model.predict(X, verbose=0)], [wanted.predict(X, verbose=0)])
        np.testing.assert_allclose(
            model.evaluate(X, Y, verbose=0), wanted.evaluate(X, Y, verbose=0), rtol=1e-5
        )


class Busy(layers.Layer):
    """Changes itself, an inner layer and an object, and reads these and others."""

    n = 0

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.settings, self.table = Scaled().holds(RATE), Plain(1.0), [1.0]
        self.inner.seen = 0
        self.log = Plain(0)

    def call(self, x: Any) -> Any:
        self.n += 1
        self.inner.seen += 1
        self.log.rate += 1
        settings = self.settings
        return self.inner(x) * settings.rate * self.table[0]


BUSY: dict[str, Callable[[Any], Any]] = {
    "an object": lambda layer: setattr(layer.settings, "rate", 2.0),
    "another object": lambda layer: setattr(layer, "settings", Plain(3.0)),
    "a list": lambda layer: layer.table.__setitem__(0, 4.0),
    "a list of a layer inside": lambda layer: layer.inner.value.__setitem__(0, 5.0),
    "a class": lambda layer: setattr(type(layer), "table", property(lambda self: [6.0])),
}


@pytest.mark.filterwarnings("ignore:.* changes")
@pytest.mark.parametrize("how", BUSY)
def test_what_else_a_part_holds_that_changes_itself(how: str) -> None:
    layer = type("BusyToo", (Busy,), {})()
    models = [network("auto", layer), network("auto", layer)]

    def runs() -> int:
        layer.n = 0
        for _ in range(4):
            for model in models:
                model.predict(X, verbose=0)
                model.evaluate(X, Y, batch_size=12, verbose=0)
        return layer.n

    runs()
    found = [model.predict(X, verbose=0) for model in models]
    BUSY[how](layer)
    again = [model.predict(X, verbose=0) for model in models]
    assert not np.allclose(found[0], again[0])
    for model, y in zip(models, again, strict=True):
        model.run_eagerly = True
        np.testing.assert_allclose(model.predict(X, verbose=0), y, rtol=1e-5)
        model.run_eagerly = False
    runs()
    before = layer.n
    for model in models:  # nothing is traced again
        model.predict(X, verbose=0)
        model.evaluate(X, Y, batch_size=12, verbose=0)
    assert layer.n == before


def test_models_losses_and_functions_warn_too() -> None:
    counts = {"n": 0}

    def counted(*tensors: Any) -> Any:
        counts["n"] += 1
        return ops.mean(ops.square(tensors[0] - tensors[-1]), axis=-1)

    class Counted(Network):
        n = 0

        def call(self, x: Any, training: Any = None) -> Any:
            self.n += 1
            return super().call(x)

    model = Counted(None).holds(RATE)
    compile_model(model)
    with pytest.warns(UserWarning, match=r"^counted\S*\.call changes 'n'"):
        model.predict(X, verbose=0)
    model = network("numpy", loss=counted)
    with pytest.warns(UserWarning, match=r"^The loss 'counted' changes what it uses"):
        for _ in range(3):
            model.fit(X, Y, verbose=0)


def test_a_number_that_a_call_changes_may_be_set() -> None:
    class Growing(layers.Layer):
        n = 0.0

        def call(self, x: Any) -> Any:
            self.n += 1.0
            return x * 0 + self.n

    layer = Growing()
    with pytest.warns(UserWarning, match="changes 'n'"):
        model = gpunn.Sequential([gpunn.Input((4,)), layer])
    model.predict(X, verbose=0)
    for n in (100.0, 200.0):
        layer.n = n
        assert model.predict(X, verbose=0)[0, 0] == n + 1


def test_lists_that_calls_only_append_to_are_logs() -> None:
    shapes: list[Any] = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        shapes.append(y_pred.shape)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    layer = layers.Lambda(lambda x: (shapes.append(x.shape), x * 2)[1])
    model = network("numpy", layer, loss=loss)
    for _ in range(4):
        shapes.clear()
        model.fit(X, Y, epochs=2, verbose=0)
        model.predict(X, verbose=0)
    assert not shapes


def test_what_a_call_has_kept_may_be_changed() -> None:
    """A value that the first call computes, as many layers cache one."""

    class Keeping(Scaled):
        kept: Any = None

        def call(self, x: Any) -> Any:
            if self.kept is None:
                self.kept = np.full(3, self.factor())
            return x * self.kept

    layer = Keeping().holds(RATE)
    model = network("numpy", layer)
    first = model.predict(X, verbose=0)
    layer.kept[:] = 3.0
    assert not np.allclose(model.predict(X, verbose=0), first)
    layer.kept, layer.value = None, [0.5]
    assert_same([model.predict(X, verbose=0)], [first])


# -- several models, threads, copies


def test_what_models_share_is_followed_by_each() -> None:
    for eager in (True, False):
        layer, loss, metric = (part().holds(RATE) for part in (Scaled, Distance, Total))
        models = [network("numpy", layer, loss=loss, metric=metric) for _ in range(2)]
        found: list[Any] = []
        for model in models:
            model.run_eagerly = eager
            found += [ROADS[road](model) for road in ("predict", "evaluate", "fit")]
        for k, part in enumerate((layer, loss, metric)):
            part.value[0] = 1.75
            for model in models:
                found.append(ROADS[("predict", "evaluate", "fit")[k]](model))
        for model in models:
            found += everything(model)
        found = [np.asarray(entry, np.float64) for entry in found]
        if eager:
            wanted = found
    assert_same(found, wanted)


def test_threads_follow_the_parts_of_their_own_models() -> None:
    def results(number: int) -> list[Any]:
        layer = Scaled().holds(RATE)
        model = network("auto", layer)
        model.set_weights(weights)
        found = []
        for rate in np.linspace(0.5, 1.5, 12):
            layer.value[0] = float(rate)
            found += [model.predict(X, verbose=0), model.train_on_batch(X, Y)]
        return [np.asarray(entry) for entry in found]

    weights = network("numpy", Scaled().holds(RATE)).get_weights()
    wanted = results(0)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(results, range(3)):
            assert_same(found, wanted)


def test_threads_that_predict_with_one_model_see_each_change() -> None:
    """The number changes between two rounds: every prediction of a round uses the new one."""
    layer = Scaled().holds(RATE)
    model = network("auto", layer)
    wanted, rounds = [], (0.5, 1.5, 0.25)
    for rate in rounds:
        wanted.append(fresh(rate, model).predict(X, verbose=0))
    for rate, expected in zip(rounds, wanted, strict=True):
        layer.value[0] = rate
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x: model.predict(x, verbose=0), [X] * 8))
        for some in found:
            np.testing.assert_allclose(some, expected, rtol=1e-5, atol=1e-6)


@gpunn.saving.register_serializable("stale")
class Weighing(layers.Layer):
    """A layer that can be saved in files."""

    def __init__(self, weights: Any = (1.0, 0.5, 0.25), **options: Any) -> None:
        super().__init__(**options)
        self.factors = list(weights)

    def call(self, x: Any) -> Any:
        return x * np.array(self.factors, np.float32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weights": self.factors}


@gpunn.saving.register_serializable("stale")
class Weighed(losses.Loss):
    def __init__(self, table: Any = None) -> None:
        super().__init__()
        self.table = table or {"power": 2}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred) ** self.table["power"], axis=-1)


def layer_of(model: Any) -> Any:
    return next(layer for layer in model.layers if isinstance(layer, Weighing))


def saved(model: Any, folder: Path) -> Any:
    model.save(folder / "model.gpunn", announce=False)
    return gpunn.saving.load_model(folder / "model.gpunn")


def cloned(model: Any, folder: Path) -> Any:
    made = gpunn.models.clone_model(model)
    made.set_weights(model.get_weights())
    made.compile(gpunn.optimizers.SGD(0.02), copy.deepcopy(model.loss))
    return made


ACTIONS: dict[str, Callable[[Any, Path], Any]] = {
    "a number of the layer": lambda model, _: layer_of(model).factors.__setitem__(1, 1.25),
    "another list": lambda model, _: setattr(layer_of(model), "factors", [0.5, 0.75, 1.0]),
    "a longer list and back": lambda model, _: (
        layer_of(model).factors.append(2.0), layer_of(model).factors.pop(0)
    ),
    "the loss's table": lambda model, _: model.loss.table.__setitem__("power", 3),
    "another table": lambda model, _: setattr(model.loss, "table", {"power": 1}),
    "freeze": lambda model, _: setattr(model.layers[0], "trainable", False),
    "thaw": lambda model, _: setattr(model.layers[0], "trainable", True),
    "copy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "save and load": saved,
    "clone": cloned,
    **{name: lambda model, _, road=road: road(model) for name, road in ROADS.items()},
}  # fmt: skip
MAKES_ANOTHER = ("copy", "pickle", "save and load", "clone")


def follow(actions: list[str], folder: Path) -> None:
    gpunn.utils.set_random_seed(4)
    models = []
    for eager, backend in ((True, "numpy"), (False, "auto")):
        model = network(backend, Weighing(), loss=Weighed())
        model.run_eagerly = eager
        models.append(model)
    models[1].set_weights(models[0].get_weights())
    for action in actions:
        found = [ACTIONS[action](model, folder) for model in models]
        if action in MAKES_ANOTHER:
            models = found
            models[0].run_eagerly, models[1].run_eagerly = True, False
        elif action in ROADS:
            results = [np.asarray(entry, np.float64) for entry in found]
            np.testing.assert_allclose(results[1], results[0], 2e-4, 1e-6, err_msg=str(actions))
    assert_same(models[1].get_weights(), models[0].get_weights())


SEQUENCES = st.lists(st.sampled_from(sorted(ACTIONS)), min_size=4, max_size=14)


@settings(max_examples=4, derandomize=True, database=None)
@given(actions=SEQUENCES)
def test_any_sequence_of_changes_and_runs(
    actions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    follow(actions, tmp_path_factory.mktemp("model"))


@pytest.mark.in_turn(2)
@pytest.mark.more
@settings(max_examples=400, derandomize=True, database=None)
@given(actions=SEQUENCES)
def test_many_sequences_of_changes_and_runs(
    actions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    follow(actions, tmp_path_factory.mktemp("model"))
