"""Test metrics that layers and models hold, and update in their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.backends.numpy.backend import NumpyBackend

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 2)).astype("float32")
Y = RANDOM.normal(size=(10, 1)).astype("float32")
EAGER = [False, pytest.param(True, id="eagerly")]


def parts(module: Any) -> Any:
    """Return classes of layers and models that hold metrics, written for gpunn or Keras."""
    layers, metrics = module.layers, module.metrics

    class ActivityMean(layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, mean: str = "activity", inner: Any = None) -> None:
            super().__init__()
            self.mean, self.inner = metrics.Mean(name=mean), inner

        def call(self, x: Any) -> Any:
            self.mean.update_state(x)
            return x if self.inner is None else self.inner(x)

    class Both(layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = ActivityMean("p"), ActivityMean("q")

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    class Subclass(module.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.line = dense(module)
            self.own = metrics.Mean(name="own")
            self.watched = ActivityMean("watched")
            self.many = [metrics.Mean(name="many")]

        def call(self, x: Any) -> Any:
            self.own.update_state(x)
            self.many[0].update_state(x * 2)
            return self.line(self.watched(x))

    class Parts:
        pass

    found = Parts()
    found.ActivityMean, found.Both, found.Subclass = ActivityMean, Both, Subclass  # type: ignore
    return found


def dense(module: Any) -> Any:
    return module.layers.Dense(1, kernel_initializer="ones")


def sequential(module: Any) -> Any:
    first = parts(module).ActivityMean()
    return module.Sequential([module.Input((2,)), first, dense(module)])


def same_names(module: Any) -> Any:
    layer = parts(module).ActivityMean
    of = [layer(), dense(module), layer(), layer("last")]
    return module.Sequential([module.Input((2,)), *of])


def in_a_layer(module: Any) -> Any:
    layer = parts(module).ActivityMean
    return module.Sequential([module.Input((2,)), layer(inner=layer("inside")), dense(module)])


def in_two_layers(module: Any) -> Any:
    return module.Sequential([module.Input((2,)), parts(module).Both(), dense(module)])


def in_a_model(module: Any) -> Any:
    layer = parts(module).ActivityMean
    inner = module.Sequential([module.Input((2,)), layer("a"), layer("b")])
    of = [layer("before"), inner, layer("after"), dense(module)]
    return module.Sequential([module.Input((2,)), *of])


def functional(module: Any) -> Any:
    layer, x = parts(module).ActivityMean("shared"), module.Input((2,))
    y = module.layers.Add()([layer(x), layer(module.layers.Rescaling(3.0)(x))])
    return module.Model(x, dense(module)(y))


def subclass(module: Any) -> Any:
    return parts(module).Subclass()


def subclass_inside(module: Any) -> Any:
    return module.Sequential([module.Input((2,)), parts(module).Subclass()])


MODELS = [
    sequential, same_names, in_a_layer, in_two_layers, in_a_model, functional, subclass,
    subclass_inside,
]  # fmt: skip


def trained(module: Any, make: Callable[[Any], Any], eagerly: bool = False) -> dict[str, Any]:
    """Return what a model says about its metrics."""
    model, found = make(module), dict[str, Any]()
    optimizer = module.optimizers.SGD(0.001)
    model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=eagerly)
    given = {"batch_size": 4, "verbose": 0}
    history = model.fit(X, Y, epochs=2, shuffle=False, validation_data=(X[:3], Y[:3]), **given)
    found |= history.history
    found |= model.evaluate(X[2:], Y[2:], return_dict=True, **given)
    names = [metric.name for metric in model.metrics if metric.name != "compile_metrics"]
    found["names"] = list(dict.fromkeys(names))
    return found


@pytest.mark.parametrize("eagerly", EAGER)
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_fit_and_evaluate_count_what_calls_update_as_keras_does(
    backend: str, keras: Any, make: Callable[[Any], Any], eagerly: bool
) -> None:
    gpunn.use_backend(backend)
    ours, theirs = trained(gpunn, make, eagerly), trained(keras, make)
    names = ours.pop("names")
    assert [name for name in names if name != "mae"] == theirs.pop("names")
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_they_are_listed_behind_the_metrics_of_compile(backend: str) -> None:
    gpunn.use_backend(backend)
    model = in_two_layers(gpunn)
    model.compile("sgd", "mse", metrics=["mae"])
    found = model.evaluate(X, Y, verbose=0)
    assert model.metrics_names == ["loss", "mae", "p", "q"]
    assert [metric.name for metric in model.metrics] == model.metrics_names
    assert len(found) == 4
    np.testing.assert_allclose(found[2:], [X.mean()] * 2, rtol=1e-5)


def test_metrics_of_one_name_are_listed_once(backend: str, keras: Any) -> None:
    gpunn.use_backend(backend)
    ours, theirs = same_names(gpunn), same_names(keras)
    for model in (ours, theirs):
        model.compile("sgd", "mse")
    found, expected = (model.evaluate(X, Y, verbose=0) for model in (ours, theirs))
    assert ours.metrics_names == ["loss", "activity", "last"]
    np.testing.assert_allclose([*found[:2], *found[1:]], expected, rtol=1e-4)


@pytest.mark.parametrize("eagerly", EAGER)
def test_a_batch_is_counted_alone(backend: str, eagerly: bool) -> None:
    gpunn.use_backend(backend)
    model = sequential(gpunn)
    model.compile("sgd", "mse", run_eagerly=eagerly)
    for part in (X[:4], X[4:]):
        for run in (model.train_on_batch, model.test_on_batch):
            found = run(part, Y[: len(part)], return_dict=True)
            assert found["activity"] == pytest.approx(part.mean(), rel=1e-5)


@pytest.mark.parametrize("eagerly", EAGER)
def test_predict_counts_nothing(backend: str, keras: Any, eagerly: bool) -> None:
    gpunn.use_backend(backend)
    theirs = sequential(keras)
    theirs.predict(X, verbose=0)
    assert float(theirs.layers[0].mean.result()) == pytest.approx(X.mean(), rel=1e-4)
    for layer in (parts(gpunn).ActivityMean(), Holding(Total(), lambda m, x: m.update_state(x))):
        model = gpunn.Sequential([gpunn.Input((2,)), layer, dense(gpunn)])
        model.compile("sgd", "mse", run_eagerly=eagerly)
        before = model.evaluate(X, Y, verbose=0)[1]
        model.predict(X + 1, verbose=0)
        model.predict_on_batch(X + 1)
        assert model.metrics[-1].result() == pytest.approx(before)


@pytest.mark.parametrize("eagerly", EAGER)
def test_calls_in_python_count(backend: str, eagerly: bool) -> None:
    gpunn.use_backend(backend)
    layer = parts(gpunn).ActivityMean()
    model = gpunn.Sequential([gpunn.Input((2,)), layer])
    model.compile("sgd", "mse", run_eagerly=eagerly)
    layer(X[:4])
    model(X[4:6])
    model(X[6:7], training=True)
    assert layer.mean.result() == pytest.approx(X[:7].mean(), rel=1e-5)
    layer.mean.reset_state()
    layer(X[:2])
    assert layer.mean.result() == pytest.approx(X[:2].mean(), rel=1e-5)


class Holding(gpunn.layers.Layer):
    """A layer with a metric, which a function updates in each call."""

    def __init__(self, metric: Any, update: Callable[[Any, Any], None]) -> None:
        super().__init__()
        self.metric, self.update = metric, update

    def call(self, x: Any) -> Any:
        self.update(self.metric, x)
        return x


class Total(gpunn.metrics.Metric):
    def __init__(self, name: str = "total") -> None:
        super().__init__(name=name)
        self.total = self.add_weight(initializer="ones")

    def update_state(self, values: Any) -> None:  # type: ignore[override]
        self.total.assign_add(gpunn.ops.sum(values))

    def result(self) -> Any:
        return self.total


class LargestOfRows(gpunn.metrics.MeanOfRows):
    def rows(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
        backend.xp.max(abs(y_true - y_pred), axis=-1, out=values)


class Smallest(gpunn.metrics.Mean):
    """A mean by its own update, of the smallest value of each row."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        super().update_state(gpunn.ops.min(values, axis=-1), sample_weight)


