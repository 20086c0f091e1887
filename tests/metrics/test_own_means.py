"""Test classes derived from `metrics.Mean` and `MeanMetricWrapper`, beside Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = 11
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(ROWS, 2)).astype("float32")
W = np.random.default_rng(2).uniform(0.1, 2, size=ROWS).astype("float32")


def classes(library: Any) -> dict[str, Any]:
    """The same source for both libraries."""
    ops = library.ops

    class Half(library.metrics.Mean):
        def __init__(self, name: str = "half", **options: Any) -> None:
            super().__init__(name=name, **options)

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            values = ops.mean(ops.abs(y_true - y_pred), axis=-1) / 2
            super().update_state(values, sample_weight=sample_weight)

    class Root(library.metrics.Mean):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign(self.total + ops.sum(ops.square(y_true - y_pred)))
            self.count.assign_add(ops.cast(ops.size(y_true), self.count.dtype))

        def result(self) -> Any:
            return ops.sqrt(self.total / self.count)

    class Scaled(library.metrics.MeanMetricWrapper):
        def __init__(self, scale: float = 3.0, name: str = "scaled", **options: Any) -> None:
            def far(y_true: Any, y_pred: Any, scale: float) -> Any:
                return ops.max(ops.abs(y_true - y_pred), axis=-1) * scale

            super().__init__(far, name=name, scale=scale, **options)

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(y_true * 2, y_pred, sample_weight)

    class Squared(library.metrics.Mean):
        def result(self) -> Any:
            return ops.square(super().result())

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(y_pred[:, 0], sample_weight)

    class Deeper(Half):
        def __init__(self) -> None:
            super().__init__(name="deeper")
            self.seen = self.add_weight(name="seen", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(y_true, y_pred, sample_weight)
            self.seen.assign_add(1.0)

        def result(self) -> Any:
            return super().result() + self.seen

        def reset_state(self) -> None:
            super().reset_state()
            self.seen.assign(0.0)

    return {c.__name__: c for c in (Half, Root, Scaled, Squared, Deeper)}


NAMES = ["Half", "Root", "Scaled", "Squared", "Deeper"]


@pytest.mark.parametrize("name", NAMES)
def test_alone(keras: Any, name: str) -> None:
    found = []
    for library in (gpunn, keras):
        metric, values = classes(library)[name](), []
        for at in (slice(0, 4), slice(4, ROWS)):
            metric.update_state(X[at, :2], Y[at], *(() if name == "Root" else (W[at],)))
            values.append(float(metric.result()))
        values += [float(metric.total), float(metric.count)]
        metric.reset_state()
        metric.update_state(X[:3, :2], Y[:3])
        found.append([*values, float(metric.result())])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_in_a_model(keras: Any, every_backend: str, name: str, weighted: bool) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for library in (gpunn, keras):
        dense = library.layers.Dense(2, kernel_initializer="ones")
        model = library.Sequential([library.Input((3,)), dense])
        given = {"weighted_metrics" if weighted else "metrics": [classes(library)[name]()]}
        model.compile(library.optimizers.SGD(0.1), "mse", **given)
        options = {"sample_weight": W} if weighted else {}
        history = model.fit(
            X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0,
            validation_data=(X[:5], Y[:5]), **options,
        ).history  # fmt: skip
        found.append([history[key] for key in sorted(history)])
        found[-1].append(model.evaluate(X, Y, batch_size=4, verbose=0, **options))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_before_the_first_value_it_is_zero() -> None:
    assert float(classes(gpunn)["Half"]().result()) == 0.0


def test_in_a_step_by_hand(keras: Any) -> None:
    found = []
    for library in (gpunn, keras):
        metric = classes(library)["Half"]()
        for k in range(3):
            metric(X[k : k + 2, :2], Y[k : k + 2])
        found.append(float(metric.result()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
