"""The rows of a CSV file, or what is wrong with it."""

from __future__ import annotations

import codecs
import csv
import io
import os

from .idx import DataFileError

__all__ = ["read_rows"]

_OTHERS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_rows(path: str | os.PathLike[str], separators: str = ",;\t") -> list[list[str]]:
    """The rows of a CSV file in UTF-8, but for empty ones.

    Args:
        path: the file.
        separators: of values; the one is taken that the first line has most of.

    Raises:
        DataFileError: the file is no such text.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        data = file.read()
    for mark, encoding in _OTHERS.items():
        if data.startswith(mark):
            raise DataFileError(f"{name} is a text in {encoding}: save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{name} is no text in UTF-8 (byte 0x{data[error.start]:02x} at {error.start:,}); is "
            f"it Latin-1? Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise DataFileError(f"{name} holds NUL characters: it is no CSV file, or one in UTF-16.")
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(separators, key=first.count))
    try:
        return [row for row in rows if row]
    except csv.Error as error:
        raise DataFileError(
            f"{name}, after line {rows.line_num:,}: {error}. Is a quotation mark missing?"
        ) from None
