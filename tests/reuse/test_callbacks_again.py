"""Callbacks, models and estimators whose fit was left early do next what new ones do."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from properties.reused import (
    HOOKS,
    LEAVING,
    Leaving,
    Trap,
    assert_leaves_nothing,
    interrupted_by,
    network,
    plain,
    threads_end,
)

import gpunn
from gpunn import layers, ops
from gpunn.common import registry

X = np.random.default_rng(0).standard_normal((8, 3))
Y = X[:, :2] ** 2

ARGUMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "CSVLogger": lambda folder: {"filename": folder / "log.csv"},
    "EarlyStopping": lambda folder: {"monitor": "mae", "restore_best_weights": True},
    "GradientMonitor": lambda folder: {"frequency": 1, "verbose": 0, "log_dir": folder,
                                       "filename": folder / "monitor.csv"},
    "History": lambda folder: {},
    "LambdaCallback": lambda folder: {},
    "LearningRateFinder": lambda folder: {"steps": 12, "start": 0.01, "end": 100.0, "verbose": 0},
    "LearningRateScheduler": lambda folder: {"schedule": lambda epoch, rate: rate * 0.5},
    "ModelCheckpoint": lambda folder: {"filepath": folder / "{epoch}-{loss:.4f}.gpunn"},
    "PathRecorder": lambda folder: {"weights": [("one/kernel", (0, 0)), ("two/bias", 1)]},
    "ProgressBar": lambda folder: {},
    "ReduceLROnPlateau": lambda folder: {"monitor": "mae", "patience": 1, "min_delta": 10.0},
    "Report": lambda folder: {"filepath": folder / "report.html"},
    "StopAfter": lambda folder: {"updates": 7},
    "StopAtTarget": lambda folder: {"monitor": "mae", "target": 0.4, "mode": "min"},
    "StopOnSmallChange": lambda folder: {"tolerance": 0.3, "patience": 2},
    "StopOnSmallGradient": lambda folder: {"tolerance": 0.9},
    "SwapEMAWeights": lambda folder: {"swap_on_epoch": True},
    "TensorBoard": lambda folder: {"log_dir": folder / "events", "histogram_freq": 1},
    "TerminateOnNaN": lambda folder: {},
}  # fmt: skip
# Their next use is not that of new ones: one resumes what was left, the other's trial takes an
# epoch once.
OTHERS = {"BackupAndRestore", "OptunaPruning"}
TIMES = {"seconds", "epochs"}  # in states: how long something took
# As in Keras, a `History` of the user's own keeps the figures of earlier fits.
KEPT: dict[str, set[str]] = {"History": {"history"}}


def trained(callback: Any, *others: Any) -> Any:
    """Fit a new model with a callback; return all that this changed but times."""
    model = network("numpy", optimizer=gpunn.optimizers.Adam(0.1, use_ema=True))
    callback.model = None
    history = model.fit(
        X, Y, batch_size=3, epochs=4, verbose=0, validation_data=(X, Y),
        callbacks=[callback, *others],
    )  # fmt: skip
    excluded = TIMES | KEPT.get(type(callback).__name__, set())
    state = {k: v for k, v in callback.get_state().items() if k not in excluded}
    figures = {} if "history" in excluded else history.history
    return plain(
        [
            figures, history.epoch, model.get_weights(), repr(state), model.stop_training,
            model.evaluate(X, Y, verbose=0, callbacks=[callback]),
            float(model.optimizer.learning_rate),
        ]
    )  # fmt: skip


def written(folder: Path) -> Any:
    """Return the texts of tables, and the names of other files but those with a time."""
    return {
        path.name: path.read_text() if path.suffix == ".csv" else ""
        for path in sorted(folder.rglob("*")) if "tfevents" not in path.name
    }  # fmt: skip


Point = tuple[str, int]  # a hook, and how often it has been called before

# In the first epoch; and in a later validation, where averages may replace weights.
POINTS: list[Point] = [("on_train_batch_end", 1), ("on_test_batch_end", 2)]


def check(name: str, folder: Path, points: list[Point]) -> None:
    """Leave fits of one model, each at a point, and after each use the callback for a new one."""
    before = {*threading.enumerate()}
    folders = [folder / "used", folder / "fresh"]
    for path in folders:
        path.mkdir()
    kind = registry.entries("callback")[name]
    used, fresh = (kind(**ARGUMENTS[name](path)) for path in folders)
    wanted = trained(fresh)
    model = network("numpy", optimizer=gpunn.optimizers.Adam(0.3, use_ema=True))
    for number, (hook, left) in enumerate(points):
        trap = Trap()
        trap.set(left, LEAVING[number % 2])
        hooks = [used, Leaving(hook, trap)]
        given = {"validation_data": (X, Y), "callbacks": hooks[:: 1 - number % 2 * 2]}
        interrupted_by(trap, partial(model.fit, X, -Y, 3, 4, 0, **given))
        assert threads_end(before)
        for path in folders[0].rglob("*.gpunn"):
            path.unlink()
        assert trained(used) == wanted
    assert written(folders[0]) == written(folders[1])
    assert threads_end(before)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_callback_that_was_left_is_a_new_one(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, POINTS)


@pytest.mark.more(4)
@pytest.mark.parametrize("seed", range(1, 20))
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_callback_that_was_left_often(name: str, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    check(name, tmp_path, [(draw.choice(HOOKS), draw.randint(0, 5)) for _ in range(6)])


def test_every_callback_is_among_them() -> None:
    assert {*registered.names("callback")} == {*ARGUMENTS} | OTHERS


# -- models


class ByHand(gpunn.Model):
    """A model that trains by a step of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first, self.last = layers.Dense(3, "tanh"), layers.Dense(2)
        self.mean = gpunn.metrics.Mean(name="own")

    def call(self, x: Any, training: Any = None) -> Any:
        return self.last(self.first(x))

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x, training=True) - y))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.mean.update_state(loss)
        return {"own": self.mean.result()}

    @property
    def metrics(self) -> list[Any]:
        return [self.mean]


