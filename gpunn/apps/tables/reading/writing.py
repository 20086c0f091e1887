"""Write a table with further columns as the file that it was read from is written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from .cells import is_number
from .notation import OPEN
from .strings import Strings
from .table import BLANK, Table

FORMULAS = frozenset("=+-@\t\r")  # what a formula begins with


class Writer:
    """Writes the cells of a table as they were read, and numbers beside them in its notation.

    The separator, the encoding and Excel's line ``sep=`` are as in the table's file; tabs stand for
    blanks, since names of columns hold blanks. The decimal sign is as in most columns; else as in a
    model's training, if it is given; else the comma beside semicolons, as spreadsheets have it.

    Attributes:
        separator: what separates cells.
        decimal: the decimal separator of numbers that are added.

    >>> writer = Writer(Table("prices.csv", ["a"], [["1,5"]], separator=";"))
    >>> writer.separator, writer.cells([0.25, 3.0]), writer.cells(["elm"])
    (';', ['0,25', '3,0'], ['elm'])
    """

    def __init__(self, table: Table, trained: str = "") -> None:
        self.table = table
        self.separator = "\t" if table.separator == BLANK else table.separator
        shown = {sign: len(table.columns_with(sign)) for sign in ".,"}
        usual = "," if self.separator == ";" else "."
        most = max(shown, key=shown.__getitem__)
        self.decimal = most if shown["."] != shown[","] else trained or usual
        # Beside commas that separate cells, points are decimal points.
        self._is_clear = self.decimal == "." and self.separator == "," and not shown[","]

    def cells(self, values: Sequence[Any]) -> list[str]:
        """Return values as cells: strings, or numbers, of which no reader can take the decimal sign
        for a separator of thousands.

        >>> Writer(Table("prices.csv", ["a"], [["1,5"]])).cells([1.234, 0.5])
        ['1,2340', '0,5']
        """
        found = [*map(str, values)]
        if not isinstance(values[0] if len(values) else "", float):
            return found
        if self.decimal == ",":
            found = "\n".join(found).replace(".", ",").split("\n")
        if self._is_clear:
            return found
        return [f"{cell}0" if len(cell) < 9 and OPEN.fullmatch(cell) else cell for cell in found]

    def write_file(self, path: str, made: Mapping[str, Sequence[Any]], raw: bool = False) -> None:
        """Write the table with these columns to a file: see `write`.

        In UTF-8 with its mark, if the table's encoding lacks characters of the columns.
        """
        encoding = self.table.encoding
        texts = (value for value in itertools.chain(made, *made.values()) if isinstance(value, str))
        try:
            "".join({*texts}).encode(encoding)
        except UnicodeEncodeError:
            encoding = "utf-8-sig"
        with open(path, "w", encoding=encoding, newline="") as file:
            self.write(file, made, raw)

    def write(self, file: TextIO, made: Mapping[str, Sequence[Any]], raw: bool = False) -> None:
        """Write the table with these columns; a name that is taken gets a number.

        Strings that a spreadsheet would evaluate get an apostrophe, unless they are to be ``raw``.
        """
        if self.table.is_said:
            file.write(f"sep={self.separator}\n")
        names = [*self.table.names, *_free(made, self.table.names)]
        self._rows(file, [[name] for name in names], raw)
        done = 0
        for part in zip(*(Strings.of(c).pieces for c in self.table.columns), strict=True):
            rows = slice(done, done := done + len(part[0]))
            added = [self.cells(values[rows]) for values in made.values()]
            self._rows(file, [*part, *added], raw)

    def _rows(self, file: TextIO, columns: Sequence[list[str]], raw: bool) -> None:
        """Write the rows of columns."""
        marks = f'{self.separator}"\r\n'
        special = re.compile(f"[{re.escape(marks)}]").search
        shown = []
        for column in columns:
            cells = _safe(column, raw)
            text = "".join(cells)
            if any(mark in text for mark in marks):
                cells = [_quoted(cell) if special(cell) else cell for cell in cells]
            shown.append(cells)
        file.writelines(f"{self.separator.join(row)}\n" for row in zip(*shown, strict=True))


def _quoted(cell: str) -> str:
    return '"{}"'.format(cell.replace('"', '""'))


def _free(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return names that are free, with the lowest number that makes them so.

    >>> _free(["kind", "why"], ["kind", "kind (2)"])
    ['kind (3)', 'why']
    """
    found, known = [], set(taken)
    for name in names:
        tried = (f"{name} ({number})" for number in itertools.count(2))
        found.append(name if name not in known else next(n for n in tried if n not in known))
        known.add(found[-1])
    return found


def _safe(cells: list[str], raw: bool) -> list[str]:
    """Escape the cells that a spreadsheet would evaluate.

    >>> _safe(["=1+1", "-0.5", "-", "a"], raw=False)
    ["'=1+1", '-0.5', "'-", 'a']
    """
    text = "\n".join(["", *cells])
    if raw or not any(f"\n{mark}" in text for mark in FORMULAS):
        return cells
    computed = {cell for cell in cells if cell[:1] in FORMULAS and _computed(cell)}
    return [f"'{cell}" if cell in computed else cell for cell in cells] if computed else cells


def _computed(cell: str) -> bool:
    """Whether a cell that begins as a formula is no number."""
    try:
        value = float(cell)
    except ValueError:
        return not is_number(cell)
    return "_" in cell or value != value
