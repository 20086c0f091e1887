"""How names and numbers of things are written, and which known name is nearest to another."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

LOOKED_AT = 1_000  # names that a mistyped one is compared with
_taken: dict[str, Iterator[int]] = {}


def snake_case(name: str) -> str:
    """``"SparseCategoricalAccuracy"`` becomes ``"sparse_categorical_accuracy"``.

    >>> snake_case("ReLU6Gate"), snake_case("SGD"), snake_case("Conv2D")
    ('re_lu6_gate', 'sgd', 'conv2d')
    """
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z](?!$))", "_", name).lower()


def closest(name: str, known: list[str]) -> str:
    """`` Did you mean 'x'?`` for the known name nearest to ``name``, or an empty string.

    Only the first of very many names are looked at, for it takes a while.

    >>> closest("adm", ["adam", "sgd"])
    " Did you mean 'adam'?"
    """
    by_lower = {entry.lower(): entry for entry in sorted(known[:LOOKED_AT], reverse=True)}
    match = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""


def counted(number: int, noun: str, several: str | None = None) -> str:
    """``number`` with its noun; of several ``several``, by default the noun with an s.

    >>> counted(1, "row"), counted(1200, "row"), counted(0, "class", "classes")
    ('1 row', '1,200 rows', '0 classes')
    """
    return f"{number:,} {either(number, noun, several or f'{noun}s')}"


def either(number: int, one: str, several: str) -> str:
    """The form of a word that goes with ``number`` things.

    >>> either(1, "has", "have"), either(2, "has", "have")
    ('has', 'have')
    """
    return one if number == 1 else several


def unique_name(base: str) -> str:
    """``base``, then ``base_1``, ``base_2``, ... in the order of asking."""
    number = next(_taken.setdefault(base, itertools.count()))
    return f"{base}_{number}" if number else base


def forget() -> None:
    """Begin anew with the numbers of `unique_name`."""
    _taken.clear()
