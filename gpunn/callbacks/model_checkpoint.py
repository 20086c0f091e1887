"""Save the model during training."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from gpunn.common.arguments import check_path, check_positive_integer
from gpunn.common.fields import field
from gpunn.common.names import closest
from gpunn.common.stored import MOST, Integer, Number
from gpunn.saving.files import check_suffix

from .callback import Callback, Logs, state
from .monitor import _MonitorCallback, check_mode


def check_frequency(name: str, value: Any) -> Any:
    """Return a ``save_freq``, which must be ``"epoch"`` or a positive integer."""
    if value == "epoch":
        return value
    try:
        return check_positive_integer(name, value)
    except ValueError:
        raise ValueError(
            f"{name} must be 'epoch' or a positive number of batches; got {value!r}."
        ) from None


class _Saver(Callback):
    """Saves after each epoch or a number of batches. A subclass has a field ``save_freq``."""

    save_freq = cast("str | int", "epoch")
    _epoch = 0
    _batches = 0  # since the last save

    @property
    def needs_train_batches(self) -> bool:
        return self.save_freq != "epoch"

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._batches += 1
        if self._batches == self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        """Save after this batch, or after the epoch if it is None."""
        raise TypeError(f"{type(self).__name__} must define _save(epoch, batch, logs).")


class ModelCheckpoint(_Saver, _MonitorCallback):
    """Saves the model, or its weights, after each epoch, or after a number of batches.

    Each file is complete at any time: it is written under another name and renamed.

    Args:
        filepath: path to save to, as in `gpunn.Model.save`; ``{epoch}`` (from 1), ``{batch}`` and
            the names of the logs are filled in: ``"{epoch:02d}-{val_loss:.2f}.gpunn"``.
        monitor: figure that determines the best model, for ``save_best_only``.
        verbose: 1 prints what is done.
        save_best_only: save only when ``monitor`` improved.
        save_weights_only: save the weights and not the whole model.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (by the name of ``monitor``).
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: value that the first saved model has to beat.

    Raises:
        ValueError: for an invalid ``save_freq``, or a ``filepath`` with the suffix of another kind
            of file, or a name that the logs do not have.

    >>> import gpunn, os, tempfile
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "{epoch:02d}.gpunn")
    >>> save = gpunn.callbacks.ModelCheckpoint(path)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[save])
    >>> sorted(os.listdir(folder.name))
    ['01.gpunn', '02.gpunn']
    >>> folder.cleanup()
    """

    writes = True

    _refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("_save_model", "_should_save_model", "_should_save_on_batch", "_get_file_path"),
        "write on_epoch_end(epoch, logs), and save the model there",
    )

    filepath: str | os.PathLike[str] = field(check=check_path)
    monitor: str = field(default="val_loss")
    verbose: int = field(default=0)
    save_best_only: bool = field(default=False)
    save_weights_only: bool = field(default=False)
    mode: str = field(default="auto", check=check_mode)
    save_freq: str | int = field(default="epoch", check=check_frequency)
    initial_value_threshold: float | None = field(default=None)
    best: float | None = state(Number(or_none=True))
    _batches: int = state(
        lambda self: Integer(0, MOST if self.save_freq == "epoch" else self.save_freq - 1), 0
    )

    def __post_init__(self) -> None:
        check_suffix(self.filepath)
        self.best = self.initial_value_threshold

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.save_best_only:
            self._direction()  # raises now if it is unknown
        if not self.save_weights_only:
            self.model.get_config()  # raises now if a layer cannot be stored

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        place = {"epoch": epoch + 1} if batch is None else {"epoch": epoch + 1, "batch": batch + 1}
        names = ChainMap[str, Any](place, logs or {})  # type: ignore[arg-type]
        try:
            path = os.fspath(self.filepath).format_map(names)
        except KeyError as missing:
            raise ValueError(
                f"filepath {self.filepath!r} names {missing}, which is not among the figures "
                f"at this point: {', '.join(sorted(names))}."
                f"{closest(str(missing.args[0]), list(names))}"
            ) from None
        if self.save_best_only:
            value = self._value(logs)
            if value is not None:  # without a value to compare, the model is saved
                if not self._is_improvement(value, self.best):
                    return
                self.best = value
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose > 0:
            self._print(f"Epoch {epoch + 1}: saved {path}.")
