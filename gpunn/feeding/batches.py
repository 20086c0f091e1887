"""Batches that a user's object yields: iterables, generators, Keras's data sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from .data import to_rows
from .inputs import inputs
from .py_dataset import PyDataset, Shuffled
from .rows import Rows
from .sparse import SparseBatches, is_small, is_sparse
from .spec import Spec


class Batches:
    """Batches that a user's object yields: ``(x, y)`` or ``(x, y, weight)``.

    Each pass iterates over ``source`` anew, unless that can be read only once (a
    generator), which goes on where it stopped. The first batch is checked at once.

    Raises:
        ValueError, TypeError: for a batch that does not fit, naming it.
    """

    def __init__(
        self, spec: Spec, source: Any, first: Any, argument: str, class_weight: Any = None
    ) -> None:
        self.spec = spec
        self.source = source
        self.argument = argument
        self.class_weight = class_weight
        self.once = hasattr(source, "__next__")
        self._rows(first, 0)

    def __iter__(self) -> Iterator[Rows]:
        for number, batch in enumerate(iterate(self.source)):
            yield self._rows(batch, number)

    def _rows(self, batch: Any, number: int) -> Rows:
        where = f"{self.argument}, batch {number}: "
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                f"{where}it has {len(parts)} parts; (x, y) or (x, y, weight) is expected."
            )
        x, y, weight = (*parts, None, None)[:3]
        return to_rows(self.spec, x, y, weight, self.class_weight, where=where)


def fed(
    x: Any, y: Any, weight: Any, size: int, seed: int | None = None, steps: int | None = None
) -> tuple[Any, Any, Any]:
    """Data to feed: of sparse rows dense ones, or batches of them, of ``size`` rows or of so many
    that there are ``steps`` of them; anything else as it came. A ``seed`` shuffles the rows that
    become batches, and a `PyDataset`."""
    if isinstance(x, PyDataset) and seed is not None and not x.endless:
        return Shuffled(x, seed), y, weight
    if not is_sparse(x):
        return x, y, weight
    if is_small(x):
        return x.toarray(), y, weight
    if steps is not None:
        size = math.ceil(x.shape[0] / steps)
    return SparseBatches(x, y, weight, size, seed), None, None


def iterate(source: Any) -> Iterator[Any]:
    """One pass over batches."""
    if hasattr(source, "on_epoch_begin"):
        source.on_epoch_begin()
    # Not "yield from", which would close a generator that is left early.
    for batch in _items(source):  # noqa: UP028
        yield batch
    if hasattr(source, "on_epoch_end"):
        source.on_epoch_end()


def _items(source: Any) -> Iterator[Any]:
    """The batches; of a data set with a length and items (as Keras's PyDataset) by their number."""
    if hasattr(source, "__iter__") or not hasattr(source, "__len__"):
        return iter(source)
    endless = getattr(source, "endless", False)
    return (source[number] for number in (itertools.count() if endless else range(len(source))))


def peek(source: Any, argument: str = "x") -> tuple[Any, Any]:
    """``source`` with its first batch still in it, and that batch."""
    if not any(hasattr(source, name) for name in ("__iter__", "__next__", "__getitem__")):
        raise TypeError(f"{argument} must be arrays, or yield batches (x, y); got {source!r}.")
    first = next(_items(source), None)
    if first is None:
        raise ValueError(f"{argument} yields no batch: there is no data.")
    if hasattr(source, "__next__"):
        source = itertools.chain([first], source)
    return source, first


def check_ends(source: Any, limit: int | None, argument: str, option: str) -> None:
    """Look whether a pass over ``source`` ends.

    Raises:
        ValueError: if it says that it does not, and there is no limit.
    """
    if limit is None and getattr(source, "endless", False):
        raise ValueError(f"{argument} repeats its batches without end: pass {option}.")


def inputs_of(spec: Spec, source: Any, limit: int | None) -> Iterator[tuple[list[Any], str]]:
    """The inputs of batches with their names, targets ignored; ``limit`` batches at most."""
    for number, batch in enumerate(itertools.islice(iterate(source), limit)):
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        where = f"predict, batch {number}: "
        yield inputs(spec, x, where), where
