"""Test classes that extend built-in metrics by `update_state` and `result`, beside Keras."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = 23
X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, ROWS)
W = np.random.default_rng(2).uniform(0.1, 2, size=ROWS).astype("float32")


def classes(library: Any) -> dict[str, Any]:
    """The same source for both libraries."""
    ops = library.ops

    class OfLargest(library.metrics.MeanIoU):
        def __init__(self, num_classes: int = 3, name: str = "of_largest", **options: Any) -> None:
            options["dtype"] = "float32"  # with which Keras does not truncate weights
            super().__init__(num_classes=num_classes, name=name, **options)

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true, ops.argmax(y_pred, axis=-1), sample_weight)

    class Deeper(OfLargest):
        def result(self) -> Any:
            return 1 - super().result()

    class OneClass(library.metrics.Precision):
        def __init__(self, index: int = 1, name: str = "one_class", **options: Any) -> None:
            super().__init__(thresholds=0.3, name=name, **options)
            self.index = index

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            here = ops.cast(ops.equal(y_true, self.index), "float32")
            super().update_state(here, y_pred[:, self.index], sample_weight)

    class WithoutZero(library.metrics.SparseCategoricalAccuracy):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            counts = ops.cast(ops.not_equal(y_true, 0), "float32")
            if sample_weight is not None:
                counts = counts * sample_weight
            super().update_state(y_true, y_pred, sample_weight=counts)

    class Turned(library.metrics.AUC):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(ops.equal(y_true, 2), y_pred[:, 2], sample_weight)

        def result(self) -> Any:
            return 1 - super().result()

    class ResultAlone(library.metrics.SparseCategoricalCrossentropy):
        def result(self) -> Any:
            return ops.exp(super().result())

    class Counting(library.metrics.RootMeanSquaredError):
        def __init__(self, name: str = "counting", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.batches = self.add_weight(name="batches", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(ops.one_hot(y_true, 3), y_pred, sample_weight)
            self.batches.assign_add(1.0)

        def result(self) -> Any:
            return super().result() + ops.cast(self.batches, "float32")

        def reset_state(self) -> None:
            super().reset_state()
            self.batches.assign(0.0)

    class ByClass(library.metrics.F1Score):
        def __init__(self, name: str = "by_class", **options: Any) -> None:
            super().__init__(average="macro", name=name, **options)

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(ops.one_hot(y_true, 3), y_pred, sample_weight)

    made = OfLargest, Deeper, OneClass, WithoutZero, Turned, ResultAlone, Counting, ByClass
    return {c.__name__: c for c in made}


NAMES = list(classes(gpunn))
P = np.random.default_rng(3).dirichlet([0.5] * 3, ROWS).astype("float32")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_alone(keras: Any, name: str, weighted: bool) -> None:
    found = []
    for library in (gpunn, keras):
        metric, values = classes(library)[name](), []
        for at in (slice(0, 9), slice(9, ROWS)):
            given = {"sample_weight": W[at]} if weighted else {}
            metric.update_state(Y[at], P[at], **given)
            values.append(float(metric.result()))
        metric.reset_state()
        metric.update_state(Y[:7], P[:7])
        found.append([*values, float(metric.result())])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_in_a_model(keras: Any, every_backend: str, name: str, weighted: bool) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for library in (gpunn, keras):
        dense = library.layers.Dense(3, activation="softmax", kernel_initializer="ones")
        model = library.Sequential([library.Input((4,)), dense])
        given = {"weighted_metrics" if weighted else "metrics": [classes(library)[name]()]}
        model.compile(library.optimizers.SGD(0.1), "sparse_categorical_crossentropy", **given)
        options = {"sample_weight": W} if weighted else {}
        history = model.fit(
            X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0,
            validation_data=(X[:5], Y[:5]), **options,
        ).history  # fmt: skip
        found.append([history[key] for key in sorted(history)])
        found[-1].append(model.evaluate(X, Y, batch_size=8, verbose=0, **options))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


class Saved(gpunn.metrics.Recall):
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(gpunn.ops.equal(y_true, 1), y_pred[:, 1], sample_weight)


def test_copies_files_and_attributes_set_later(tmp_path: Path) -> None:
    metric = Saved(thresholds=0.3)
    metric.update_state(Y[:9], P[:9])
    value = float(metric.result())
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert float(twin.result()) == value
        twin.update_state(Y[9:], P[9:])
        assert float(metric.result()) == value
    state = metric.stateless_update_state(metric.stateless_reset_state(), Y[9:], P[9:])
    alone = Saved(thresholds=0.3)
    alone.update_state(Y[9:], P[9:])
    assert metric.stateless_result(state) == float(alone.result())
    model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[Saved(0.3)])
    model.fit(X, Y, verbose=0)
    wanted = model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / "model.gpunn")
    loaded = gpunn.models.load_model(tmp_path / "model.gpunn", custom_objects={"Saved": Saved})
    assert loaded.evaluate(X, Y, verbose=0) == wanted


def test_a_class_between_may_replace_the_formula() -> None:
    class Largest(gpunn.metrics.MeanOfRows):
        def rows(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
            backend.xp.max(abs(y_true - y_pred), axis=-1, out=values)

    class Doubled(Largest):
        def update_state(  # type: ignore[override]
            self, y_true: Any, y_pred: Any, sample_weight: Any = None
        ) -> None:
            super().update_state(2 * y_true, 2 * y_pred, sample_weight)

    metric = Doubled()
    metric.update_state(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[3.0, 4.0], [1.0, 3.0]]))
    assert float(metric.result()) == 6.0
    both = {"update_state": Doubled.update_state, "rows": Largest.rows, "__module__": "mine"}
    with pytest.raises(TypeError, match=r"^Own defines update_state and rows, which it would call"):
        type("Own", (gpunn.metrics.BinaryAccuracy,), both)
    with pytest.raises(TypeError, match=r"update_state would be ignored"):
        type("Own", (gpunn.metrics.MeanOfRows,), {"update_state": 1, "__module__": "mine"})
