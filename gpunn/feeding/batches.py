"""Batches from user objects: iterables, generators, Keras's data sets."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunn.common.importing.light_dataclass import dataclass

from .data import to_rows
from .inputs import inputs
from .rows import Rows
from .sparse import SparseBatches, is_small, is_sparse, rows_of_a_step
from .spec import Resolve, Spec

PREDICT_BATCH = 1024  # default rows of a batch for predictions


class Batches:
    """Batches that a user object yields: ``(x, y)`` or ``(x, y, weight)``.

    Each pass iterates over ``source`` again. A source that can be read only once (a
    generator) continues where it stopped.

    Args:
        argument: The name of the source in messages.
        convert: Checks a batch and returns its rows. It takes the batch and its name in messages.
        first: The first batch, if it is known, to be checked at once.

    Raises:
        ValueError, TypeError: for an invalid batch, naming it.
    """

    def __init__(
        self, source: Any, argument: str, convert: Callable[[Any, str], Rows], first: Any = None
    ) -> None:
        self.source, self.argument = source, argument
        self._convert, self._first = convert, first
        if first is not None:
            self.first()

    @property
    def once(self) -> bool:
        """Whether the source can be read only once."""
        return hasattr(self.source, "__next__")

    @property
    def sharded(self) -> bool:
        """Whether the source yields the rows of this rank alone, see `gpunn.distribution`."""
        return bool(getattr(self.source, "shard", False))

    def first(self) -> Rows:
        """Return the first batch, before any pass has begun."""
        return self._rows(self._first, 0)

    def keep(self, limit: int | None) -> None:
        """Give each pass the same batches: batches of a generator are kept in memory."""
        if self.once:
            self.source = RepeatableBatches(self.source, limit)

    def begin(self, number: int, seed: int | None = None, skip: int = 0) -> Iterator[Rows]:
        """Yield the batches of a pass, starting at the ``skip``-th.

        Args:
            number: Number of the pass; sources that choose their own order use it.
            seed: Seed that shuffles a `PyDataset` and sparse rows.
            skip: Number of batches already used when training resumes from a checkpoint.

        Raises:
            ValueError: if there are fewer batches.
        """
        self._first = None
        for count, batch in enumerate(
            items_of_pass(self.source, number, seed, skip, self.argument), skip
        ):
            yield self._rows(batch, count)

    def tell(self, event: str) -> None:
        """Call the source's ``on_epoch_begin`` or ``on_epoch_end``, if it has one."""
        if hasattr(self.source, event):
            getattr(self.source, event)()

    def catch_up(self, epochs: int, passes: int) -> None:
        """Repeat the calls that a source received in past epochs and passes.

        The random numbers that it draws at their beginning or end are then drawn. Batches of
        those passes are not read.
        """
        source = self.source
        draws = not (is_numbered(source) or self.once or hasattr(source, "batches_of_pass"))
        for number in range(max(epochs, passes)):
            if number < epochs:
                self.tell("on_epoch_begin")
            if number < passes and draws:
                next(items(source), None)
            if number < epochs:
                self.tell("on_epoch_end")

    def _rows(self, batch: Any, number: int) -> Rows:
        return self._convert(batch, f"{self.argument}, batch {number}: ")


def converting(
    spec: Spec, resolve: Resolve | None, class_weight: Any
) -> Callable[[Any, str], Rows]:
    """Return the function that converts the batches of a data set; arguments as in `to_rows`."""

    def convert(batch: Any, where: str) -> Rows:
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                f"{where}it has {len(parts)} parts; (x, y) or (x, y, weight) is expected."
            )
        x, y, weight = (*parts, None, None)[:3]
        return to_rows(spec, x, y, weight, class_weight, where=where, resolve=resolve)

    return convert


class RepeatableBatches:
    """The first batches of a generator, cached so that they can be read again.

    >>> twice = RepeatableBatches(iter("abc"), 2)
    >>> [*twice], [*twice]
    (['a', 'b'], ['a', 'b'])
    """

    def __init__(self, source: Iterator[Any], limit: int | None) -> None:
        self._source, self._limit = source, limit
        self._batches: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while number != self._limit:
            if number == len(self._batches):
                batch = next(self._source, None)
                if batch is None:
                    return
                # A copy: a generator may write the next batch into the same arrays.
                self._batches.append(copy.deepcopy(batch))
            yield self._batches[number]
            number += 1