def by_hand(backend: str) -> Any:
    gpunn.utils.set_random_seed(5)
    model = ByHand(backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.build((None, 3))
    return model


def test_a_step_of_ones_own_that_was_left(backend: str) -> None:
    """Passes of steps by hand are no part of a model's state, so their rows keep their order."""

    def fitted(model: Any, *hooks: Any) -> Any:
        options = {"batch_size": 3, "epochs": 2, "verbose": 0, "shuffle": False}
        return model.fit(X, Y, callbacks=list(hooks), **options).history

    model, fresh = by_hand(backend), by_hand(backend)
    weights, state = model.get_weights(), model.training_state()
    wanted = [*fitted(fresh)["own"], *fresh.get_weights(), fresh.predict(X, verbose=0)]
    for left, hook in ((0, "on_train_batch_end"), (2, "on_train_batch_begin"), (1, "on_epoch_end")):
        trap = Trap()
        trap.set(left)
        assert interrupted_by(trap, lambda: fitted(model, Leaving(hook, trap)))  # noqa: B023
        model.set_weights(weights)
        model.set_training_state(*state)
        found = [*fitted(model)["own"], *model.get_weights(), model.predict(X, verbose=0)]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        model.set_weights(weights)
        model.set_training_state(*state)


@pytest.mark.more
def test_models_left_early_leave_nothing(tmp_path: Path) -> None:
    rows = np.zeros((6, 3))
    roads = [*ARGUMENTS]
    roads.remove("Report")  # half a second each

    def use() -> None:
        name, hook = roads[0], HOOKS[3 + len(roads[0]) % 6]
        roads.append(roads.pop(0))
        trap = Trap()
        trap.set(1)
        given = registry.entries("callback")[name](**ARGUMENTS[name](tmp_path))
        optimizer = gpunn.optimizers.SGD(0.1, use_ema=True)
        model = network(
            "numpy", layers.Dense(2, name="one"), layers.Dense(2, name="two"), optimizer=optimizer
        )
        both = {"validation_data": (rows, rows[:, :2]), "callbacks": [given, Leaving(hook, trap)]}
        interrupted_by(trap, lambda: model.fit(rows, rows[:, :2], 3, 6, 0, **both))

    assert_leaves_nothing(use, len(roads), None, first=len(roads))


# -- estimators


def estimators() -> dict[str, Callable[..., Any]]:
    sklearn = pytest.importorskip("gpunn.sklearn")
    known = {"hidden_layer_sizes": (3,), "epochs": 4, "random_state": 1, "batch_size": 4}
    return {
        name: partial(getattr(sklearn, name), **known)
        for name in sklearn.__all__ if "Auto" not in name and "Search" not in name
    }  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"early_stopping": True, "validation_split": 0.3}], ids=str
)
def test_an_estimator_that_was_left_is_a_new_one(options: dict[str, Any]) -> None:
    for name, make in estimators().items():
        draw, trap = random.Random(f"{name} {options}"), Trap()
        target = (X[:, 0] > 0).astype(int) if "Classifier" in name else X[:, 0]
        target[:4] = [0, 1, 0, 1]
        used = make(callbacks=Leaving("on_epoch_end", trap), **options)
        parameters = repr(used.get_params())
        fresh = make(**options).fit(X, target)
        for attempt in range(2):
            trap.set(draw.randint(0, 2), LEAVING[attempt])
            assert interrupted_by(trap, lambda: used.fit(-X, target))  # noqa: B023
            assert repr(used.get_params()) == parameters
            used.fit(X, target)
            found, wanted = ([m.predict(X), m.loss_curve_, m.n_iter_] for m in (used, fresh))
            assert plain(found) == plain(wanted), name
