"""In which order tensors are computed, and which of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from gpunn.backends.contract.expression import MOST_ARRAYS
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Shape, Tensor

from .group import Group
from .rules import RULES, joins


class Fused:
    """A group with what is to be written of it.

    Attributes:
        group: of tensors.
        outputs: the members that are used outside.
        later: members to be made of these by themselves: the same numbers in another form.
    """

    def __init__(self, group: Group, needed: Collection[int]) -> None:
        self.group = group
        self.outputs: list[Tensor] = []
        self.later: list[Tensor] = []
        wanted = set(needed)
        for t in reversed(group.members):
            if id(t) not in wanted:
                continue
            if group.is_written(t):
                self.outputs.insert(0, t)
            else:
                self.later.insert(0, t)
                wanted.update(map(id, t.inputs))


def scheduled(
    order: Sequence[Tensor], there: Collection[int], needed: Collection[int]
) -> Iterator[Tensor | Fused]:
    """What is to be computed of ``order``, one thing after the other.

    What fits no expression comes as soon as it can: then the groups are largest.

    Args:
        order: each tensor behind what it is made of.
        there: the ``id`` of those that are there before.
        needed: the ``id`` of those that are needed behind these.
    """
    done = set(there)
    readers: dict[int, list[Tensor]] = {}
    for t in order:
        for source in t.inputs:
            readers.setdefault(id(source), []).append(t)

    def used(group: Group) -> set[int]:
        """The members that something outside of the group needs."""
        inside = set(map(id, group.members))
        return {
            key for key in inside
            if key in needed or any(id(reader) not in inside for reader in readers.get(key, ()))
        }  # fmt: skip

    rest = list(order)
    while rest:
        waiting = []
        for t in rest:
            alone = t.primitive.loop not in RULES or t.primitive.view or not t.size
            if alone and _are_there(t.inputs, done):
                done.add(id(t))
                yield t
            else:
                waiting.append(t)
        if not waiting:
            return
        found = _largest(waiting, done)
        while found is not None and len(found.inputs) + len(used(found)) > MOST_ARRAYS:
            found = _grown(found.empty(), found.members[: len(found.members) // 2], done)
        if found is None:
            yield waiting[0]
            done.add(id(waiting[0]))
            rest = waiting[1:]
            continue
        fused = Fused(found, used(found))
        yield fused
        yield from fused.later
        inside = set(map(id, found.members))
        done |= inside
        rest = [t for t in waiting if id(t) not in inside]


def _largest(waiting: Sequence[Tensor], done: Collection[int]) -> Group | None:
    """The group of most work, of those tensors that can be computed now; None: there is none."""
    reach, near = set(done), list[Tensor]()
    for t in waiting:
        fits = t.primitive.loop in RULES and t.size > 0
        if fits and _are_there(t.inputs, reach):
            reach.add(id(t))
            near.append(t)
    shapes: dict[Shape, Counter[str]] = {}
    for t in near:
        for x in (t, *t.inputs):
            if is_float(x.dtype) and x.size:
                shapes.setdefault(x.shape, Counter())[x.dtype] += 1
    for shape in sorted(shapes, key=lambda s: (-_size(s), s)):
        dtype = shapes[shape].most_common(1)[0][0]
        cuts = [k for k in range(len(shape), -1, -1) if k == len(shape) or shape[k] > 1]
        groups = [_grown(Group(shape, k, dtype), near, done) for k in cuts]
        best = max(groups, key=lambda group: (len(group.members), -group.work))
        if best.work:
            return best
    return None


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _grown(group: Group, near: Sequence[Tensor], done: Collection[int]) -> Group:
    inside = set(done)
    for t in near:
        if _are_there(t.inputs, inside) and joins(group, t):
            inside.add(id(t))
    return group


def _are_there(tensors: Sequence[Tensor], done: Collection[int]) -> bool:
    return all(id(t) in done or t.is_constant for t in tensors)
