"""Formatting of names and counts, and suggestions of known names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

LOOKED_AT = 1_000  # maximum number of names that a mistyped one is compared with
_taken: dict[str, Iterator[int]] = {}


def snake_case(name: str) -> str:
    """Convert ``"SparseCategoricalAccuracy"`` to ``"sparse_categorical_accuracy"``.

    >>> snake_case("ReLU6Gate"), snake_case("SGD"), snake_case("Conv2D")
    ('re_lu6_gate', 'sgd', 'conv2d')
    """
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z](?!$))", "_", name).lower()


def closest(name: str, known: list[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or an empty string.

    Of very many names only the first are compared, because it takes long.

    >>> closest("adm", ["adam", "sgd"])
    " Did you mean 'adam'?"
    """
    import difflib  # only for a message

    by_lower = {entry.lower(): entry for entry in sorted(known[:LOOKED_AT], reverse=True)}
    match = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""


def counted(number: int, noun: str, several: str | None = None) -> str:
    """Return ``number`` with its noun; the plural is ``several``, by default the noun with an s.

    >>> counted(1, "row"), counted(1200, "row"), counted(0, "class", "classes")
    ('1 row', '1,200 rows', '0 classes')
    """
    return f"{number:,} {either(number, noun, several or f'{noun}s')}"


def either(number: int, one: str, several: str) -> str:
    """Return the singular or plural form of a word for ``number`` things.

    >>> either(1, "has", "have"), either(2, "has", "have")
    ('has', 'have')
    """
    return one if number == 1 else several


def first_few(words: Iterable[str], most: int, between: str = ", ") -> str:
    """Join the first words; "..." replaces the others.

    >>> first_few(["a", "b", "c"], 2)
    'a, b, ...'
    """
    read = [*itertools.islice(words, most + 1)]
    return between.join(read if len(read) <= most else [*read[:most], "..."])


def listed(entries: Sequence[Any], most: int = 6) -> str:
    """Join the first entries, and say how many others there are.

    >>> listed([1, 2, 3], 2)
    '1, 2 and 1 more'
    """
    more = f" and {len(entries) - most:,} more" if len(entries) > most else ""
    return ", ".join(map(str, entries[:most])) + more


def unique_name(base: str) -> str:
    """Return ``base``, then ``base_1``, ``base_2``, ... in the order of the calls."""
    number = next(_taken.setdefault(base, itertools.count()))
    return f"{base}_{number}" if number else base


def forget() -> None:
    """Reset the numbers of `unique_name`."""
    _taken.clear()
