"""Vocabularies in text files, with one entry per line."""

from __future__ import annotations

import codecs
import os

MARKS = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}


def lines_of(path: str | os.PathLike[str], encoding: str = "utf-8") -> list[str]:
    """Return the lines of a text file, which end at ``\\n`` or ``\\r\\n`` and nowhere else.

    Other characters that Unicode counts as ends of lines occur inside of words. A byte order mark
    is no part of the first line.

    Args:
        path: The file.
        encoding: Its encoding.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another encoding, naming the line.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no file {name}: a vocabulary is a list of entries, or the path of a file "
            f"with one on each line."
        ) from None
    if codecs.lookup(encoding).name == "utf-8":
        for mark, found in MARKS.items():
            if data.startswith(mark):
                raise ValueError(f"{name} is encoded in {found}. Save it as UTF-8.")
        data, encoding = data.removeprefix(codecs.BOM_UTF8), "UTF-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line:,} of {name} is not valid {encoding}: byte 0x{data[error.start]:02x}. "
            f"Save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise ValueError(f"{name} holds NUL characters: is it UTF-16? Save it as UTF-8.")
    lines = text.split("\n")
    if not lines[-1]:  # the end of the last line
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
