"""One line an epoch in a file that spreadsheets read."""

from __future__ import annotations

import csv
import os
from typing import TextIO

from gpunn.common.stored import Integer, Kept, Several, Text

from .callback import Callback, Logs


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file.

    The columns are ``epoch`` and the sorted names of the first epoch's logs, with a
    ``val_`` column for each if there was no validation yet; a value that is missing
    is written as ``NA``.

    Args:
        filename: the file; it is written when the first epoch ends.
        separator: between the values.
        append: add to a file that exists, instead of overwriting it.
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self._columns: list[str] = []
        self._position: int | None = None  # end of the last complete row, in bytes

    def on_train_begin(self, logs: Logs = None) -> None:
        self._columns = []
        self._position = None

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

    def keeps(self) -> dict[str, Kept]:
        return {
            "_position": Integer(or_none=True),
            "_columns": Several(Text()),
        }
