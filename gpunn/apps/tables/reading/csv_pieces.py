"""Read the cells of CSV-like files, column by column, a piece of the file at a time."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from operator import length_hint
from typing import TextIO

import numpy as np

CHARACTERS = 1 << 22  # of a piece
# Printable ASCII without quotation marks: lines and cells of nothing else, and of other characters
# that are no blanks, are told apart by their separators alone.
PLAIN = bytes({*range(0x20, 0x7F), *b"\t\n"} - {*b'"'})
BEYOND_ASCII = bytes(range(0x80, 0x100))

Piece = list[list[str]]  # the cells of each column


class TableError(ValueError):
    """Raised for a file that holds no table, or an unusable one."""


def pieces(path: str, encoding: str, separator: str, skip: int = 0) -> Iterator[Piece]:
    """Yield the columns of a file's rows, some rows at a time; cells are stripped of blanks.

    Empty lines are left out, and so are the first ``skip`` ones. A separator of one blank stands
    for any number of blanks and tabs, without quotation marks.

    Raises:
        TableError: if a row is not as long as the first one, or has no end.
    """
    width, rows, lines = 0, 0, skip
    with open(path, encoding=encoding, newline="") as file:
        for _ in range(skip):
            file.readline()
        while text := file.read(CHARACTERS) + file.readline():
            if separator == " ":
                text = "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())
            plain = text.replace("\r\n", "\n") if "\r" in text else text
            first = plain.partition("\n")[0]
            found = _split(plain, separator, width or first.count(separator) + 1)
            if found is not None:
                lines += plain.count("\n") + (plain[-1] != "\n")
            else:
                found, read = _parsed(text, file, separator, width, rows, lines)
                lines += read
            if found:
                width, rows = len(found), rows + len(found[0])
                yield found


def _split(text: str, separator: str, width: int) -> Piece | None:
    """Return the columns of lines without quotation marks, of the given number of cells each.

    None if the lines are otherwise, or have cells that need to be stripped.

    >>> _split("1,2\\n3,\\n", ",", 2), _split("1,2\\n3\\n", ",", 2), _split('"1",2\\n', ",", 2)
    ([['1', '3'], ['2', '']], None, None)
    """
    if width < 2 or "\n\n" in text:
        return None
    text = f"\n{text}" if text[-1] != "\n" else f"\n{text[:-1]}"
    blanks = (f"{a}{b}" for end in (separator, "\n") for a, b in ((end, " "), (" ", end)))
    if (" " in text and any(blank in text for blank in blanks)) or (
        separator != "\t" and "\t" in text
    ):
        return None
    characters = text.encode("utf-8", "surrogatepass")
    others = characters.translate(None, PLAIN)
    if others.translate(None, BEYOND_ASCII) or text[-1] == " ":
        return None
    if any(map(str.isspace, {*others.decode("utf-8", "surrogatepass")})):
        return None
    codes = np.frombuffer(characters, np.uint8)
    is_end = codes == ord("\n")
    ends = is_end[is_end | (codes == ord(separator))]
    if len(ends) % width or not ends[::width].all() or ends.sum() * width != len(ends):
        return None
    cells = text[1:].replace("\n", separator).split(separator)
    return [cells[i::width] for i in range(width)]


def _parsed(
    text: str, file: TextIO, separator: str, width: int, rows: int, lines: int
) -> tuple[Piece, int]:
    """Return the columns of any lines, and how many lines were read: some of them from the file,
    where a quotation goes on there.

    ``rows`` and ``lines`` count those before the text; ``width`` is 0 if there are none.

    Raises:
        TableError: which says where and why.
    """
    given = [*io.StringIO(text, newline="")]
    end = iter([""])  # behind the last line, where only an open quotation goes on
    source = itertools.chain(given, iter(file.readline, ""), end)
    reader = csv.reader(source, delimiter=separator)
    found: list[list[str]] = []
    try:
        while (line := reader.line_num) < len(given):
            row = next(reader, [])
            if not length_hint(end):
                raise TableError(
                    f"{file.name}: a quotation mark in the row that begins in line "
                    f"{lines + line + 1:,} has no second one. Remove it, or double it and quote "
                    f"the cell."
                )
            count = rows + len(found)
            if not row or (len(row) == 1 and not row[0].strip() and count != 1):
                continue  # an empty line
            width = width or len(row)
            if len(row) != width:
                raise TableError(
                    f"{file.name}: the row in line {lines + reader.line_num:,} has {len(row)} "
                    f"cells, the first row has {width}. Is a separator or a quotation mark missing?"
                )
            found.append(row)
    except csv.Error as error:
        raise TableError(
            f"{file.name}, after line {lines + reader.line_num:,}: {error}. Is a quotation mark "
            f"missing?"
        ) from None
    columns = [[*map(str.strip, column)] for column in zip(*found, strict=True)]
    return columns, reader.line_num
