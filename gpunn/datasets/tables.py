"""Read the rows of a CSV file, or report what is wrong with it."""

from __future__ import annotations

import codecs
import csv
import io
import os

from .idx import DataFileError

__all__ = ["read_rows"]

_OTHERS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_rows(path: str | os.PathLike[str], separators: str = ",;\t") -> list[list[str]]:
    """Return the non-empty rows of a CSV file in UTF-8.

    Args:
        path: the file.
        separators: candidates; the one that occurs most often in the first line is used.

    Raises:
        DataFileError: the file is not such a text.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        data = file.read()
    for mark, encoding in _OTHERS.items():
        if data.startswith(mark):
            raise DataFileError(f"{name} is encoded in {encoding}: save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{name} is not valid UTF-8 (byte 0x{data[error.start]:02x} at {error.start:,}); is "
            f"it Latin-1? Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise DataFileError(f"{name} holds NUL characters: it is not a CSV file, or is UTF-16.")
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(separators, key=first.count))
    try:
        return [row for row in rows if row]
    except csv.Error as error:
        raise DataFileError(
            f"{name}, after line {rows.line_num:,}: {error}. Is a quotation mark missing?"
        ) from None
