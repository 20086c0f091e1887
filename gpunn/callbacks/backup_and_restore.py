"""Resume training after a crash as if it had not happened."""

from __future__ import annotations

import os
import warnings
from typing import Any

from gpunn.common.atomic_files import leftovers
from gpunn.common.fields import field
from gpunn.saving.checkpoint import load_checkpoint, save_checkpoint
from gpunn.saving.lock import FolderLock

from .callback import Logs
from .model_checkpoint import _Saver, check_frequency


def _check_folder(name: str, value: Any) -> str:
    if not value:
        raise ValueError(
            f"Empty `{name}` argument passed: {value!r}. Give the path of a folder."
        )
    return os.fspath(value)


class BackupAndRestore(_Saver):
    """Writes checkpoints during training, and resumes from the last one if there is one.

    A checkpoint holds everything that training depends on: weights, optimizer slots,
    counters, the position in the data and the states of the other callbacks. A run that
    is killed and restarted in the same way gives bit-identical results to an
    uninterrupted one.

    Args:
        backup_dir: folder for the checkpoint, used by this run alone.
        save_freq: ``"epoch"``, or a number of batches between checkpoints.
        double_checkpoint: keep the previous checkpoint too, and fall back to it if the
            last one cannot be read.
        delete_checkpoint: delete the checkpoint when training is complete.

    Attributes:
        path: the checkpoint's file, whether or not it exists.

    Raises:
        ValueError: for an empty ``backup_dir``, a bad ``save_freq``, or a checkpoint that
            is damaged or does not fit the model or the callbacks.
        RuntimeError: when training begins, if another active run, in this process or another,
            uses the folder.

    >>> import gpunn, os, tempfile
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> backup = gpunn.callbacks.BackupAndRestore(folder.name, delete_checkpoint=False)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[backup])
    >>> os.path.exists(backup.path)  # what the next fit with this callback resumes from
    True
    >>> folder.cleanup()
    """

    writes = True

    saves_states = True

    backup_dir: str | os.PathLike[str] = field(check=_check_folder)
    save_freq: str | int = field(default="epoch", check=check_frequency)
    double_checkpoint: bool = field(default=False)
    delete_checkpoint: bool = field(default=True)

    def __post_init__(self) -> None:
        self.path = os.path.join(self.backup_dir, "checkpoint.gpunn")
        self._previous = os.path.join(self.backup_dir, "checkpoint.previous.gpunn")
        self._lock = FolderLock(self.backup_dir)

    def on_train_begin(self, logs: Logs = None) -> None:
        self._batches = 0
        if not self.model.built:
            raise ValueError(
                "BackupAndRestore needs a built model before training: give it an Input "
                "layer or call it on a batch."
            )
        self.take()
        self.model.get_config()  # raises now if a layer cannot be stored
        self._remove(*leftovers(self.path))
        paths = [path for path in (self.path, self._previous) if os.path.exists(path)]
        for path in paths:
            try:
                epoch, batch = load_checkpoint(path, self.model, self.together, self.params)
            except ValueError as error:
                if path == paths[-1]:
                    raise
                warnings.warn(f"{error} Resuming from the previous one.", stacklevel=2)
            else:
                if path != self.path:
                    os.replace(path, self.path)
                if self.model.stop_training:  # it was killed after a callback had stopped it
                    epoch, batch = max(epoch, (self.params or {}).get("epochs", 0)), 0
                self.model._resume_from = epoch, batch
                return

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        at = (epoch + 1, 0) if batch is None else (epoch, batch + 1)
        if self.double_checkpoint and os.path.exists(self.path):
            os.replace(self.path, self._previous)
        save_checkpoint(self.path, self.model, self.together, *at)

    def on_train_end(self, logs: Logs = None) -> None:
        if not self.delete_checkpoint:
            return
        self._remove(self.path, self._previous)
        self._lock.remove_folder()

    def take(self) -> None:
        """Lock the folder until `release`.

        Raises:
            RuntimeError: if another run has locked it.
        """
        if not self._lock.take(self.model):
            raise RuntimeError(
                f"Another run in progress keeps its checkpoints in {self.backup_dir}: give each "
                f"run its own backup_dir."
            )

    def release(self) -> None:
        self._lock.release()

    @staticmethod
    def _remove(*paths: str) -> None:
        for path in paths:
            if os.path.exists(path):
                os.remove(path)
