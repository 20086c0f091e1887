"""Metrics of one's own that consist of built-in ones, compared with Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype("float32")
Y = (X[:, :1] > 0.3).astype("float32")
WEIGHTS = RANDOM.uniform(0.5, 2.0, 40).astype("float32")


def f1(lib: Any) -> Any:
    class F1(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "m", **common: Any) -> None:
            super().__init__(name=name, **common)
            self.precision = lib.metrics.Precision()
            self.recall = lib.metrics.Recall()

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.precision.update_state(y_true, y_pred, sample_weight)
            self.recall.update_state(y_true, y_pred, sample_weight)

        def result(self) -> Any:
            precision, recall = self.precision.result(), self.recall.result()
            return 2 * precision * recall / (precision + recall + 1e-7)

        def reset_state(self) -> None:
            self.precision.reset_state()
            self.recall.reset_state()

    return F1


def mean_of_means(lib: Any) -> Any:
    """Means of several kinds in a list, and the number of batches in a variable."""

    class Means(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "m", **common: Any) -> None:
            super().__init__(name=name, **common)
            self.batches = self.add_weight(name="batches", initializer="zeros")
            self.parts = [lib.metrics.Mean(), lib.metrics.MeanSquaredError()]

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.batches.assign_add(1.0)
            error = lib.ops.mean(lib.ops.abs(y_true - y_pred))
            self.parts[0].update_state(error)
            self.parts[1].update_state(y_true, y_pred, sample_weight=sample_weight)

        def result(self) -> Any:
            return sum(part.result() for part in self.parts) / 2 + 0.0 * self.batches

        def reset_state(self) -> None:
            super().reset_state()
            for part in self.parts:
                part.reset_state()

    return Means


def by_name(lib: Any) -> Any:
    """Built-in ones in a dictionary, one of them with bins for each output, and one within a
    metric of one's own."""

    class All(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "m", **common: Any) -> None:
            super().__init__(name=name, **common)
            self.kept = {
                "auc": lib.metrics.AUC(num_thresholds=20),
                "score": lib.metrics.F1Score(threshold=0.5),
                "accuracy": lib.metrics.BinaryAccuracy(),
                "own": f1(lib)(),
            }

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            for metric in self.kept.values():
                metric.update_state(y_true, y_pred, sample_weight)

        def result(self) -> Any:
            auc, score, accuracy, own = (metric.result() for metric in self.kept.values())
            return auc + 10 * score[0] + 100 * accuracy + 1000 * own

        def reset_state(self) -> None:
            for metric in self.kept.values():
                metric.reset_state()

    return All


def over_classes(lib: Any) -> Any:
    """The mean precision of the classes, each of a metric in a list."""

    class OverClasses(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "m", **common: Any) -> None:
            super().__init__(name=name, **common)
            self.classes = [lib.metrics.Precision(class_id=number) for number in range(2)]

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            pairs = [lib.ops.concatenate([1.0 - y, y], -1) for y in (y_true, y_pred)]
            for metric in self.classes:
                metric.update_state(*pairs, sample_weight)

        def result(self) -> Any:
            return lib.ops.mean(lib.ops.stack([metric.result() for metric in self.classes]))

        def reset_state(self) -> None:
            for metric in self.classes:
                metric.reset_state()

    return OverClasses


MADE: dict[str, Callable[[Any], Any]] = {
    "F1": f1, "means": mean_of_means, "by name": by_name, "over classes": over_classes,
}


def compiled(lib: Any, **kind: Any) -> Any:
    layer = lib.layers.Dense(1, "sigmoid", kernel_initializer="ones")
    model = lib.Sequential([lib.Input((3,)), layer])
    model.compile(lib.optimizers.SGD(0.5), "binary_crossentropy", **kind)
    return model


def figures(model: Any, **weights: Any) -> list[float]:
    """The metric of two epochs, their validation, and an evaluation."""
    logs = model.fit(
        X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, validation_data=(X[:9], Y[:9]),
        **weights,
    ).history
    return [*logs["m"], *logs["val_m"], model.evaluate(X, Y, batch_size=8, verbose=0, **weights)[1]]


@pytest.mark.parametrize("eager", [False, True], ids=["traced", "eager"])
@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
@pytest.mark.parametrize("name", MADE)
def test_in_fit_and_evaluate(
    every_backend: str, keras: Any, name: str, kind: str, eager: bool
) -> None:
    gpunn.use_backend(every_backend)
    weights = {"sample_weight": WEIGHTS} if kind == "weighted_metrics" else {}
    found = []
    for lib in (gpunn, keras):
        model = compiled(lib, **{kind: [MADE[name](lib)()]}, run_eagerly=eager)
        found.append(figures(model, **weights))
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_in_train_step(backend: str, keras: Any, name: str) -> None:
    gpunn.use_backend(backend)
    found = []
    for lib in (gpunn, keras):

        class Own(lib.Model):  # type: ignore[name-defined, misc]
            def __init__(self, lib: Any, metric: Any) -> None:
                super().__init__()
                self.layer = lib.layers.Dense(1, "sigmoid", kernel_initializer="ones")
                self.measured = metric

            def call(self, x: Any) -> Any:
                return self.layer(x)

            def train_step(self, data: Any) -> Any:
                x, y = data
                self.measured.update_state(y, self(x, training=True))
                return {"m": self.measured.result()}

            def test_step(self, data: Any) -> Any:
                return self.train_step(data)

        model = Own(lib, MADE[name](lib)())
        model.compile("sgd", "binary_crossentropy")
        logs = model.fit(
            X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False, validation_data=(X[:9], Y[:9])
        ).history
        found.append([*logs["m"], *logs["val_m"]])
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_after_saving_and_loading(backend: str, keras: Any, tmp_path: Path, name: str) -> None:
    gpunn.use_backend(backend)
    found = []
    for number, lib in enumerate((gpunn, keras)):
        metric = MADE[name](lib)
        model = compiled(lib, metrics=[metric()])
        figures(model)
        path = tmp_path / f"{number}.keras"
        model.save(path)
        own = {metric.__name__: metric, "F1": f1(lib)}
        found.append(figures(lib.models.load_model(path, custom_objects=own)))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_its_variables_are_those_of_its_parts(keras: Any) -> None:
    found = []
    for lib in (gpunn, keras):
        metric = f1(lib)()
        metric.update_state(Y, np.full((40, 1), 0.7, "float32"))
        found.append([[v.name, float(np.ravel(lib.ops.convert_to_numpy(v))[0])]
                      for v in metric.variables])
    assert found[0] == found[1]


def test_a_state_of_it_is_that_of_its_parts(keras: Any) -> None:
    found = []
    for lib in (gpunn, keras):
        metric = f1(lib)()
        with_nothing = [v * 0 for v in map(lib.ops.convert_to_tensor, metric.variables)]
        state = metric.stateless_update_state(
            with_nothing, lib.ops.convert_to_tensor(Y), lib.ops.convert_to_tensor(X[:, :1])
        )
        found.append(float(metric.stateless_result(state)))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
