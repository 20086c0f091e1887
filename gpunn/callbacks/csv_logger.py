"""One line per epoch, in a file that spreadsheets can read."""

from __future__ import annotations

import csv
import os
from typing import TextIO

from gpunn.common.arguments import check_path
from gpunn.common.fields import field
from gpunn.common.stored import Integer, Several, Text

from .callback import Callback, Logs, state


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file.

    The columns are ``epoch`` and the sorted names of the first epoch's logs, with a
    ``val_`` column for each if there was no validation yet; a value that is missing
    is written as ``NA``.

    Args:
        filename: the file; it is written when the first epoch ends.
        separator: between the values.
        append: append to an existing file instead of overwriting it.

    >>> import gpunn, os, pathlib, tempfile
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "log.csv")
    >>> log = gpunn.callbacks.CSVLogger(path)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[log])
    >>> path.read_text().splitlines()[0], len(path.read_text().splitlines())
    ('epoch,loss,val_loss', 3)
    >>> folder.cleanup()
    """

    writes = True

    filename: str | os.PathLike[str] = field(check=check_path)
    separator: str = field(default=",")
    append: bool = field(default=False)
    _position: int | None = state(Integer(or_none=True))  # end of the last complete row, in bytes
    _columns: list[str] = state(Several(Text()), list)

    @property
    def sep(self) -> str:
        """Keras's name for ``separator``."""
        return self.separator

    def on_train_begin(self, logs: Logs = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        # Opened for one row at a time: nothing stays open in a run that is interrupted.
        with self._open() as file:
            rows = csv.writer(file, delimiter=self.sep)
            if not self._columns:
                names = sorted(logs)
                if not any(name.startswith("val_") for name in names):
                    names += [f"val_{name}" for name in names]
                self._columns = ["epoch", *names]
                if file.tell() == 0:
                    rows.writerow(self._columns)
            values = {**logs, "epoch": epoch}
            rows.writerow([values.get(name, "NA") for name in self._columns])
            file.flush()
            self._position = file.tell()

    def _open(self) -> TextIO:
        keep = self._position is not None or self.append
        file = open(self.filename, "a" if keep else "w", newline="", encoding="utf-8")  # noqa: SIM115
        if self._position is not None and file.tell() > self._position:
            file.truncate(self._position)  # rows that the resumed run will write again
            file.seek(0, os.SEEK_END)
        return file
