"""One line per epoch, in a file that spreadsheets can read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import Any, TextIO

from gpunn.common.arguments import check_path
from gpunn.common.atomic_files import atomic_write, make_folder_of
from gpunn.common.fields import field
from gpunn.common.stored import Integer, Several, Text

from .callback import Callback, Logs, state


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file.

    The columns are ``epoch`` and the sorted names of the first epoch's logs, with a
    ``val_`` column for each if there was no validation yet; a value that is missing
    is written as ``NA``.

    Args:
        filename: the file, in a folder that is created if it does not exist; it is written when
            the first epoch ends.
        separator: between the values.
        append: append to an existing file instead of overwriting it. Its columns stay; those that
            it lacks are added, with ``NA`` in the rows that are there.

    Raises:
        ValueError: before the training, if the file to append to is no table with a column
            ``epoch``.

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
        make_folder_of(self.filename)
        if self.append:
            self._read()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        with_header = not self._columns and not self._set_columns(logs)
        # Opened for one row at a time: nothing stays open in a run that is interrupted.
        with self._open() as file:
            rows = csv.writer(file, delimiter=self.sep)
            if with_header:
                rows.writerow(self._columns)
            values = {**logs, "epoch": epoch}
            rows.writerow([values.get(name, "NA") for name in self._columns])
            file.flush()
            self._position = file.tell()

    def _set_columns(self, logs: Mapping[str, Any]) -> bool:
        """Determine the columns; return whether the file has them, after adding what it lacks."""
        names = sorted(logs)
        if not any(name.startswith("val_") for name in names):
            names += [f"val_{name}" for name in names]
        before, ends = self._read() if self.append else ([], True)
        head = before[0] if before else []
        added = [name for name in ("epoch", *names) if name not in head]
        self._columns = head + added
        if before and (added or not ends):
            text = io.StringIO(newline="")
            rows = csv.writer(text, delimiter=self.sep)
            rows.writerow(self._columns)
            width = len(self._columns)
            rows.writerows([*row, *["NA"] * (width - len(row))] for row in before[1:])
            atomic_write(self.filename, [text.getvalue().encode()])
        return bool(before)

    def _read(self) -> tuple[list[list[str]], bool]:
        """Return the rows of the file to append to, and whether the last one is complete."""
        name = os.fspath(self.filename)
        if not os.path.isfile(name):
            return [], True
        try:
            with open(name, newline="", encoding="utf-8-sig") as file:
                text = file.read()
            lines = csv.reader(io.StringIO(text, newline=""), delimiter=self.sep)
            rows = [row for row in lines if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{name} is no table in UTF-8: {error}. Use another file.") from None
        head = rows[0] if rows else ["epoch"]
        if "epoch" not in head:
            raise ValueError(
                f"{name} has no column 'epoch': it begins with {text.splitlines()[0]!r:.80}, read "
                f"with separator={self.sep!r}. Give the file's separator, or another file."
            )
        for column in head:
            if head.count(column) > 1:
                raise ValueError(f"{name} has the column {column!r} twice. Use another file.")
        for number, row in enumerate(rows, 1):
            if len(row) > len(head):
                raise ValueError(
                    f"{name}: line {number} has {len(row)} cells below {len(head)} headers. "
                    f"Correct it, or use another file."
                )
        return rows, text.endswith("\n")

    def _open(self) -> TextIO:
        keep = self._position is not None or self.append
        file = open(self.filename, "a" if keep else "w", newline="", encoding="utf-8")  # noqa: SIM115
        if self._position is not None and file.tell() > self._position:
            file.truncate(self._position)  # rows that the resumed run will write again
            file.seek(0, os.SEEK_END)
        return file
