"""Warnings of several ranks: one that all of them give is printed once."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from .communicator import Communicator


class DeferredWarnings:
    """Rank 0 prints its warnings at once; the other ranks hold theirs back until they compare.

    It replaces `warnings.showwarning`, so filters and ``catch_warnings`` work as ever.
    """

    def __init__(self, ranks: Communicator) -> None:
        self._ranks, self._print = ranks, warnings.showwarning
        self._texts: dict[str, None] = {}  # since the ranks last compared, in their order
        warnings.showwarning = self._record

    def _record(
        self, message: Any, category: Any, filename: str, lineno: int, file: Any = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            self._texts[warnings.formatwarning(message, category, filename, lineno, line)] = None
        if self._ranks.rank == 0 or file is not None:
            self._print(message, category, filename, lineno, file, line)

    def compare(self) -> None:
        """Print those that rank 0 does not have, after the name of the rank. All ranks call it."""
        if self._ranks.any(bool(self._texts)):
            self.print_rest(self._ranks.first([*self._texts]))

    def print_rest(self, known: Any = ()) -> None:
        """Print this rank's warnings that are not among the known ones."""
        texts, self._texts = self._texts, {}
        if self._ranks.rank > 0:
            name = f"rank {self._ranks.rank} of {self._ranks.size}"
            rest = (f"gpunn: {name}: {text}" for text in texts if text not in known)
            sys.stderr.write("".join(rest))
