"""Pruning of Optuna's trials, beside an objective that reports to Optuna by hand."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import pruners
from optuna.trial import TrialState

import gpunn
from gpunn import callbacks, layers
from gpunn.callbacks import OptunaPruning
from gpunn.datasets import toy

X, Y = toy.moons(120, noise=0.2)
EPOCHS = 6
SEEDS = 7
PRUNERS = {
    "median": lambda: pruners.MedianPruner(n_startup_trials=2),
    "later": lambda: pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3, interval_steps=2),
    "percentile": lambda: pruners.PercentilePruner(30.0, n_startup_trials=2),
    "halving": lambda: pruners.SuccessiveHalvingPruner(),
    "threshold": lambda: pruners.ThresholdPruner(0.4, 0.8),
    "none": lambda: pruners.NopPruner(),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def make(seed: int) -> gpunn.Sequential:
    with gpunn.utils.seeded(seed):
        model = gpunn.Sequential(
            [layers.Input((2,)), layers.Dense(4, "tanh"), layers.Dense(1, "sigmoid")]
        )
        model.compile(gpunn.optimizers.SGD(0.3), "binary_crossentropy", metrics=["accuracy"])
    return model


def fit(model: gpunn.Model, *watching: Any, epochs: int = EPOCHS, **arguments: Any) -> Any:
    return model.fit(
        X, Y, validation_split=0.25, epochs=epochs, verbose=0, callbacks=[*watching], **arguments
    ).history


def study(pruner: Any, direction: str = "minimize") -> optuna.Study:
    return optuna.create_study(direction=direction, pruner=pruner)


def outcomes(found: optuna.Study) -> list[Any]:
    return [(trial.state, trial.intermediate_values, trial.values) for trial in found.trials]


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize(
    ("monitor", "direction"), [("val_loss", "minimize"), ("val_accuracy", "maximize")]
)
def test_trials_are_pruned_as_by_hand(pruner: str, monitor: str, direction: str) -> None:
    values = [fit(make(seed))[monitor] for seed in range(SEEDS)]

    def by_hand(trial: optuna.Trial) -> float:
        for epoch, value in enumerate(values[trial.number]):
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(values[trial.number][-1])

    def by_fits(trial: optuna.Trial) -> float:
        history = fit(make(trial.number), OptunaPruning(trial, monitor))
        return float(history[monitor][-1])

    expected, found = study(PRUNERS[pruner](), direction), study(PRUNERS[pruner](), direction)
    expected.optimize(by_hand, n_trials=SEEDS)
    found.optimize(by_fits, n_trials=SEEDS)
    assert outcomes(found) == outcomes(expected)
    pruned = sum(trial.state == TrialState.PRUNED for trial in found.trials)
    assert pruned == 0 if pruner == "none" else 0 < pruned < SEEDS


class TestAfterPruning:
    @pytest.fixture
    def pruned(self, tmp_path: Path) -> gpunn.Sequential:
        """A model whose fit was pruned after its third epoch."""
        model = make(1)
        trial = study(pruners.ThresholdPruner(upper=0.0, n_warmup_steps=2)).ask()
        logger = callbacks.CSVLogger(tmp_path / "log.csv")
        with pytest.raises(optuna.TrialPruned, match=r"after epoch 3: val_loss is 0\.\d+"):
            fit(model, logger, OptunaPruning(trial))
        return model

    def test_the_model_is_that_of_the_epochs_it_had(self, pruned: gpunn.Sequential) -> None:
        other = make(1)
        assert pruned.history.history == fit(other, epochs=3)
        for mine, its in zip(pruned.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, its)
        assert pruned.evaluate(X, Y, verbose=0) == other.evaluate(X, Y, verbose=0)
        np.testing.assert_array_equal(pruned.predict(X, verbose=0), other.predict(X, verbose=0))
        assert fit(pruned) == fit(other)

    def test_other_callbacks_have_seen_the_last_epoch(
        self, pruned: gpunn.Sequential, tmp_path: Path
    ) -> None:
        with (tmp_path / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["val_loss"]) for row in rows] == pruned.history.history["val_loss"]

    def test_the_same_callback_takes_another_fit(self) -> None:
        trial = study(pruners.ThresholdPruner(upper=0.0)).ask()
        pruning = OptunaPruning(trial)
        with pytest.raises(optuna.TrialPruned):
            fit(make(1), pruning)
        trial.study.pruner = pruners.NopPruner()
        assert len(fit(make(1), pruning, initial_epoch=1)["loss"]) == EPOCHS - 1
        assert list(trial.storage.get_trial(trial._trial_id).intermediate_values) == [*range(6)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("pruner", ["median", "threshold", "none"])
def test_a_number_that_is_not_finite_is_left_to_optuna(value: float, pruner: str) -> None:
    def by_hand(trial: optuna.Trial) -> float:
        trial.report(0.5, 3)
        trial.report(0.5 if trial.number < 2 else value, 4)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 1.0

    def reported(trial: optuna.Trial) -> float:
        pruning = OptunaPruning(trial)
        pruning.set_model(SimpleNamespace(stop_training=False))
        pruning.on_epoch_end(3, {"val_loss": 0.5})
        pruning.on_epoch_end(4, {"val_loss": 0.5 if trial.number < 2 else value})
        pruning.on_train_end()
        return 1.0

    expected, found = study(PRUNERS[pruner]()), study(PRUNERS[pruner]())
    expected.optimize(by_hand, n_trials=3)
    found.optimize(reported, n_trials=3)
    assert str(outcomes(found)) == str(outcomes(expected))  # as text NaN equals itself


def test_a_missing_figure_warns_and_reports_nothing() -> None:
    trial = study(pruners.MedianPruner()).ask()
    model = make(0)
    with pytest.warns(UserWarning, match="accuracy, loss.* Pass validation_data to fit"):
        model.fit(X, Y, verbose=0, callbacks=[OptunaPruning(trial)])
    with pytest.warns(UserWarning, match=r"'val_acc'.*accuracy, loss, val_accuracy, val_loss"):
        fit(model, OptunaPruning(trial, monitor="val_acc"), epochs=1)
    assert not trial.storage.get_trial(trial._trial_id).intermediate_values


def test_a_second_fit_of_a_trial_is_what_optuna_warns_about() -> None:
    trial = study(pruners.MedianPruner()).ask()
    fit(make(0), OptunaPruning(trial), epochs=1)
    with pytest.warns(UserWarning, match="already reported"):
        fit(make(1), OptunaPruning(trial), epochs=1)


@pytest.mark.parametrize(
    ("monitor", "direction", "needed"),
    [("val_accuracy", "minimize", "maximize"), ("val_loss", "maximize", "minimize")],
)
def test_a_study_in_the_other_direction_is_refused(
    monitor: str, direction: str, needed: str
) -> None:
    trial = study(pruners.MedianPruner(), direction).ask()
    model = make(0)
    before = model.get_weights()
    message = f"'{monitor}' needs a study to {needed}.*; got a study to {direction}"
    with pytest.raises(ValueError, match=message):
        fit(model, OptunaPruning(trial, monitor))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_figure_of_ones_own_goes_the_way_of_the_study(direction: str) -> None:
    def gap(y_true: Any, y_pred: Any) -> Any:
        return y_pred - y_true

    trial = study(pruners.MedianPruner(), direction).ask()
    model = make(0)
    model.compile("sgd", "mse", metrics=[gap])
    history = fit(model, OptunaPruning(trial, "val_gap"))
    kept = trial.storage.get_trial(trial._trial_id).intermediate_values
    assert [*kept.values()] == history["val_gap"]


def test_several_objectives_are_refused() -> None:
    trial = optuna.create_study(directions=["minimize", "maximize"]).ask()
    with pytest.raises(ValueError, match=r"trial must be of a study with one objective.* with 2"):
        OptunaPruning(trial)
    with pytest.raises(NotImplementedError):  # as Optuna does, once an epoch is over
        trial.report(0.5, 0)


@pytest.mark.parametrize("trial", [None, 3, "trial", optuna.create_study])
def test_something_that_is_no_trial_is_refused(trial: Any) -> None:
    with pytest.raises(TypeError, match=r"trial must be an optuna\.Trial; got"):
        OptunaPruning(trial)


def test_a_fixed_trial_is_not_pruned() -> None:
    trial = optuna.trial.FixedTrial({"units": 3})
    assert len(fit(make(0), OptunaPruning(trial, "val_accuracy"))["loss"]) == EPOCHS


def test_without_optuna_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'OptunaPruning needs optuna: .* "gpunn\[optuna\]"'):
        OptunaPruning(object())


def test_its_epochs_take_the_short_way() -> None:
    trial = study(pruners.MedianPruner()).ask()
    assert callbacks.CallbackList([OptunaPruning(trial)], add_history=True).only_watch