def of_two(metric: Any, x: Any) -> None:
    metric.update_state(x > 0.2, gpunn.ops.sigmoid(x))


def of_labels(metric: Any, x: Any) -> None:
    metric.update_state(gpunn.ops.cast(x[:, 0] > 0, "int32"), gpunn.ops.softmax(x))


def weighted(metric: Any, x: Any) -> None:
    metric.update_state(x, sample_weight=gpunn.ops.abs(x[:, 0]))


def weighted_rows(metric: Any, x: Any) -> None:
    metric.update_state(x * 2, x, sample_weight=gpunn.ops.abs(x[:, 1]))


def several_times(metric: Any, x: Any) -> None:
    metric.update_state(x)
    metric.update_state(2 * x, sample_weight=3.0)
    metric.update_state(1.5)


def rows_several_times(metric: Any, x: Any) -> None:
    metric.update_state(x, 2 * x)
    metric.update_state(x, 3 * x)


def values_of(metric: Any, x: Any) -> None:
    metric.update_state(x)


METRICS: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], None]]] = {
    "weighted mean": (gpunn.metrics.Mean, weighted),
    "several updates": (gpunn.metrics.Mean, several_times),
    "mean of rows": (gpunn.metrics.MeanAbsoluteError, of_two),
    "weighted rows": (gpunn.metrics.MeanSquaredError, weighted_rows),
    "rows several times": (gpunn.metrics.MeanSquaredError, rows_several_times),
    "binary accuracy": (gpunn.metrics.BinaryAccuracy, of_two),
    "class numbers": (gpunn.metrics.SparseCategoricalAccuracy, of_labels),
    "area": (lambda: gpunn.metrics.AUC(num_thresholds=20), of_two),
    "precision": (lambda: gpunn.metrics.Precision(0.4), of_two),
    "root": (gpunn.metrics.RootMeanSquaredError, of_two),
    "determination": (gpunn.metrics.R2Score, of_two),
    "function": (lambda: gpunn.metrics.MeanMetricWrapper(largest, name="f"), of_two),
    "variables": (Total, values_of),
    "own rows": (LargestOfRows, of_two),
    "own mean": (Smallest, values_of),
}


