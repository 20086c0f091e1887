"""Columns of strings in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

PIECE = 1 << 16  # strings that are stored as one


class Strings(Sequence[str]):
    """A sequence of strings that takes one byte for each, and their characters in UTF-8.

    A list takes some sixty bytes more for each. Zero characters are dropped. Iteration decodes
    `PIECE` strings at a time; so does an index, unless it is near the last one.

    >>> cells = Strings(["a", "", "ö"])
    >>> len(cells), cells[2], cells[:2], [*cells], cells == ["a", "", "ö"]
    (3, 'ö', ['a', ''], ['a', '', 'ö'], True)
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._pieces: list[bytes] = []
        self._rest: list[str] = []  # less than a piece
        self._decoded: tuple[int, list[str]] = (-1, [])
        self.extend(strings)

    def extend(self, strings: Iterable[str]) -> None:
        """Append strings."""
        self._rest += [string.replace("\0", "") if "\0" in string else string for string in strings]
        while len(self._rest) >= PIECE:
            joined = "\0".join(self._rest[:PIECE])
            self._pieces.append(joined.encode("utf-8", "surrogatepass"))
            del self._rest[:PIECE]

    def _piece(self, number: int) -> list[str]:
        if number == len(self._pieces):
            return self._rest
        if self._decoded[0] != number:
            text = self._pieces[number].decode("utf-8", "surrogatepass")
            self._decoded = number, text.split("\0")
        return self._decoded[1]

    def __len__(self) -> int:
        return PIECE * len(self._pieces) + len(self._rest)

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self._pieces) + 1):
            yield from self._piece(number)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if start == 0 < stop <= PIECE and step > 0:
                return self._piece(0)[at]
            return [*self][at]
        at = range(len(self))[at]
        return self._piece(at // PIECE)[at % PIECE]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, Strings)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} strings>"
