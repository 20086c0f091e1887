"""Read tables from files as columns of strings: CSV and its variants, Parquet, Excel."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from gpunn.common.names import first_few
from gpunn.common.numeric.columns import objects_of
from gpunn.feeding.frames import each_column

from .cells import MISSING, is_number
from .csv_pieces import TableError, pieces
from .notation import TRAINED, Notation, notations
from .strings import Strings
from .values import text_of, told_by_type

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}  # ties: the first
BLANK = " "  # any number of blanks and tabs
_SAID = re.compile(r'"?sep=(.)"?,*\s*')  # the first line of files for Excel
MAX_COLUMNS = 10_000  # by default
BEGINNING = 1 << 20  # characters that decide the separator
LOOKED_AT = 200  # rows that decide the separator
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass
class Table:
    """Columns of strings.

    Attributes:
        names: names of the columns, all different.
        columns: cells of each column, stripped of surrounding blanks.
        decimal: the decimal separator of all columns, ``"."`` or ``","``, if it is given; None if
            the cells decide.
        notes: how the file was read, where that was guessed.
        separator: what separates cells in the file.
        is_said: whether the file's first line says that.
        encoding: of the file, with its mark if it has one.
        types: what a column's type says that it holds, by name: see `told_by_type`.
    """

    path: str
    names: list[str]
    columns: Sequence[Sequence[str]]
    decimal: str | None = None
    notes: list[str] = field(default_factory=list)
    separator: str = ","
    is_said: bool = False
    encoding: str = "utf-8"
    types: dict[str, str] = field(default_factory=dict)

    def notation_of(self, name: str, trained: str = "") -> Notation:
        """Return how the numbers of a column are written.

        ``trained`` is the column's decimal separator in training, if there was one and the cells
        showed it: these cells are read as those were.

        Raises:
            TableError: if the file does not show it.
        """
        if self.decimal is not None:
            return Notation(self.decimal, True, True)
        if trained:
            return Notation(trained, True, meant=TRAINED)
        found = self._notations[name]
        if isinstance(found, TableError):
            raise found
        return found

    @cached_property
    def _notations(self) -> dict[str, Notation | TableError]:
        columns = dict(zip(self.names, self.columns, strict=True))
        return notations(self.path, columns, self.separator)

    def columns_with(self, decimal: str) -> list[str]:
        """Return the names of the columns whose cells show this decimal separator."""
        if self.decimal is not None:
            return self.names if decimal == self.decimal else []
        found = self._notations.items()
        return [name for name, notation in found if notation == Notation(decimal, True)]

    @property
    def rows(self) -> int:
        return len(self.columns[0])

    def column(self, name: str) -> Sequence[str]:
        return self.columns[self._places[name]]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def is_table(path: str) -> bool:
    """Whether a file's name has the extension of a table."""
    return os.path.splitext(path)[1].lower() in (".csv", ".tsv", ".txt", ".tab", *FRAMES)