def largest(y_true: Any, y_pred: Any) -> Any:
    return gpunn.ops.max(gpunn.ops.abs(gpunn.ops.cast(y_true, "float32") - y_pred), axis=-1)


@pytest.mark.parametrize("eagerly", EAGER)
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_counts_as_by_itself(backend: str, name: str, eagerly: bool) -> None:
    gpunn.use_backend(backend)
    make, update = METRICS[name]
    layer, alone = Holding(make(), update), make()
    model = gpunn.Sequential([gpunn.Input((2,)), layer, dense(gpunn)])
    model.compile("sgd", "mse", run_eagerly=eagerly)
    logs = model.fit(X, Y, epochs=2, batch_size=4, verbose=0, shuffle=False).history
    for k in (0, 4, 8):
        update(alone, gpunn.ops.convert_to_tensor(X[k : k + 4]))
    expected = float(np.asarray(alone.result()))
    assert logs[layer.metric.name] == pytest.approx([expected] * 2, rel=1e-5)
    found = model.evaluate(X, Y, batch_size=4, verbose=0)[1]
    assert found == pytest.approx(expected, rel=1e-5)
    assert float(np.asarray(layer.metric.result())) == pytest.approx(expected, rel=1e-5)
    assert float(np.asarray(layer.metric.result())) == pytest.approx(expected, rel=1e-5)


