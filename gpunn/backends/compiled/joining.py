"""The gradient of a layer's weights and their update, joined into one operation.

A step computes all gradients, stores them, and then moves all weights. The update of a layer's
weights can follow the product that computes their gradient, a few rows at a time. This needs a
gradient that nothing else reads or changes: not clipped, accumulated or penalised. The gradient is
then not stored, and a thread moves the weights that are in the cache of its core. The same holds
for the sums of rows that are the gradient of a table, most of whose rows are often 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .expressions import is_filling_with_zeros

SMALLEST = 1 << 10  # weights of a layer from which joining pays,
SMALLEST_TABLE = 1 << 17  # or of a table: the rows of a smaller one are added by columns

Span = tuple[int, int]  # the addresses of an array: first and, exclusive, last


class _Product(NamedTuple):
    """The arguments of a "matmul"."""

    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    m: int
    n: int
    k: int
    lda: int
    ldb: int
    ldo: int
    transpose_a: bool
    transpose_b: bool
    accumulate: bool


class _Sums(NamedTuple):
    """The arguments of a "scatter_rows"."""

    rows: np.ndarray
    places: np.ndarray
    sets: int
    outer: int
    number: int
    n: int
    inner: int
    wraps: bool
    out: np.ndarray


class _Source(NamedTuple):
    """What computes the gradient of some weights: the joined operation, the arrays that it reads,
    its arguments after the weights, and the indices of the calls that it replaces."""

    name: str
    out: np.ndarray
    factors: tuple[np.ndarray, np.ndarray]
    sizes: tuple[Any, ...]
    replaced: tuple[int, ...]


class _Update(NamedTuple):
    """The arguments of an "update"."""

    weights: np.ndarray
    gradients: np.ndarray
    slot_0: np.ndarray | None
    slot_1: np.ndarray | None
    slot_2: np.ndarray | None
    group_table: np.ndarray
    groups: int
    parameters: np.ndarray
    every: int
    counters: np.ndarray
    rates: np.ndarray


def join_updates(calls: Sequence[Any], operations: Mapping[tuple[Any, ...], Any]) -> list[Any]:
    """Return the bound calls of a step, with products and updates joined where that changes no
    weight.

    After these calls the gradients that were not stored have values of an earlier step. The
    operations are by name and choices; a browser's operations include no joined ones.
    """
    joined = list(calls)
    for call in calls:
        if call.key[0] == "update":
            joined = _joined(joined, joined.index(call), operations)
    return joined


def _joined(calls: list[Any], at: int, operations: Mapping[tuple[Any, ...], Any]) -> list[Any]:
    """Return the calls with the update at this index joined to what computes its gradients."""
    update = _Update(*calls[at].arguments)
    groups = [*map(tuple, update.group_table[: update.groups])]
    inserted = defaultdict[int, list[Any]](list)
    excluded = set[int]()
    for index in range(at):
        source = _source(calls, index, update)
        if source is None or (source.name, *calls[at].key[1:]) not in operations:
            continue
        start = (_span(source.out)[0] - _span(update.gradients)[0]) // source.out.itemsize
        stop = start + source.out.size
        group = next((g for g in groups if g[0] <= start and stop <= g[1]), None)
        slots = [slot if slot is None else slot[start:stop] for slot in update[2:5]]
        moved = [update.weights[start:stop], *(slot for slot in slots if slot is not None)]
        place = _place(calls, index, at, source, moved)
        if group is None or place is None:
            continue
        join = operations[(source.name, *calls[at].key[1:])].bind
        inserted[place].append(join(
            *source.factors, update.weights[start:stop], *source.sizes, *slots,
            np.array(group), update.parameters, update.every, update.counters, update.rates,
        ))
        excluded.update(source.replaced)
        groups.remove(group)
        groups += [(a, b, *group[2:]) for a, b in ((group[0], start), (stop, group[1])) if a < b]
    if not inserted:
        return calls
    table = np.array(sorted(groups)).reshape(-1, update.group_table.shape[1])
    rest = update._replace(group_table=table, groups=len(groups))
    found = []
    for index, call in enumerate(calls):
        found += inserted[index]
        if index == at:
            found.append(operations[call.key].bind(*rest))
        elif index not in excluded:
            found.append(call)
    return found


def _source(calls: Sequence[Any], index: int, update: _Update) -> _Source | None:
    """Return the source of a gradient that the call at this index is, if it can be joined."""
    call, found = calls[index], None
    if call.key[0] == "matmul":
        of = _Product(*call.arguments)
        whole = of.transpose_a and not of.transpose_b and not of.accumulate and of.ldo == of.n
        if whole:
            found = _Source("matmul_update", of.out, (of.a, of.b), of[3:8], (index,))
    elif call.key[::2] == ("scatter_rows", "Sum"):
        found = _sums(calls, index)
    fits = (
        found is not None and found.out.size >= SMALLEST
        and found.out.dtype == update.gradients.dtype
        and _overlap([found.out], [update.gradients])
    )
    return found if fits else None


def _sums(calls: Sequence[Any], index: int) -> _Source | None:
    """Return sums of rows as a source, if they are added to zeros."""
    of = _Sums(*calls[index].arguments)
    before = next((k for k in range(index)[::-1] if _overlap(calls[k].arrays, [of.out])), None)
    most = np.iinfo(np.int32).max
    if of.outer != 1 or of.out.size < SMALLEST_TABLE or max(of.number, of.n) > most:
        return None
    if before is None or not is_filling_with_zeros(calls[before], of.out):
        return None
    starts, order = np.empty(of.n + 1, np.int32), np.empty(of.number, np.int32)
    sizes = of.number, of.n, of.inner, of.wraps, starts, order
    return _Source("scatter_update", of.out, (of.rows, of.places), sizes, (before, index))


def _place(
    calls: Sequence[Any], index: int, at: int, source: _Source, moved: list[np.ndarray]
) -> int | None:
    """Return the index of the first call before which the joined operation may be performed.

    It must come after what reads the weights, and what the update depends on, and before
    anything overwrites the factors of the source. None if there is no such place, or if another
    call reads the gradient.
    """
    place, last = index, at
    for later in range(index + 1, at):
        call = calls[later]
        if _overlap(call.arrays, [source.out]):
            return None
        if _overlap(call.arrays, moved) or _overlap(call.written, _read_by(calls[at])):
            place = later + 1
        if last == at and _overlap(call.written, source.factors):
            last = later
    return place + (place == index) if place <= last else None


def _read_by(update: Any) -> list[np.ndarray]:
    """Return what all weights share in an update."""
    arguments = _Update(*update.arguments)
    return [arguments.parameters, arguments.counters, arguments.rates]


def _overlap(some: Iterable[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    spans = [*map(_span, others)]
    return any(a < d and c < b for a, b in map(_span, some) for c, d in spans)


def _span(array: np.ndarray) -> Span:
    first: int = array.__array_interface__["data"][0]
    return first, first + array.nbytes
