"""Stop training: without improvement, on small changes, at a target, or after a limit.

`EarlyStopping` watches generalisation: rows held out by ``validation_split`` never take
part in an update.
"""

from __future__ import annotations

import math
import time
from typing import cast

import numpy as np

from gpunn.common.arguments import (
    check_count,
    check_flag,
    check_not_negative,
    check_number,
    check_positive_integer,
    optional,
)
from gpunn.common.fields import field
from gpunn.common.stored import Arrays, FieldSchema, Integer, Number, Text
from gpunn.core.by_rows import complete_gradients

from .callback import Callback, Logs, state
from .monitor import _MonitorCallback, check_min_delta, check_mode


class _Stopping(Callback):
    """Records why it stopped: ``reason``, None if it did not, and ``stopped_epoch``."""

    verbose = 0
    reason: str | None = state(Text(or_none=True))
    stopped_epoch: int = state(Integer(), 0)
    _epoch = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def _stop(self, reason: str) -> None:
        if self.reason is None:
            self.reason, self.stopped_epoch = reason, self._epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.reason is not None and self.verbose > 0:
            self._print(f"Epoch {self.stopped_epoch + 1}: {self.reason}, stopped.")


class StopOnSmallChange(_Stopping, _MonitorCallback):
    """Stops when ``monitor`` changed by less than ``tolerance`` from one epoch to the next.

    With ``monitor="loss"`` and a mean squared error this is the criterion of Haykin,
    "Neural Networks and Learning Machines", 2009, section 4.4: the absolute rate of change
    of the average squared error per epoch is small enough. For errors between 0 and 1, the
    tolerance is typically 0.01 to 0.1; in per cent, 0.1 to 1. A plateau looks the same as
    the end.

    Args:
        monitor: name of the watched figure.
        tolerance: smaller changes count as small.
        relative: whether changes are in per cent of the value of the previous epoch.
        patience: number of consecutive epochs in which the change must be small.
        verbose: 1 prints why it stopped.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import StopOnSmallChange
    >>> stop = StopOnSmallChange(tolerance=0.05)
    >>> stop.set_model(SimpleNamespace(stop_training=False))
    >>> stop.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.375]):
    ...     stop.on_epoch_begin(epoch); stop.on_epoch_end(epoch, {"loss": loss})
    >>> stop.model.stop_training, stop.stopped_epoch, stop.reason
    (True, 2, 'loss changed by 0.025, less than 0.05')
    """

    monitor: str = field(default="loss")
    tolerance: float = field(default=0.01, check=check_not_negative)
    relative: bool = field(default=False, check=check_flag)
    patience: int = field(default=1, check=check_positive_integer)
    verbose: int = field(default=0)
    _last: float | None = state(Number(or_none=True))
    wait: int = state(Integer(), 0)  # epochs of small changes

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None:
            return
        last, self._last = self._last, value
        if last is None:
            return
        change, unit = abs(value - last), ""
        if self.relative:
            change, unit = (100 * change / abs(last) if last else float(change > 0)), " %"
        self.wait = self.wait + 1 if change < self.tolerance else 0
        if self.wait >= self.patience:
            self._stop(
                f"{self.monitor} changed by {change:.3g}{unit}, less than {self.tolerance:g}{unit}"
            )


class StopAtTarget(_Stopping, _MonitorCallback):
    """Stops when ``monitor`` has reached ``target``.

    Args:
        monitor: name of the watched figure.
        target: the value to reach.
        mode: ``"min"`` (at most the target), ``"max"`` (at least) or ``"auto"`` (by the name).
        verbose: 1 prints why it stopped.

    Raises:
        ValueError: when training begins, for a figure whose direction is unknown.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import StopAtTarget
    >>> stop = StopAtTarget("val_accuracy", 0.98)
    >>> stop.set_model(SimpleNamespace(stop_training=False))
    >>> stop.on_train_begin()
    >>> stop.on_epoch_end(0, {"val_accuracy": 0.981})
    >>> stop.reason
    'val_accuracy is 0.981, the target 0.98'
    """

    monitor: str = field(default="val_accuracy")
    target: float = field(default=0.98, check=check_number)
    mode: str = field(default="auto", check=check_mode)
    verbose: int = field(default=0)

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        self._direction()  # raises now if it is unknown

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None:
            return
        if value <= self.target if self._direction() == "down" else value >= self.target:
            self._stop(f"{self.monitor} is {value:.4g}, the target {self.target:g}")


class StopOnSmallGradient(_Stopping):
    """Stops when the norm of the gradient is near zero: a minimum, a saddle or a plateau.

    Once per epoch it computes the norm of all gradients of the last batch together, as used
    in the update (after any clipping). With ``batch_size=len(x)`` this is the gradient of the
    whole cost, otherwise an estimate of it.

    Args:
        tolerance: smaller norms count as near zero.
        verbose: 1 prints why it stopped.

    Attributes:
        norm: the norm after the last epoch.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> stop = gpunn.callbacks.StopOnSmallGradient(tolerance=0.1)
    >>> history = model.fit(x, y, epochs=1000, verbose=0, callbacks=[stop])
    >>> len(history.epoch) < 1000, stop.norm < 0.1
    (True, True)
    """

    tolerance: float = field(default=1e-3, check=check_not_negative)
    verbose: int = field(default=0)
    norm = cast("float | None", None)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        storage = self.model._trainer.storage
        complete_gradients(storage)
        xp, groups = storage.backend.xp, storage.groups
        with storage.backend.stream_lock:
            squares = [xp.sum(xp.square(group.gradients, dtype="float64")) for group in groups]
            self.norm = float(sum(squares)) ** 0.5
        if self.norm < self.tolerance:
            self._stop(f"the norm of the gradient is {self.norm:.3g}, below {self.tolerance:g}")