class ByHand(gpunn.Model):
    def __init__(self) -> None:
        super().__init__()
        self.inner = sequential(gpunn)
        self.own = gpunn.metrics.Mean(name="own")

    def call(self, x: Any) -> Any:  # type: ignore[override]
        self.own.update_state(x + 1)
        return self.inner(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with gpunn.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {metric.name: metric.result() for metric in self.metrics}


@pytest.mark.parametrize("eagerly", EAGER)
def test_a_model_that_its_own_step_calls_counts(backend: str, eagerly: bool) -> None:
    gpunn.use_backend(backend)
    model = ByHand()
    model.compile("sgd", "mse", run_eagerly=eagerly)
    history = model.fit(X, Y, epochs=3, batch_size=4, verbose=0).history
    assert history["activity"] == pytest.approx([X.mean()] * 3, rel=1e-4)
    assert history["own"] == pytest.approx([X.mean() + 1] * 3, rel=1e-4)
    found = model.evaluate(X[:5], Y[:5], verbose=0, return_dict=True)
    assert found["own"] == pytest.approx(X[:5].mean() + 1, rel=1e-4)
    assert found["activity"] == pytest.approx(X[:5].mean(), rel=1e-4)


def test_a_metric_goes_on_after_a_restored_state(backend: str) -> None:
    gpunn.use_backend(backend)
    for make in (gpunn.metrics.Mean, Total):
        layer = Holding(make(), values_of)
        model = gpunn.Sequential([gpunn.Input((2,)), layer, dense(gpunn)])
        model.compile("sgd", "mse")
        before = model.train_on_batch(X, Y, return_dict=True)
        state = model.training_state()
        model.train_on_batch(X + 7, Y)
        model.set_training_state(*state)
        assert float(np.asarray(layer.metric.result())) == pytest.approx(before[layer.metric.name])


def test_a_callback_stops_by_a_metric_of_a_layer() -> None:
    def watched(metric: Any, direction: str) -> int:
        model = gpunn.Sequential([gpunn.Input((2,)), Holding(metric, of_two), dense(gpunn)])
        model.compile("sgd", "mse")
        stop = gpunn.callbacks.EarlyStopping(metric.name, mode=direction)
        return len(model.fit(X, Y, epochs=9, verbose=0, callbacks=[stop]).history["loss"])

    assert watched(gpunn.metrics.MeanAbsoluteError(), "auto") == 2  # it stays the same
    model = sequential(gpunn)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="mode='max' or mode='min'"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[gpunn.callbacks.EarlyStopping("activity")])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of the arrays that the NumPy backend has read."""
    sizes: list[int] = []
    read = NumpyBackend.read
    monkeypatch.setattr(
        NumpyBackend, "read", lambda self, array: sizes.append(array.size) or read(self, array)
    )
    yield sizes


@pytest.mark.traced
def test_nothing_is_read_in_a_step(reads: list[int]) -> None:
    gpunn.use_backend("numpy")
    model = sequential(gpunn)
    model.compile("sgd", "mse")
    counts = []
    for batch in (5, 5, 1):
        reads.clear()
        model.fit(X, Y, epochs=1, batch_size=batch, verbose=0)
        counts.append(len(reads))
    assert counts[1] == counts[2]


@pytest.mark.traced
def test_a_result_in_a_call_and_an_update_in_a_loss_are_refused(backend: str) -> None:
    gpunn.use_backend(backend)
    layer = Holding(gpunn.metrics.Mean(), lambda metric, x: metric.result())
    with pytest.raises(TypeError, match="Read it between steps"):
        layer(X)
    resetting = Holding(gpunn.metrics.Mean(), lambda metric, x: metric.reset_state())
    with pytest.raises(TypeError, match="reset it between steps"):
        resetting(X)
    metric = gpunn.metrics.Mean()

    def loss(y: Any, p: Any) -> Any:
        metric.update_state(p)
        return gpunn.ops.square(y - p)

    model = gpunn.Sequential([gpunn.Input((2,)), dense(gpunn)])
    model.compile("sgd", loss)
    with pytest.raises(TypeError, match="Update it in the call of a layer"):
        model.fit(X, Y, verbose=0)
    assert metric.result() == 0.0


class Cell(gpunn.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.state_size = self.output_size = 2
        self.mean = gpunn.metrics.Mean(name="cell")

    def call(self, x: Any, states: Any) -> Any:
        self.mean.update_state(x)
        return x, [states[0] + x]


def recurrent(unroll: bool) -> Any:
    layer = gpunn.layers.RNN(Cell(), unroll=unroll)
    return gpunn.Sequential([gpunn.Input((3, 2)), layer, dense(gpunn)])


def test_a_cell_counts_in_each_step_of_an_unrolled_loop(backend: str) -> None:
    gpunn.use_backend(backend)
    x = RANDOM.normal(size=(6, 3, 2)).astype("float32")
    model = recurrent(unroll=True)
    model.compile("sgd", "mse")
    assert model.evaluate(x, Y[:6], verbose=0)[1] == pytest.approx(x.mean(), abs=1e-6)


@pytest.mark.traced
def test_a_cell_of_a_loop_is_refused_before_it_runs() -> None:
    with pytest.raises(TypeError, match=r"updates weights or a metric.*unroll=True"):
        recurrent(unroll=False)


@pytest.mark.traced
def test_a_metric_with_a_formula_of_its_own_must_be_an_attribute(backend: str) -> None:
    gpunn.use_backend(backend)
    metric = LargestOfRows()
    model = gpunn.Sequential(
        [gpunn.Input((2,)), Holding(None, lambda _, x: metric.update_state(x, 2 * x))]
    )
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="keep it as an attribute"):
        model.fit(X, X, verbose=0)


def test_a_metric_that_resets_nothing_counts_each_epoch_alone(backend: str) -> None:
    """In Keras it goes on; here the sums of a pass begin at 0 in any case."""
    gpunn.use_backend(backend)

    class Steps(gpunn.metrics.Metric):
        def __init__(self, **options: Any) -> None:
            super().__init__(name="steps", **options)
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.count.assign_add(1.0)

        def result(self) -> Any:
            return self.count

        def reset_state(self) -> None:
            pass

    x = np.ones((8, 1))
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[Steps()])
    assert model.fit(x, x, batch_size=4, epochs=3, verbose=0).history["steps"] == [2.0, 2.0, 2.0]
