"""Pruning of Optuna's trials: an unpromising fit ends early."""

from __future__ import annotations

from typing import Any, cast

from gpunn.common.fields import field
from gpunn.common.importing.lazy import extra
from gpunn.common.registry import is_own
from gpunn.distribution import launch
from gpunn.metrics import MeanMetricWrapper

from .callback import Logs
from .monitor import _MonitorCallback

__experimental__ = frozenset({"OptunaPruning"})


def _check_trial(name: str, value: Any) -> Any:
    trial = _optuna().trial.BaseTrial
    if not isinstance(value, trial):
        raise TypeError(f"{name} must be an optuna.Trial; got {value!r}.")
    directions = getattr(getattr(value, "study", None), "directions", ())
    if len(directions) > 1:
        raise ValueError(
            f"{name} must be of a study with one objective, since Optuna prunes no others; got one "
            f"with {len(directions)}."
        )
    return value


class OptunaPruning(_MonitorCallback):
    """Reports a figure to an Optuna trial after each epoch, and ends the fit if it is pruned.

    Optuna's pruner decides, by the trials of the study. A pruned fit stops like any other, with
    the epoch in its history, and then raises ``optuna.TrialPruned``, which ``study.optimize``
    records. The model can still be used and trained. Pass this callback last: those behind it do
    not see the end of a pruned fit. A trial accepts each epoch once: Optuna warns about a second
    fit, unless it continues with ``initial_epoch``. Needs the extra ``optuna``.

    Args:
        trial: the ``optuna.Trial`` that the objective function received.
        monitor: name of the reported figure. If an epoch lacks it, a warning lists those that it
            has, and nothing is reported. NaN and infinity are reported as they are.

    Raises:
        ImportError: if the extra is not installed.
        TypeError: if ``trial`` is not a trial.
        ValueError: for a study of several objectives; when training begins, if it runs over several
            ranks, or the study minimizes a figure of which higher is better, or the other way
            round.
        optuna.TrialPruned: when a pruned fit ends.

    >>> import optuna
    >>> from gpunn.callbacks import OptunaPruning
    >>> trial = optuna.trial.FixedTrial({"units": 8})  # is never pruned
    >>> pruning = OptunaPruning(trial, monitor="val_accuracy")
    >>> pruning.on_epoch_end(0, {"loss": 0.4, "val_accuracy": 0.9})
    """

    only_watches = True

    trial: Any = field(check=_check_trial)
    monitor: str = field(default="val_loss")
    _reason = cast("str | None", None)  # why this fit is pruned

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reason = None
        ranks = launch.current().size
        if ranks > 1:
            raise ValueError(
                f"OptunaPruning: a trial belongs to one process; got a fit over {ranks} ranks. "
                f"Call gpunn.distribution.set_distribution(None) for fits of each process alone."
            )
        study = getattr(self.trial, "study", None)  # a FixedTrial has none
        if study is None or self._is_custom():
            return
        better = {"up": "maximize", "down": "minimize"}[self._direction()]
        direction = study.direction.name.lower()
        if direction != better:
            raise ValueError(
                f"OptunaPruning: {self.monitor!r} needs a study to {better}, since another prunes "
                f"the best trials; got a study to {direction}. Pass direction={better!r} to "
                f"create_study, or another monitor."
            )

    def _is_custom(self) -> bool:
        """Whether only the user knows which values of the figure are better."""
        name = self.monitor.removeprefix("val_")
        metrics = [m.metric for m in self.model._trainer.measures if m.name == name]
        try:
            self._direction()
        except ValueError:
            return True
        return any(not is_own(m) or type(m) is MeanMetricWrapper for m in metrics)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None:
            return
        self.trial.report(value, step=epoch)
        if self.trial.should_prune():
            self._reason = f"Pruned after epoch {epoch + 1}: {self.monitor} is {value:.4g}."
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self._reason is not None:
            raise _optuna().TrialPruned(self._reason)


def _optuna() -> Any:
    return extra("optuna", "callbacks.OptunaPruning needs optuna", "optuna")
