"""Change the learning rate between epochs, or find one before training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from gpunn.common.arguments import (
    check_below_one,
    check_count,
    check_integer,
    check_not_negative,
    check_number,
    check_positive,
    requirement,
)
from gpunn.common.fields import field
from gpunn.common.names import warn
from gpunn.common.signatures import signature
from gpunn.common.stored import Integer, Number
from gpunn.saving.own_state import load_own_state, own_state

from .callback import Callback, Logs, state
from .model_checkpoint import ModelCheckpoint
from .monitor import _MonitorCallback, check_min_delta, check_mode

_check_factor = requirement(
    "at least 0 and below 1", lambda value: 0 <= check_number("factor", value) < 1
)


class LearningRateScheduler(Callback):
    """Sets ``optimizer.learning_rate = schedule(epoch, learning_rate)`` before each epoch.

    Args:
        schedule: function of the epoch (from 0) and the current rate that returns the new one,
            or of the epoch alone, such as those in `gpunn.optimizers.schedules`.
        verbose: 1 prints the rate.

    Raises:
        ValueError: if ``schedule`` returns something that is not a float.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import LearningRateScheduler
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> halve.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5)))
    >>> halve.on_epoch_begin(0)
    >>> halve.model.optimizer.learning_rate
    0.25
    """

    schedule: Callable[..., float] = field()
    verbose: int = field(default=0)
    _set_for: int | None = state(Integer(or_none=True))

    def __post_init__(self) -> None:
        self._takes_rate = _takes_two(self.schedule)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if epoch == self._set_for:  # resumed in the middle of this epoch
            return
        optimizer = self.model.optimizer
        present = (float(optimizer.learning_rate),) if self._takes_rate else ()
        rate = self.schedule(epoch, *present)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"schedule must return a float; got {rate!r} for epoch {epoch}.")
        optimizer.learning_rate = rate = float(rate)
        self._set_for = epoch
        if self.verbose > 0:
            self._print(f"Epoch {epoch + 1}: learning rate {rate:.6g}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class ReduceLROnPlateau(_MonitorCallback):
    """Multiplies the learning rate by ``factor`` after ``patience`` epochs without improvement.

    Args:
        monitor, patience, mode, min_delta: as for `EarlyStopping`.
        factor: below 1.
        verbose: 1 prints the new rate.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lower bound of the rate.

    Raises:
        TypeError: when training begins, if a schedule computes the learning rate.
        ValueError: likewise for a figure whose direction is unknown.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import ReduceLROnPlateau
    >>> reduce = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1)
    >>> optimizer = SimpleNamespace(learning_rate=0.5, fixed_learning_rate=0.5)
    >>> reduce.set_model(SimpleNamespace(optimizer=optimizer))
    >>> reduce.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     reduce.on_epoch_end(epoch, {"loss": loss})
    >>> optimizer.learning_rate
    0.25
    """

    monitor: str = field(default="val_loss")
    factor: float = field(default=0.1, check=_check_factor)
    patience: int = field(default=10, check=check_count)
    verbose: int = field(default=0)
    mode: str = field(default="auto", check=check_mode)
    min_delta: float = field(default=1e-4, check=check_min_delta)
    cooldown: int = field(default=0, check=check_count)
    min_lr: float = field(default=0.0, check=check_not_negative)
    best: float | None = state(Number(or_none=True))
    wait: int = state(Integer(), 0)
    cooldown_counter: int = state(lambda self: Integer(0, self.cooldown), 0)

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.model.optimizer.fixed_learning_rate is None:
            raise TypeError(
                "ReduceLROnPlateau: this optimizer was created with a LearningRateSchedule, "
                "which computes the rate for each update. Use one or the other."
            )
        self._direction()  # raises now if it is unknown
        self._reset()

    def in_cooldown(self) -> bool:
        """Whether the last reduction was less than ``cooldown`` epochs ago."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        if isinstance(logs, dict):
            logs["learning_rate"] = rate
        value = self._value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self._reduce(epoch, max(rate * self.factor, self.min_lr))

    def _reduce(self, epoch: int, rate: float) -> None:
        self.model.optimizer.learning_rate = rate
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            self._print(
                f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate:.6g}."
            )


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether the function accepts two arguments; assumed if its signature is unknown."""
    try:
        signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


LEAST_STEPS = 10  # a shorter curve is mostly noise
NOISE = 1e-6  # of the loss: a smaller fall from step to step is rounding
START = 0.1  # of the steps: means of so few losses are not smooth yet

_check_diverged = requirement("above 1", lambda value: check_number("diverged", value) > 1)


class LearningRateFinder(Callback):
    """Trains with rates that grow from step to step, proposes a rate, and restores the model.

    The rate of step k is ``start * (end / start) ** (k / (steps - 1))``. The losses are smoothed
    by a moving average: ``mean = smoothing * mean + (1 - smoothing) * loss``, divided by
    ``1 - smoothing ** (k + 1)``. Training stops after ``steps`` steps, or when this average is
    ``diverged`` times the best one, or not finite. The first tenth of the steps, whose averages are
    of few losses, count for neither this nor the proposals. Then weights, the state of the
    optimizer, its rate and the random state are what they were before, bit by bit. The history of
    this `fit` has the loss of the last batch alone.

    The range test is by Smith, "Cyclical Learning Rates for Training Neural Networks", 2017; the
    figures and the two proposals are those of fastai's ``lr_find``.

    Args:
        start: the first rate.
        end: the last rate.
        steps: number of batches to train on, at least 10.
        smoothing: of the losses, at least 0 and below 1.
        diverged: training stops when the smoothed loss is so many times the best one.
        verbose: 1 prints the proposals.

    Attributes:
        rates: the rates of the steps that were done, a list.
        losses: the smoothed losses of these steps, a list.
        suggestion: a rate in the middle of the longest fall of the smoothed loss, ``valley`` of
            fastai; None if it never falls.
        steepest: the rate at which the smoothed loss falls steepest, ``steep`` of fastai, likewise;
            a jump of the loss moves it more.

    Raises:
        TypeError: when training begins, if a schedule computes the learning rate.
        ValueError: when training begins, if `fit` has fewer steps, or another callback saves the
            model or the state of the training; when it ends, if the data had fewer batches than
            expected.

    >>> import numpy as np
    >>> import gpunn
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> before = model.get_weights()[0]
    >>> finder = gpunn.callbacks.LearningRateFinder(verbose=0)
    >>> _ = model.fit(x, 3 * x, batch_size=16, epochs=25, verbose=0, callbacks=[finder])
    >>> 1e-4 < finder.suggestion < 1, bool(before == model.get_weights()[0])
    (True, True)
    >>> model.optimizer.learning_rate = finder.suggestion
    """

    saves_states = True  # it needs all that a checkpoint holds, and restores it
    _puts_back = True

    start: float = field(default=1e-7, check=check_positive)
    end: float = field(default=10.0, check=check_positive)
    steps: int = field(
        default=100, check=lambda name, value: check_integer(name, value, LEAST_STEPS, None)
    )
    smoothing: float = field(default=0.98, check=check_below_one)
    diverged: float = field(default=4.0, check=_check_diverged)
    verbose: int = field(default=1)
    # Not annotated: they are results.
    rates = cast("list[float]", ())
    losses = cast("list[float]", ())
    suggestion = cast("float | None", None)
    steepest = cast("float | None", None)
    _restore = cast("Any", None)  # puts back what was there before, until `fit` is over
    _over = False

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"end must be above start={self.start!r}; got {self.end!r}.")
        if not math.isfinite(self.end / self.start):
            raise ValueError(f"end / start must be finite; got {self.end!r} / {self.start!r}.")

    def on_train_begin(self, logs: Logs = None) -> None:
        model, params = self.model, self.params or {}
        if not model.built:
            raise ValueError(
                "LearningRateFinder needs a built model: give it an Input layer or call it on a "
                "batch."
            )
        if model.optimizer.fixed_learning_rate is None:
            raise TypeError(
                "LearningRateFinder: this optimizer was created with a LearningRateSchedule, which "
                "computes the rate for each update. Compile the model with a number to find a "
                "rate, then with a schedule that reaches it."
            )
        savers = (c for c in self.together if c.saves_states or isinstance(c, ModelCheckpoint))
        others = [type(c).__name__ for c in savers if c is not self]
        if others:
            raise ValueError(
                f"LearningRateFinder restores the model when fit ends, so {others[0]} would keep a "
                f"state that is gone: use them in different calls of fit."
            )
        of_epoch, first = params.get("steps"), params.get("initial_epoch", 0)
        if of_epoch and of_epoch * (params["epochs"] - first) < self.steps:
            raise ValueError(
                f"LearningRateFinder needs {self.steps} batches, and this fit has "
                f"{of_epoch * (params['epochs'] - first)}: pass epochs="
                f"{first + math.ceil(self.steps / of_epoch)}, a smaller batch_size, or "
                f"LearningRateFinder(steps=...) of at least {LEAST_STEPS}."
            )
        self.rates, self.losses = [], []
        self.suggestion = self.steepest = None
        self._first = int(START * self.steps)
        self._mean, self._best, self._over = 0.0, math.inf, False
        self._growth = (self.end / self.start) ** (1 / (self.steps - 1))
        weights, state, own = model.get_weights(), model.training_state(), own_state(model)

        def restore() -> None:
            model.set_weights(weights)
            model.set_training_state(*state)
            load_own_state(model, own)

        self._restore = restore

    def next_train_batch(self, batch: int) -> int | None:
        return None if self._over else batch

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.reset_metrics()  # the logs are of this batch alone
        self.model.optimizer.learning_rate = self.start * self._growth ** len(self.rates)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            raise ValueError(
                "LearningRateFinder needs the loss of each batch: let train_step return it as "
                "{'loss': ...}."
            )
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.losses.append(self._mean / (1 - self.smoothing ** len(self.rates)))
        calm = math.isfinite(self.losses[-1])
        if calm and len(self.rates) > self._first:
            self._best = best = min(self._best, self.losses[-1])
            # For a best loss below 0, the distance between the two is what is compared.
            calm = self.losses[-1] - best <= (self.diverged - 1) * abs(best)
        if not calm or len(self.rates) == self.steps:
            self._over = self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        self._restore()
        if not self._over and not self.model.stop_training:
            raise ValueError(
                f"LearningRateFinder needs {self.steps} batches, and the data had "
                f"{len(self.rates)}: pass more epochs, or LearningRateFinder(steps=...) of at "
                f"least {LEAST_STEPS}. The model is as it was before."
            )
        self._propose()
        if self.suggestion is None:
            warn(
                "LearningRateFinder: the loss does not fall at any rate, so there is no "
                "suggestion. Check the data and the loss, or try another range of rates."
            )
        elif self.verbose > 0:
            self._print(
                f"Suggested learning rate: {self.suggestion:.2g}, the middle of the longest fall "
                f"of the loss. It is steepest at {self.steepest:.2g}."
            )

    def release(self) -> None:
        """Restore the model, however `fit` ended, and whatever other callbacks did at its end."""
        if self._restore is not None:
            self._restore()
            self._restore = None

    def _propose(self) -> None:
        losses, rates = np.array(self.losses[self._first :]), self.rates[self._first :]
        finite = np.isfinite(losses)
        if finite.sum() < 2:
            return
        losses = losses[: int(finite.sum())]  # only the last one can be another
        slopes = np.diff(losses)  # the rates are equally spaced by their logarithms
        if slopes.min() < -NOISE * abs(losses[0]):
            self.suggestion = rates[_valley(losses)]
            self.steepest = rates[int(slopes.argmin())]


def _valley(losses: np.ndarray) -> int:
    """Return the middle of the second third of the longest decreasing subsequence, as fastai."""
    lengths = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        longer = lengths[:i][losses[:i] > losses[i]]
        lengths[i] = 1 + longer.max(initial=0)
    last = int(lengths.argmax())
    first = last - int(lengths[last])
    third = (last - first) / 3
    return max(0, first) + int(third) + int(third / 2)