class StopAfter(_Stopping):
    """Stops after a number of updates or of seconds, whichever comes first.

    To limit epochs, use ``fit(epochs=...)``. Training that resumes from a checkpoint
    continues counting; the time in between does not count.

    Args:
        updates: number of updates of the weights in this fit; it stops after exactly that many.
        seconds: of training, by a monotonic clock; checked ten times a second.
        verbose: 1 prints why it stopped.

    Raises:
        ValueError: if neither is given.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> stop = gpunn.callbacks.StopAfter(updates=3)
    >>> history = model.fit(x, y, batch_size=1, epochs=10, verbose=0, callbacks=[stop])
    >>> stop.reason, len(history.epoch)  # two updates an epoch
    ('3 updates are done', 2)
    """

    updates: int | None = field(default=None, check=optional(check_positive_integer))
    seconds: float | None = field(default=None, check=optional(check_not_negative))
    verbose: int = field(default=0)
    _first: int = state(Integer(), 0)  # updates before this fit
    _before = 0.0  # seconds before it resumed from a checkpoint
    _begun = 0.0
    _last_batch = cast("int | None", None)  # of this epoch, the one with the last update

    def __post_init__(self) -> None:
        if self.updates is None and self.seconds is None:
            raise ValueError("StopAfter needs updates=..., seconds=... or both.")

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        self._first = self.model.optimizer.iterations
        self._before, self._begun = 0.0, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._last_batch = None

    @property
    def needs_train_batches(self) -> bool:
        return self.updates is not None

    def next_train_batch(self, batch: int) -> int | None:
        if self.updates is None:
            return None
        if self._last_batch is None:  # the first of this epoch, or of what is left of it
            every = self.model.optimizer.steps_per_update
            left = (self._first + self.updates) * every - self.model.optimizer.steps_done
            self._last_batch = batch + max(left, 1) - 1
        return max(batch, self._last_batch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.next_train_batch(batch) == batch:
            self._stop(f"{self.updates} updates are done")

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return self._before + time.monotonic() - self._begun

    def on_train_progress(self, done: int, total: int | None) -> None:
        if self.seconds is not None and self.elapsed >= self.seconds:
            self._stop(f"{self.seconds:g} seconds have passed")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.on_train_progress(0, None)

    def keeps(self) -> dict[str, FieldSchema]:
        return {**super().keeps(), "_seconds": Number(0, finite=True)}

    @property
    def _seconds(self) -> float:
        return self.elapsed

    @_seconds.setter
    def _seconds(self, value: float) -> None:
        self._before, self._begun = value, time.monotonic()


class TerminateOnNaN(Callback):
    """Stops training after the batch whose running loss is NaN or infinite.

    It reads the loss after every batch, which slows training down.

    Args:
        raise_error: raise instead of stopping, so that `on_train_end` is not reached.

    Raises:
        RuntimeError: with ``raise_error``, naming the batch.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile(gpunn.optimizers.SGD(1e30), "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> stop = gpunn.callbacks.TerminateOnNaN()
    >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[stop])  # it diverges
    Batch 0: the loss is inf, training stops.
    >>> history.epoch
    [0, 1]
    """

    raise_error: bool = field(default=False)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: the loss is {loss} after batch {batch}.")
        self._print(f"Batch {batch}: the loss is {loss}, training stops.")
        self.model.stop_training = True


class EarlyStopping(_MonitorCallback):
    """Stops after ``patience`` epochs in which ``monitor`` did not improve.

    Args:
        monitor: name of the watched figure.
        min_delta: a smaller change does not count as an improvement.
        patience: epochs without improvement to wait for.
        verbose: 1 prints what is done.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (by the name).
        baseline: a value that must be beaten as well.
        restore_best_weights: leave the model with the weights of its best epoch. They
            are restored whenever training ends, whether it was stopped here or not.
        start_from_epoch: number of epochs to wait first.

    Raises:
        ValueError: when training begins, for a figure whose direction is unknown.

    >>> from types import SimpleNamespace
    >>> from gpunn.callbacks import EarlyStopping
    >>> stop = EarlyStopping(monitor="loss")
    >>> stop.set_model(SimpleNamespace(stop_training=False))
    >>> stop.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     stop.on_epoch_end(epoch, {"loss": loss})
    >>> stop.model.stop_training, stop.stopped_epoch
    (True, 2)
    """

    monitor: str = field(default="val_loss")
    min_delta: float = field(default=0, check=check_min_delta)
    patience: int = field(default=0, check=check_count)
    verbose: int = field(default=0)
    mode: str = field(default="auto", check=check_mode)
    baseline: float | None = field(default=None)
    restore_best_weights: bool = field(default=False)
    start_from_epoch: int = field(default=0, check=check_count)
    wait: int = state(Integer(), 0)
    stopped_epoch: int = state(Integer(), 0)
    best: float | None = state(Number(or_none=True))
    best_epoch: int = state(Integer(), 0)
    best_weights: list[np.ndarray] | None = state(
        lambda self: Arrays(lambda: self.model.get_weights(), or_none=True)
    )

    def on_train_begin(self, logs: Logs = None) -> None:
        self._direction()  # raises now if it is unknown
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self._is_improvement(value, self.best) and value == value  # NaN is never best
        if improved:
            self.best = value
            self.best_epoch = epoch
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        if improved:
            if self.baseline is None or self._is_improvement(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            epoch = self.stopped_epoch + 1
            self._print(f"Epoch {epoch}: {self.monitor} no longer improves, stopped.")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                self._print(f"Weights restored from the best epoch, {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
