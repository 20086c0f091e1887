"""Base class of callbacks that save: when they do it."""

from __future__ import annotations

from typing import Any, cast

from gpunn.common.arguments import check_positive_integer

from .callback import Callback, Logs


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
