"""How the numbers of a table are written: with decimal points, or with decimal commas."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .cells import number, split_unit
from .csv_pieces import TableError
from .strings import Strings

SIGNS = {".": "points", ",": "commas"}
OTHERS = "the others have"
TRAINED = "the model was trained on"
LOOKED_AT = 400  # evenly spaced cells that decide a column's sign, unless none of them proves one
OPEN = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")  # a number with both signs
_PLAIN = re.compile(r"[+-]?(?:0|[1-9][0-9]*)([.,])[0-9]+")  # with its own sign only, if not OPEN
_DIGIT = re.compile(r"\d")


class Notation(NamedTuple):
    """How the numbers of one column are written.

    Attributes:
        decimal: the sign before the decimals.
        is_known: whether cells show it; otherwise all are the same number with both signs.
        is_given: whether the user has said it; what is no number with it is then missing.
        meant: what has this sign, in messages.
    """

    decimal: str = "."
    is_known: bool = False
    is_given: bool = False
    meant: str = OTHERS


def signs_of(cell: str) -> str:
    """Return the signs with which a cell is a number: both if they give the same number or if each
    gives another one.

    >>> signs_of("3,5"), signs_of("1.250,0"), signs_of("0.132"), signs_of("1.250"), signs_of("7 km")
    (',', ',', '.', '.,', '.,')
    >>> signs_of("x"), signs_of("1.2.3")
    ('', '')
    """
    if (found := _PLAIN.fullmatch(cell)) and not OPEN.fullmatch(cell):
        return found[1]  # as most are: a table has millions
    return "".join(decimal for decimal in SIGNS if _value(cell, decimal) is not None)


def _value(cell: str, decimal: str) -> float | None:
    found = number(cell, decimal)
    if found is None and (parts := split_unit(cell)) is not None:
        found = number(parts[1], decimal)
    return None if found is None or math.isnan(found) else found


def _has_sign(cell: str) -> bool:
    """Whether a cell may show a sign; one without a digit, such as ``n.a.``, never does."""
    return ("," in cell or "." in cell) and _DIGIT.search(cell) is not None


class Seen(NamedTuple):
    """What the cells of a column show: how many prove each sign, and the first cell that is another
    number with each sign."""

    counts: dict[str, int]
    unclear: str | None

    @property
    def decimal(self) -> str | None:
        """The sign that more cells prove; None if no cell proves one."""
        return max(self.counts, key=self.counts.__getitem__) if self.counts else None


def seen_in(cells: Sequence[str]) -> Seen:
    """Return what cells show: evenly spaced ones, and all that differ if these leave it open.

    >>> seen = seen_in(["1.250", "3,5", "x", "7"])
    >>> seen.decimal, seen.unclear
    (',', '1.250')
    """
    step = -(-len(cells) // LOOKED_AT) or 1
    some = cells[::step]
    text = "".join(some)
    seen = _seen(some if "." in text or "," in text else ())
    if seen.decimal is not None:
        return seen
    if step > 1:
        different = Strings.of(cells).having(".,")
        apart = len(different) // LOOKED_AT + 1  # they do not recur as regularly as cells may
        for some in (different[::apart], *([different] if apart > 1 else ())):
            seen = _seen(some)
            if seen.decimal is not None:
                break
    return seen


def _seen(cells: Sequence[str]) -> Seen:
    counts = dict[str, int]()
    others = [cell for cell in cells if not OPEN.fullmatch(cell)]
    is_open = len(cells) - len(others)
    unclear = next((cell for cell in cells if OPEN.fullmatch(cell)), None) if is_open else None
    signed = [(cell, signs_of(cell)) for cell in others if _has_sign(cell)]
    if sum(bool(signs) for _, signs in signed) + is_open < (len(signed) + is_open) / 2:
        return Seen({}, None)  # texts, of which some are numbers
    for cell, signs in signed:
        if len(signs) == 1:
            counts[signs] = counts.get(signs, 0) + 1
        elif signs and unclear is None and _value(cell, ".") != _value(cell, ","):
            unclear = cell
    return Seen(counts, unclear)


def notations(
    path: str, columns: Mapping[str, Sequence[str]], separator: str
) -> dict[str, Notation | TableError]:
    """Return how each column is written, or the error of one that cannot be known.

    A cell that is a number with one sign only proves its column's sign. A column without such a
    cell has the sign that all columns with one share. In a file separated by commas, points are
    meant if no column shows it.

    >>> notations("f.csv", {"x": ["950", "1.250"], "p": ["0,5", "3,5"]}, ";")["x"].decimal
    ','
    """
    seen = {name: seen_in(cells) for name, cells in columns.items()}
    proven = sorted({one.decimal for one in seen.values() if one.decimal is not None})
    found: dict[str, Notation | TableError] = {}
    for name, one in seen.items():
        if one.decimal is not None:
            found[name] = Notation(one.decimal, True)
        elif one.unclear is None:
            found[name] = Notation(proven[0] if len(proven) == 1 else ".")
        elif len(proven) == 1:
            found[name] = Notation(proven[0], True)
        elif not proven and separator == ",":
            found[name] = Notation(".", True)
        else:
            found[name] = TableError(_question(path, name, one.unclear, bool(proven)))
    return found


def _question(path: str, name: str, cell: str, are_both: bool) -> str:
    point, comma = _value(cell, "."), _value(cell, ",")
    why = "other columns are written in both ways" if are_both else "no other cell says which"
    return (
        f"{path}: {cell!r} in the column {name!r} is {point:g} with decimal points and {comma:g} "
        f"with decimal commas, and {why}. Pass --decimal . or --decimal , (in Python decimal='.' "
        f"or decimal=',')."
    )


def is_mixed(cells: Sequence[str], bad: Sequence[int], most: float) -> bool:
    """Whether at most so many cells, among those that are no numbers, are none with either sign.

    >>> is_mixed(["1,5", "2.5", "3.5", "x"], [1, 2, 3], 1), is_mixed(["1,5", "x"], [1], 0)
    (True, False)
    """
    numeric = {cell: bool(signs_of(cell)) for cell in {cells[place] for place in bad}}
    return any(numeric.values()) and sum(not numeric[cells[place]] for place in bad) <= most


def check_sign(where: str, cells: Sequence[str], bad: Sequence[int], notation: Notation) -> None:
    """Raise an error for a cell, among those that are no numbers, that is one with the other sign.

    Args:
        where: The file and the column.
        bad: The places of the cells that are no numbers as the column is written.

    Raises:
        TableError: naming cell and row.
    """
    decimal, meant = notation.decimal, notation.meant
    found: set[str] = set()  # words for nothing recur
    for place in () if notation.is_given else bad:
        if cells[place] in found:
            continue
        found.add(cells[place])
        other = signs_of(cells[place])
        if other and decimal not in other:
            whole = f", --decimal {other} if the whole file is so," if meant is not OTHERS else ""
            raise TableError(
                f"{where}: {cells[place]!r} in row {place + 1:,} has a decimal "
                f"{SIGNS[other][:-1]}; {meant} decimal {SIGNS[decimal]}. Correct it, or pass"
                f"{whole} --decimal {decimal} to count such cells as missing."
            )
