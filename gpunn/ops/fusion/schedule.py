"""The order in which tensors are computed, and which are fused."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from gpunn.backends.contract.expression import MOST_ARRAYS, MOST_INSTRUCTIONS
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Shape, Tensor

from .storing import LOWERED

if TYPE_CHECKING:
    from .group import Group

WINDOW = MOST_INSTRUCTIONS
"""The number of upcoming tensors among which a group is sought. It makes the time for a graph
linear in its length, not quadratic."""


class Fused:
    """A group and the results that it writes."""

    def __init__(self, group: Group, needed: Collection[int]) -> None:
        self.group = group
        self.outputs: list[Tensor] = []  # the members that are used outside
        self.later: list[Tensor] = []  # members computed from these, with the same values
        required = set(needed)
        for t in reversed(group.members):
            if id(t) not in required:
                continue
            if group.is_written(t):
                self.outputs.insert(0, t)
            else:
                self.later.insert(0, t)
                required.update(map(id, t.inputs))


def scheduled(
    order: Sequence[Tensor], there: Collection[int], needed: Collection[int]
) -> Iterator[Tensor | Fused]:
    """Yield the tensors and fused groups of ``order``, in the order to compute them.

    Operations that no expression can compute come as early as possible, for the largest groups.
    ``there`` and ``needed`` are the ``id`` of tensors that are computed already, or needed later.
    """
    frontier = _Frontier(order, there)

    def used(group: Group) -> set[int]:
        """Return the members that are needed outside the group."""
        inside = set(map(id, group.members))
        return {
            key for key in inside
            if key in needed or any(id(reader) not in inside for reader in frontier.readers(key))
        }

    while True:
        while (t := frontier.next_alone()) is not None:
            yield t
            frontier.compute([t])
        near = frontier.look_ahead()
        if not near:
            return
        found = _largest(near, frontier)
        while found is not None and (arrays := len(found.inputs) + len(used(found))) > MOST_ARRAYS:
            most = len(found.members) * MOST_ARRAYS // arrays  # fewer than now
            found = _grown(found.empty(), found.members[:most], frontier)
        if found is None:
            yield near[0]
            frontier.compute(near[:1])
            continue
        fused = Fused(found, used(found))
        yield fused
        yield from fused.later
        frontier.compute(found.members)


class _Frontier:
    """The tensors that can be computed next."""

    def __init__(self, order: Sequence[Tensor], there: Collection[int]) -> None:
        self._order = order
        self._number = {id(t): number for number, t in enumerate(order)}
        self._readers: dict[int, list[Tensor]] = {}
        self._fusible = {id(t) for t in order if t.primitive.lowering in LOWERED and t.size > 0}
        self._computed = set[int]()
        self.lacking: dict[int, set[int]] = {}  # operands not computed yet, by `id`
        self._unseen: dict[int, int] = {}  # how many of these are not in the window
        self._alone: list[int] = []  # a heap of numbers: unfused and ready
        self._next: list[int] = []  # a heap of numbers: fusible, after the window
        self._ahead: list[int] = []  # the window: numbers, in order
        self.shapes = Counter[tuple[Shape, str]]()  # with dtypes, of tensors ahead and operands
        for t in order:
            lacking = {id(x) for x in t.inputs if id(x) not in there and not x.is_constant}
            for key in lacking:
                self._readers.setdefault(key, []).append(t)
            self.lacking[id(t)], self._unseen[id(t)] = lacking, len(lacking)
            if not lacking:
                self._can_compute(t)
                self._can_see(t)

    def readers(self, key: int) -> Sequence[Tensor]:
        """Return the tensors that read the one with this ``id``."""
        return self._readers.get(key, ())

    def next_alone(self) -> Tensor | None:
        """Return the first tensor that can be computed now and is not fused."""
        return self._order[heappop(self._alone)] if self._alone else None

    def compute(self, tensors: Sequence[Tensor]) -> None:
        """Mark tensors as computed."""
        keys = list(map(id, tensors))
        self._computed.update(keys)
        for t, key in zip(tensors, keys, strict=True):
            for reader in self.readers(key):
                self.lacking[id(reader)].discard(key)
                if not self.lacking[id(reader)]:
                    self._can_compute(reader)
            if self._unseen.pop(key) >= 0:
                self._see(t)

    def look_ahead(self) -> list[Tensor]:
        """Return the first tensors, in order, that expressions can compute from computed tensors
        and each other."""
        for number in self._ahead:
            if id(self._order[number]) in self._computed:
                self.shapes.subtract(_shapes(self._order[number]))
        self._ahead = [n for n in self._ahead if id(self._order[n]) not in self._computed]
        while self._next and len(self._ahead) < WINDOW:
            number = heappop(self._next)
            t = self._order[number]
            if id(t) not in self._computed:
                insort(self._ahead, number)
                self.shapes.update(_shapes(t))
                self._unseen[id(t)] = -1
                self._see(t)
        return [self._order[number] for number in self._ahead]

    def _see(self, t: Tensor) -> None:
        for reader in self.readers(id(t)):
            self._unseen[id(reader)] -= 1
            if not self._unseen[id(reader)]:
                self._can_see(reader)

    def _can_see(self, t: Tensor) -> None:
        if id(t) in self._fusible:
            heappush(self._next, self._number[id(t)])

    def _can_compute(self, t: Tensor) -> None:
        if id(t) not in self._computed and (id(t) not in self._fusible or t.primitive.view):
            heappush(self._alone, self._number[id(t)])


def _shapes(t: Tensor) -> Iterable[tuple[Shape, str]]:
    return ((x.shape, x.dtype) for x in (t, *t.inputs))


def _largest(near: Sequence[Tensor], frontier: _Frontier) -> Group | None:
    """Return the group with the most work among tensors that can be computed now, if any."""
    from .group import Group  # not if each tensor is computed alone

    dtypes: dict[Shape, dict[str, int]] = {}
    for (shape, dtype), count in frontier.shapes.items():
        if count and is_float(dtype) and math.prod(shape):
            dtypes.setdefault(shape, {})[dtype] = count
    shapes = sorted(dtypes, key=lambda s: (-math.prod(s), s))
    found = [(s, max(dtypes[s], key=dtypes[s].__getitem__)) for s in shapes]
    if near[0].dtype == "bool" and near[0].size:  # else Python compares its operands
        found += [(near[0].shape, x.dtype) for x in near[0].inputs if is_float(x.dtype)]
    for shape, dtype in found:
        groups = []
        for k in [k for k in range(len(shape), -1, -1) if k == len(shape) or shape[k] > 1]:
            group = _grown(Group(shape, k, dtype), near, frontier)
            groups.append(group)
            if group.is_flat and _has_refused_none(group, near):
                break  # another cut makes no difference
        best = max(groups, key=lambda group: (len(group.members), -group.work))
        if best.work:
            return best
    return None


def _has_refused_none(group: Group, near: Sequence[Tensor]) -> bool:
    """Return whether the group took these tensors in order, until it was full or had all."""
    size = len(group.members)
    in_a_row = size > 0 and group.members[-1] is near[size - 1]
    return in_a_row and (group.is_full or size == len(near))


def _grown(group: Group, near: Sequence[Tensor], frontier: _Frontier) -> Group:
    """Add all of these tensors that fit to the group, and return it."""
    from .rules import joins

    inside, lacking = set[int](), frontier.lacking
    for t in near:
        if lacking[id(t)] <= inside and joins(group, t):
            inside.add(id(t))
            if group.is_full:
                break
    return group