def read_table(
    path: str | os.PathLike[str],
    header: bool | None = None,
    max_columns: int = MAX_COLUMNS,
    decimal: str | None = None,
) -> Table:
    """Read the table in a file.

    The encoding is UTF-16 or UTF-32 if the file begins with their mark or has the zero bytes of
    UTF-16, else UTF-8, else Windows-1252, which includes Latin-1's printable characters. The
    separator is the comma, semicolon, tab or bar that splits most rows into equally many cells.
    Each column has decimal points or commas: see `gpunn.apps.tables.reading.notation`. The first
    row holds the column names if it looks unlike the others.

    Args:
        path: a CSV-like file; .parquet, .xlsx and .xls need pandas or polars.
        header: whether the first row holds the names; guessed by default.
        max_columns: maximum number of columns; a table with more is rejected early.
        decimal: the decimal separator of all columns; each column's own by default.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if it is empty, or has rows of different length, too many columns, two columns
            of the same name, or no rows.
        ImportError: if it needs pandas or polars.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        start = file.read(8)
    if not start:
        raise TableError(f"{name} is empty.")
    if start.startswith((b"PAR1", b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        if start.startswith(b"PK") and os.path.splitext(name)[1].lower() not in FRAMES:
            raise TableError(f"{name} is an archive, not a table. Should it be named .xlsx?")
        table = _from_frame(name, "parquet" if start.startswith(b"PAR1") else "excel")
        _check_names(name, table.names, max_columns)
        return table
    encoding, notes = _encoding(name)
    with open(name, encoding=encoding, newline="") as file:
        first = file.readline()
        beginning = first + file.read(max(BEGINNING - len(first), 0))
    said = _SAID.fullmatch(first)
    if said is not None:
        beginning = beginning[len(first) :]
        first = beginning.partition("\n")[0]
    separator = _separator(beginning) if said is None else said[1]
    count = first.count(separator) + 1
    if count > max_columns and _cells_of(first, separator) > max_columns:
        raise TableError(_too_many(name, count, max_columns))
    parts = pieces(name, encoding, separator, skip=int(said is not None))
    top = next(parts, None)
    if top is None:
        raise TableError(f"{name} holds no rows, only line breaks.")
    head = _is_header(top) if header is None else header
    names = _names([cells[0] for cells in top]) if head else [*map(str, range(len(top)))]
    _check_names(name, names, max_columns)
    columns = [Strings(cells[head:]) for cells in top]
    for part in parts:
        for column, cells in zip(columns, part, strict=True):
            column.extend(cells)
    if not columns[0]:
        raise TableError(f"{name} has column names but no rows.")
    if separator != ",":
        notes.append(f"separated by {_called(separator)}")
    if not head:
        notes.append("no column names in the first row: columns are numbered from 0")
    encoding = encoding[:6] if encoding.startswith("utf-16") else encoding
    table = Table(name, names, columns, decimal, notes, separator, said is not None, encoding)
    if commas := table.columns_with(","):
        some = f" in {first_few(commas, 5)}" if table.columns_with(".") else ""
        notes.append(f"decimal commas{some}")
    return table


def _called(separator: str) -> str:
    return "blanks" if separator == BLANK else SEPARATORS.get(separator, repr(separator))


def _encoding(name: str) -> tuple[str, list[str]]:
    """Return the encoding of a file, and how it was guessed."""
    with open(name, "rb") as file:
        start = file.read(2000)
    size = os.path.getsize(name)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            if (error := _undecodable(name, encoding)) is not None:
                raise TableError(f"{name} is not valid {encoding.upper()}: {error}.")
            return encoding, [] if encoding == "utf-8-sig" else [f"read as {encoding.upper()}"]
    zeros = [start[i::2].count(0) for i in (0, 1)]
    if max(zeros) > 0.4 * len(start) / 2 and size % 2 == 0:
        encoding = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        if _undecodable(name, encoding) is None:
            return encoding, ["read as UTF-16, guessed from its zero bytes"]
    with open(name, "rb") as file:
        if any(b"\0" in block for block in iter(partial(file.read, 1 << 20), b"")):
            raise TableError(f"{name} holds zero bytes: it is not a text file, or is damaged.")
    if (error := _undecodable(name, "utf-8")) is None:
        return "utf-8", []
    guessed = f"read as Windows-1252 (Latin-1): not valid UTF-8 at byte {error.start:,}"
    return "cp1252" if _undecodable(name, "cp1252") is None else "latin-1", [guessed]


def _undecodable(name: str, encoding: str) -> UnicodeDecodeError | None:
    """Return the error of decoding a file, with the place in the file; None if there is none."""
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    with open(name, "rb") as file:
        while True:
            block = file.read(1 << 20)
            waiting = len(decoder.getstate()[0])  # bytes of a character that the last block cut
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                error.start += done - waiting
                error.end += done - waiting
                return error
            if not block:
                return None
            done += len(block)


def _separator(text: str) -> str:
    """Choose the separator that splits most of the first rows into as many cells as the first.

    Among equals, the one that gives more numbers in a row wins, then the one that gives more
    cells, and the comma last. Blanks separate numbers if nothing else gives as many.

    >>> [_separator(text) for text in ("a;b\\n1,5;2,5\\n3,5;4,5\\n", "a\\nb\\n", " 1  2\\n3 4\\n")]
    [';', ',', ' ']
    """
    best = (0.0, 0.0, 0), ","
    start = text[:BEGINNING]
    for separator in SEPARATORS:
        if separator not in start:
            continue
        reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator)
        try:
            rows = [row for row in itertools.islice(reader, LOOKED_AT) if row]
        except csv.Error:
            continue
        if len(rows) > 1 and len(text) >= BEGINNING and len(rows) < LOOKED_AT:
            rows.pop()  # a truncated row
        if not rows or len(rows[0]) == 1:
            continue
        equal = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        quality = round(equal, 1), _numbers_each(rows[1:])
        best = max(best, ((*quality, len(rows[0])), separator), key=lambda found: found[0])
    if best[1] != ",":
        return best[1]
    # Commas that split the rows may be decimal commas.
    return BLANK if _is_split_by_blanks(start, best[0][1] if best[0][0] else 0.0) else ","


def _numbers_each(rows: Sequence[Sequence[str]]) -> float:
    """Return how many numbers rows have on average."""
    return round(sum(map(is_number, itertools.chain(*rows))) / max(len(rows), 1), 2)


def _is_split_by_blanks(text: str, least: float) -> bool:
    """Whether blanks split all of the first rows into as many cells, most of them numbers, and give
    more numbers in a row than ``least``."""
    rows = [line.split() for line in text.splitlines()[: LOOKED_AT - 1] if line.strip()]
    same = len({len(row) for row in rows}) == 1 and len(rows) > 1 and len(rows[0]) > 1
    if not same or '"' in text or _numbers_each(rows[1:]) <= least:
        return False
    return _share_of_numbers(itertools.chain(*rows)) > 0.5


def _cells_of(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:  # which `_rows` reports
        return 0


def _is_header(columns: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names: strings above numbers, or strings that do not recur.

    >>> _is_header([["", "0", "1"], ["a", "x", "y"], ["1990", "1.5", "2.5"]])
    True
    >>> _is_header([["5.1", "4.9"], ["setosa", "setosa"]]), _is_header([["", "0"], ["0", "1.5"]])
    (False, True)

    A name may recur as a value if enough other strings stand above numbers:

    >>> _is_header([["a", "1", "3"], ["b", "2", "4"], ["x", "x", "y"]])
    True
    """
    first = [cells[0] for cells in columns]
    below = [cells[1 : LOOKED_AT * 10] for cells in columns]
    strings = [i for i, cell in enumerate(first) if cell and not is_number(cell)]
    if not below[0]:
        return len(strings) == len(first)
    if not strings:  # numbers as names, as pandas writes a DataFrame without names
        numbers = [cell for cell in first if cell]
        return first[0] == "" and numbers == [str(i) for i in range(len(first) - 1)]
    numeric = [cell for cell in first if cell and is_number(cell)]
    over_numbers = (i for i in strings if _share_of_numbers(below[i]) > 0.5)
    again = sum(first[i] in below[i] for i in strings)
    if again:
        return not numeric and len([*itertools.islice(over_numbers, again + 1)]) > again
    if not numeric or any(True for _ in over_numbers):
        return True
    return len(set(numeric)) == len(numeric) and all(cell.isdecimal() for cell in numeric)


