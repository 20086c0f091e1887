"""Columns of strings in little memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from string import punctuation
from typing import Any, TypeVar, overload

import numpy as np

PIECE = 1 << 16  # strings that are stored as one
FEW = PIECE >> 3  # different strings of a column that recurs
LOOKED_AT = 1000  # strings of a piece that tell whether they recur
T = TypeVar("T")


class Strings(Sequence[str]):
    """A sequence of strings in little memory, `PIECE` strings at a time.

    If few different strings recur, the pieces hold their numbers, two bytes each. Other pieces
    hold the characters in UTF-8 and one byte more for each string; a list takes some sixty bytes
    more. Zero characters are dropped. Iteration decodes a piece at a time; so does an index, unless
    it is near the last one.

    >>> cells = Strings(["a", "", "ö"])
    >>> len(cells), cells[2], cells[:2], [*cells], cells == ["a", "", "ö"]
    (3, 'ö', ['a', ''], ['a', '', 'ö'], True)
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._words: dict[str, int] = {}  # numbers of the strings that recur
        self._pieces: list[bytes | np.ndarray] = []
        self._rest: list[str] = []  # less than a piece
        self._marks = frozenset[str]()  # punctuation in the rest
        self._decoded: tuple[int, list[str]] = (-1, [])
        self._kept: dict[Hashable, Any] = {}
        self.extend(strings)

    @classmethod
    def of(cls, strings: Sequence[str]) -> Strings:
        """Return the strings themselves, if they are stored so, or store them."""
        return strings if isinstance(strings, cls) else cls(strings)

    def extend(self, strings: Iterable[str]) -> None:
        """Append strings."""
        self._kept.clear()
        self._rest += strings
        self._is_clean = False
        while len(self._rest) >= PIECE:
            self._pieces.append(self._stored(self._rest[:PIECE]))
            del self._rest[:PIECE]

    def _stored(self, strings: list[str]) -> bytes | np.ndarray:
        strings = _without_zeros(strings)
        if len({*islice(strings, LOOKED_AT)}) <= LOOKED_AT // 2:
            words = {*strings, *self._words}
            if len(words) <= FEW:
                for word in dict.fromkeys(strings):
                    self._words.setdefault(word, len(self._words))
                return np.fromiter(map(self._words.__getitem__, strings), np.uint16, len(strings))
        return "\0".join(strings).encode("utf-8", "surrogatepass")

    def _piece(self, number: int) -> list[str]:
        if number == len(self._pieces):
            if not self._is_clean:
                text = "".join(self._rest)
                if "\0" in text:
                    self._rest = _without_zeros(self._rest)
                self._marks = frozenset(filter(text.__contains__, punctuation))
                self._is_clean = True
            return self._rest
        if self._decoded[0] != number:
            piece = self._pieces[number]
            if isinstance(piece, bytes):
                found = piece.decode("utf-8", "surrogatepass").split("\0")
            else:
                found = np.array([*self._words], object)[piece].tolist()
            self._decoded = number, found
        return self._decoded[1]

    @property
    def pieces(self) -> Iterator[list[str]]:
        """The strings, `PIECE` at a time."""
        return (self._piece(number) for number in range(len(self._pieces) + 1))

    def counts(self) -> Counter[str]:
        """Return how often each string occurs, in the order of their first ones."""
        found = Counter[str]()
        words = [*self._words]
        for number, piece in enumerate(self._pieces):
            if isinstance(piece, bytes):
                found.update(self._piece(number))
            else:
                times = np.bincount(piece, minlength=len(words)).tolist()
                found.update({word: n for word, n in zip(words, times, strict=True) if n})
        found.update(self._piece(len(self._pieces)))
        return found

    def having(self, characters: str) -> list[str]:
        """Return the different strings that hold any of some ASCII marks of punctuation.

        >>> Strings(["1", "2.5", "3", "2.5", "7,1"]).having(".,")
        ['2.5', '7,1']
        """

        find = re.compile(f"[{re.escape(characters)}]").search

        def some(strings: Iterable[str]) -> list[str]:
            return [*filter(find, strings)]

        found = dict.fromkeys(some(self._words))
        for number, piece in enumerate(self._pieces):  # whole pieces first: most hold none
            if isinstance(piece, bytes) and any(c.encode() in piece for c in characters):
                found.update(dict.fromkeys(some(self._piece(number))))
        rest = self._piece(len(self._pieces))
        if self._marks.intersection(characters):
            found.update(dict.fromkeys(some(rest)))
        return [*found]

    def each(self, function: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        """Return what a function of strings gives for each string, as one array.

        Of strings that recur each is given to the function once.

        >>> Strings(["b", "aa", "b"]).each(lambda some: np.array([len(s) for s in some]))
        array([1, 2, 1])
        """
        of_words = function([*self._words]) if self._words else np.empty(0)
        found = [
            function(self._piece(number)) if isinstance(piece, bytes) else of_words[piece]
            for number, piece in enumerate(self._pieces)
        ]
        return np.concatenate([*found, function(self._piece(len(self._pieces)))])

    def replaced(self, by: Mapping[str, Any]) -> np.ndarray:
        """Return the strings as an array of objects, some of them replaced."""
        return self.each(lambda some: np.array([by.get(one, one) for one in some], object))

    def kept(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what was made of the strings under a name before, or make it."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def __len__(self) -> int:
        return PIECE * len(self._pieces) + len(self._rest)

    def __iter__(self) -> Iterator[str]:
        for piece in self.pieces:
            yield from piece

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step < 0:
                return [*self][at]
            return [
                string
                for number in range(start // PIECE, -(-stop // PIECE))
                for string in self._within(number, start, stop, step)
            ]
        at = range(len(self))[at]
        return self._piece(at // PIECE)[at % PIECE]

    def _within(self, number: int, start: int, stop: int, step: int) -> list[str]:
        """Return the strings of a piece that a slice contains."""
        first = number * PIECE
        begin = start if start >= first else first + -(first - start) % step
        return self._piece(number)[begin - first : max(stop - first, 0) : step]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, Strings)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} strings>"


def _without_zeros(strings: list[str]) -> list[str]:
    if "\0" not in "".join(strings):
        return strings
    return [string.replace("\0", "") for string in strings]