@dataclass(frozen=True)
class BatchedArrays:
    """The arrays of a data set that holds all its samples, and how it makes batches of them.

    ``seed``: the user's seed for the order of the rows; None for the seed of the model."""

    x: Any
    y: Any
    batch_size: int
    shuffle: bool
    seed: int | None


def batched_arrays(
    x: Any, y: Any, weight: Any, steps: Any, split: float = 0.0
) -> BatchedArrays | None:
    """Return the arrays that a data set holds, from which a step gathers its rows without Python.

    None if it holds none, or if another argument says what batches of arrays do not.
    """
    batched = getattr(x, "_batched_arrays", None)
    alone = y is None and weight is None and not steps and not split
    return batched if alone and isinstance(batched, BatchedArrays) else None


def fed(x: Any, y: Any, weight: Any, size: int, steps: int | None = None) -> tuple[Any, Any, Any]:
    """Return the data to feed: sparse rows made dense or batched, anything else unchanged.

    Batches of sparse rows have ``size`` rows, or the number that gives ``steps`` batches.
    """
    if not is_sparse(x):
        return x, y, weight
    if is_small(x):
        return x.toarray(), y, weight
    return SparseBatches(x, y, weight, rows_of_a_step(x, size, steps)), None, None


def is_numbered(source: Any) -> bool:
    """Whether batches are read by number (as from Keras's PyDataset), not by iterating."""
    return not hasattr(source, "__iter__") and hasattr(source, "__len__")


def items(source: Any, skip: int = 0) -> Iterator[Any]:
    """Iterate over the batches of one pass; those read by number start at ``skip``."""
    if not is_numbered(source):
        return iter(source)
    endless = getattr(source, "endless", False)
    numbers = itertools.count(skip) if endless else range(skip, len(source))
    return (source[number] for number in numbers)


def items_of_pass(
    source: Any, number: int, seed: int | None, skip: int = 0, argument: str = "x"
) -> Iterator[Any]:
    """Iterate over the batches of a pass; arguments as in `Batches.begin`."""
    if hasattr(source, "batches_of_pass"):
        return iter(source.batches_of_pass(number, seed, skip))
    from .py_dataset import PyDataset

    if isinstance(source, PyDataset) and seed is not None and not source.endless:
        order = np.random.default_rng([seed, number]).permutation(len(source))
        return (source[n] for n in order[skip:].tolist())
    if is_numbered(source):
        return items(source, skip)
    found = items(source)
    for count in range(skip):
        if next(found, None) is None:
            raise ValueError(
                f"{argument} has {count} batches; the resumed run had read {skip}. "
                f"Pass the same data as before."
            )
    return found


def peek(source: Any, argument: str = "x") -> tuple[Any, Any]:
    """Return ``source``, still including its first batch, and that batch."""
    if not any(hasattr(source, name) for name in ("__iter__", "__next__", "__getitem__")):
        raise TypeError(f"{argument} must be arrays, or yield batches (x, y); got {source!r}.")
    first = next(items(source), None)
    if first is None:
        raise ValueError(f"{argument} yields no batches: there is no data.")
    if hasattr(source, "__next__"):
        source = itertools.chain([first], source)
    return source, first


def check_ends(source: Any, limit: int | None, argument: str, option: str) -> None:
    """Raise a ValueError if a source is declared endless and there is no limit."""
    if limit is None and getattr(source, "endless", False):
        raise ValueError(f"{argument} repeats its batches endlessly: pass {option}.")


def inputs_of(spec: Spec, source: Any, limit: int | None) -> Iterator[tuple[list[Any], str]]:
    """Yield the inputs of at most ``limit`` batches with their names; targets are ignored."""
    if hasattr(source, "on_epoch_begin"):
        source.on_epoch_begin()
    for number, batch in enumerate(itertools.islice(items(source), limit)):
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        where = f"predict, batch {number}: "
        yield inputs(spec, x, where), where
    if hasattr(source, "on_epoch_end"):
        source.on_epoch_end()