def _share_of_numbers(cells: Iterable[str]) -> float:
    known = [cell for cell in cells if cell.lower() not in MISSING]
    return sum(map(is_number, known)) / len(known) if known else 0.0


def _names(cells: Sequence[str]) -> list[str]:
    """Return the names in a header, with pandas' default names for unnamed columns.

    >>> _names(["", " a ", ""])
    ['Unnamed: 0', 'a', 'Unnamed: 2']
    """
    return [cell.strip() or f"Unnamed: {i}" for i, cell in enumerate(cells)]


def _check_names(path: str, names: Sequence[str], most: int) -> None:
    if len(names) > most:
        raise TableError(_too_many(path, len(names), most))
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        places.setdefault(name, []).append(number)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    if twice:
        name, where = next(iter(twice.items()))
        raise TableError(
            f"{path}: {len(where)} columns are named {name!r} (numbers "
            f"{', '.join(map(str, where[:5]))}): rename or remove all but one."
        )


def _too_many(path: str, count: int, most: int) -> str:
    return (
        f"{path} has {count:,} columns in its first row, but --max-columns is {most:,}. Is it a "
        f"table with a row for each sample?"
    )


# -- frames

FRAMES = (".parquet", ".xlsx", ".xls", ".xlsm", ".ods")


def _from_frame(name: str, kind: str) -> Table:
    """Read a file with pandas or polars, with values as the strings that a CSV file would have."""
    frame: Any = None
    for library in ("pandas", "polars"):
        try:
            module = __import__(library)
            # By default pandas converts a sheet's strings to numbers, and "None" to missing.
            as_written = {"dtype": object, "keep_default_na": False, "na_values": [""]}
            options = as_written if (kind, library) == ("excel", "pandas") else {}
            frame = getattr(module, f"read_{kind}")(name, **options)
        except ImportError:
            continue
        except Exception as error:  # a damaged file may raise any error
            raise TableError(f"{name} cannot be read by {library}: {error}") from None
        break
    if frame is None:
        raise ImportError(
            f"{name}: {kind.capitalize()} files need pandas or polars: pip install "
            f'"gpunn[tables]". Or save it as CSV.'
        )
    if not len(frame) or not len(frame.columns):
        raise TableError(f"{name} has no rows.")
    found = table_of(frame, name, [f"read by {library}"])
    if kind == "excel":  # whose cells have types, but no columns
        found.types = {}
    return found


def table_of(frame: Any, path: str, notes: Sequence[str] = ()) -> Table:
    """Return the table in a frame of pandas, polars or Arrow; ``path`` is what messages call it."""
    given = [*each_column(frame)]
    names, columns = _names([name for name, _ in given]), [column for _, column in given]
    types = dict(zip(names, map(told_by_type, columns), strict=True))
    cells = [Strings(map(text_of, objects_of(column))) for column in columns]
    return Table(path, names, cells, ".", [*notes], types=types)
