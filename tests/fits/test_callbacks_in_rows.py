"""Each registered callback in several fits: used again, it acts as a new one, or only watches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import registered
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers
from gpunn.common import registry

RANDOM = np.random.default_rng(4)
X, Y = RANDOM.normal(size=(26, 3)), RANDOM.integers(0, 2, 26)
VALIDATION = X[20:], Y[20:]
# The arguments of those that need some, in a folder and for a model. Others get none.
ARGUMENTS: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    "BackupAndRestore": lambda folder, model: {"backup_dir": folder / "backup"},
    "CSVLogger": lambda folder, model: {"filename": folder / "log.csv"},
    "EarlyStopping": lambda folder, model: {"restore_best_weights": True, "min_delta": 0.02},
    "GradientMonitor": lambda folder, model: {"frequency": 2, "verbose": 0},
    "LearningRateFinder": lambda folder, model: {"steps": 12, "start": 0.01, "verbose": 0},
    "LearningRateScheduler": lambda folder, model: {"schedule": lambda epoch, rate: 0.7 * rate},
    "ModelCheckpoint": lambda folder, model: {"filepath": folder / "model.gpunn", "save_freq": 3},
    "OptunaPruning": lambda folder, model: {"trial": optuna.trial.FixedTrial({})},
    "PathRecorder": lambda folder, model: {"weights": [("dense/kernel", (0, 0))]},
    "ReduceLROnPlateau": lambda folder, model: {"patience": 1, "min_delta": 0.3, "cooldown": 1},
    "Report": lambda folder, model: {"filepath": folder / "report.html"},
    "StopAfter": lambda folder, model: {"updates": 7},
    "StopAtTarget": lambda folder, model: {"monitor": "accuracy", "target": 0.3},
    "StopOnSmallChange": lambda folder, model: {"tolerance": 0.5, "patience": 1},
    "StopOnSmallGradient": lambda folder, model: {"tolerance": 10.0},
    "SwapEMAWeights": lambda folder, model: {"swap_on_epoch": True},
    "TensorBoard": lambda folder, model: {"log_dir": folder / "logs"},
}
# What they do to numbers is compared with Keras or with a loop elsewhere.
ACT = (
    "EarlyStopping", "LearningRateFinder", "LearningRateScheduler", "ReduceLROnPlateau",
    "StopAfter", "StopAtTarget", "StopOnSmallChange", "StopOnSmallGradient", "SwapEMAWeights",
)  # fmt: skip
KEEP = ("History", "ModelCheckpoint")  # as in Keras: all figures, and the best one so far
FITS: tuple[dict[str, Any], ...] = (
    {"epochs": 4, "batch_size": 6},
    # It begins with the epoch with which the first one ends.
    {"epochs": 7, "batch_size": 7, "initial_epoch": 3, "sample_weight": np.linspace(0.2, 2, 20)},
)


def model_for(name: str, backend: str) -> Any:
    gpunn.utils.set_random_seed(2)
    gpunn.backend.clear_session()  # names are numbered anew
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1, "sigmoid")],
        backend=backend, dtype="float64",
    )  # fmt: skip
    optimizer = gpunn.optimizers.SGD(0.1, momentum=0.5, use_ema=name == "SwapEMAWeights")
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def fits(
    name: str, backend: str, make: Callable[[Any], Callable[[int], list[Any]]]
) -> list[dict[str, Any]]:
    """The results of two fits of one model; ``make(model)(k)`` are the callbacks of each."""
    model, found = model_for(name, backend), []
    callbacks = make(model)
    for k, given in enumerate(FITS):
        used = callbacks(k)
        history = model.fit(
            X[:20], Y[:20], validation_data=VALIDATION, verbose=0, callbacks=used, **given
        )
        states = [c.get_state() for c in used if type(c).__name__ not in KEEP]
        values = {key: of[-len(history.epoch) :] for key, of in history.history.items()}
        found.append({
            "epochs": history.epoch, **values, "states": [s for s in states if s],
            "steps": model.optimizer.iterations, "rate": float(model.optimizer.learning_rate),
            "evaluate": model.evaluate(X, Y, batch_size=5, verbose=0),
            "weights": model.get_weights(),
        })  # fmt: skip
    return found


def made(name: str, folder: Path, model: Any) -> Any:
    given = ARGUMENTS.get(name, lambda folder, model: {})(folder, model)
    return registry.entries("callback")[name](**given)


def assert_same(wanted: Any, found: Any, where: str = "") -> None:
    if isinstance(wanted, dict):
        assert wanted.keys() == found.keys(), where
        for key, value in wanted.items():
            if key in ("seconds", "memory", "gradients"):  # as the time allows
                continue
            assert_same(value, found[key], f"{where}/{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(wanted) == len(found), where
        for k, value in enumerate(wanted):
            assert_same(value, found[k], f"{where}/{k}")
    elif wanted is None or isinstance(wanted, str):
        assert wanted == found, where
    else:
        assert_allclose(found, wanted, rtol=1e-10, atol=1e-13, err_msg=where)


@functools.cache
def without(name: str, backend: str) -> list[dict[str, Any]]:
    return fits(name, backend, lambda model: lambda k: [])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.more] if name == "TensorBoard" else [])
        for name in registered.names("callback")
    ],
)  # whose import takes seconds
def test_used_again_it_acts_as_a_new_one(name: str, backend: str, tmp_path: Path) -> None:
    def same(model: Any) -> Any:
        callback = made(name, tmp_path / "same", model)
        return lambda k: [callback]

    def new(model: Any) -> Any:
        return lambda k: [made(name, tmp_path / f"new {k}", model)]

    for folder in ("same", "new 0", "new 1"):
        (tmp_path / folder).mkdir()
    again = fits(name, backend, same)
    assert_same(fits(name, backend, new), again)
    plain = without("SwapEMAWeights" if name == "SwapEMAWeights" else "", backend)
    if name in ACT:
        assert any(len(a["epochs"]) < len(b["epochs"]) or a["loss"] != b["loss"]
                   or a["val_loss"] != b["val_loss"]
                   for a, b in zip(again, plain, strict=True))  # fmt: skip
        return
    for a, b in zip(again, plain, strict=True):
        assert_same({**b, "states": a["states"]}, a)
