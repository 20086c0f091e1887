"""Save the model while it trains."""

from __future__ import annotations

import os
from collections import ChainMap
from typing import Any

from gpunn.common.names import closest
from gpunn.common.stored import MOST, Integer, Kept, Number

from .callback import Logs
from .monitor import _MonitorCallback, check_frequency


class ModelCheckpoint(_MonitorCallback):
    """Saves the model, or its weights, after each epoch or every so many batches.

    Each file is complete at any time: it is written under another name and renamed.

    Args:
        filepath: where to, any name; ``{epoch}`` (from 1), ``{batch}`` and the names of
            the logs are filled in: ``"{epoch:02d}-{val_loss:.2f}.gpunn"``.
        monitor: figure that tells the best model, for ``save_best_only``.
        verbose: 1 prints what is done.
        save_best_only: save only when ``monitor`` improved.
        save_weights_only: save the weights and not the whole model.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (by the name of ``monitor``).
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: value that the first saved model has to beat.

    Raises:
        ValueError: for a bad ``save_freq``, or a name in ``filepath`` that the logs do
            not have.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = check_frequency(save_freq)
        self._epoch = 0
        self._batches = 0  # since the last save

    @property
    def needs_train_batches(self) -> bool:
        return self.save_freq != "epoch"

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.save_best_only:
            self._direction()  # raises now if it is not known
        if not self.save_weights_only:
            self.model.get_config()  # a layer that cannot be stored shows itself now

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._batches += 1
        if self._batches == self.save_freq:
            self._batches = 0
            self._save(self._epoch, logs, {"batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs, {})

    def _save(self, epoch: int, logs: Logs, batch: dict[str, int]) -> None:
        names = ChainMap[str, Any]({"epoch": epoch + 1, **batch}, logs or {})  # type: ignore[arg-type]
        try:
            path = self.filepath.format_map(names)
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
            print(f"Epoch {epoch + 1}: saved {path}.")

    def keeps(self) -> dict[str, Kept]:
        return {
            "best": Number(or_none=True),
            "_batches": Integer(0, MOST if self.save_freq == "epoch" else self.save_freq - 1),
        }
