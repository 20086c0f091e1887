"""Metrics of one's own whose variables are attributes, in lists, or of metrics that they hold,
compared with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype("float32")
Y = (X[:, :1] > 0.3).astype("float32")


def counter(lib: Any, keep: Callable[[list[Any]], Any]) -> Any:
    """The share of outputs above 0.5, which counts in variables that ``keep`` arranges."""

    class Share(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.kept = keep([lib.Variable(0.0, trainable=False) for _ in range(2)])
            held = self.kept if isinstance(self.kept, (list, tuple)) else self.kept.values()
            self.above, self.all = held

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            above = lib.ops.sum(lib.ops.cast(y_pred > 0.5, "float32"))
            self.above.assign(self.above + above)
            self.all.assign(self.all + lib.ops.sum(lib.ops.ones_like(y_pred)))

        def result(self) -> Any:
            return self.above / self.all

    return Share


def around(lib: Any) -> Any:
    """A metric that consists of another of one's own."""
    inner = counter(lib, list)

    class Twice(lib.metrics.Metric):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.parts = {"share": inner(name="share")}

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.parts["share"].update_state(y_true, y_pred)

        def result(self) -> Any:
            return self.parts["share"].result() * 2.0

    return Twice


MADE: dict[str, Callable[[Any], Any]] = {
    "a list": lambda lib: counter(lib, list),
    "a tuple": lambda lib: counter(lib, tuple),
    "a dictionary": lambda lib: counter(lib, lambda vs: {"above": vs[0], "all": vs[1]}),
    "a metric": around,
}


@pytest.mark.parametrize("name", MADE)
def test_each_epoch_and_evaluation_counts_alone(every_backend: str, keras: Any, name: str) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for lib in (gpunn, keras):
        metric = MADE[name](lib)(name="m")
        assert len(metric.variables) == 2
        layer = lib.layers.Dense(1, "sigmoid", kernel_initializer="ones")
        model = lib.Sequential([lib.Input((3,)), layer])
        model.compile(lib.optimizers.SGD(0.5), "binary_crossentropy", metrics=[metric])
        figures = model.fit(
            X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0, validation_data=(X[:9], Y[:9])
        ).history
        found.append([*figures["m"], *figures["val_m"], model.evaluate(X, Y, verbose=0)[1]])
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_by_itself_it_forgets_what_it_has_counted(keras: Any, name: str) -> None:
    for lib in (gpunn, keras):
        metric = MADE[name](lib)(name="m")
        metric.update_state(Y, np.ones((4, 1), "float32"))
        one = float(metric.result())
        metric.reset_state()
        metric.update_state(Y, np.array([[0.0], [1.0]], "float32"))
        assert float(metric.result()) == one / 2


def test_a_mean_that_a_metric_holds_is_reset_with_it(keras: Any) -> None:
    for lib in (gpunn, keras):

        class Scaled(lib.metrics.Metric):  # type: ignore[name-defined, misc]
            def __init__(self, lib: Any, **common: Any) -> None:
                super().__init__(**common)
                self.mean = lib.metrics.Mean()

            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                self.mean.update_state(y_pred)

            def result(self) -> Any:
                return self.mean.result() * 2.0

        metric = Scaled(lib)
        metric.update_state([1.0], np.array([4.0], "float32"))
        metric.reset_state()
        metric.update_state([1.0], np.array([1.0], "float32"))
        assert float(metric.result()) == 2.0
