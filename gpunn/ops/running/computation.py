"""A graph of tensors bound to the arrays of one backend, and run in each step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.expression import MOST_ARRAYS, TRUTHS
from gpunn.common.numeric.dtypes import name_of
from gpunn.ops.fusion.schedule import Fused, scheduled
from gpunn.ops.fusion.storing import stored
from gpunn.ops.gradients import topological_sort
from gpunn.ops.primitive import Work
from gpunn.ops.tensor import Tensor


class Destination:
    """The array that a result is written or added to; None for one that is only computed."""

    is_read = True  # whether its tensor must still be there at the end of its stage

    def __init__(self, tensor: Tensor, array: Array = None, accumulate: bool = False) -> None:
        self.tensor, self.array, self.accumulate = tensor, array, accumulate


class Computation:
    """Computes tensors from leaves in each step. All arrays are allocated here.

    The work is divided into stages, such as forward and backward: a later stage may use the results
    of an earlier one. Memory of results that are no longer needed is reused.

    Args:
        leaves: the arrays of the leaves, by the ``id`` of their tensors.
        context: the call that layers inside it belong to, or a function that creates it.
        outer: the computation that this one is a step of: it uses its memory, and gives it back.
        spent: leaves whose memory may be overwritten once they are read.
        rewritten: the ``id`` of leaves that only an operation reads which writes their new value.
        known: in which order things are done, of earlier computations of the same tensors.

    Attributes:
        work: for each stage, the functions to call in order.
    """

    def __init__(
        self,
        backend: Backend,
        leaves: dict[int, Array],
        stages: Sequence[Sequence[Destination]],
        context: Any = None,
        outer: Computation | None = None,
        spent: Collection[Tensor] = (),
        rewritten: Collection[int] = (),
        known: dict[Any, Any] | None = None,
    ) -> None:
        self.backend, self._context = backend, context
        self._arrays: dict[int, Any] = dict(leaves)
        self._leaves = [a for key, a in leaves.items() if a.size and key not in rewritten]
        self._constants: list[Tensor] = []  # kept alive: arrays are keyed by their `id`
        self._owner = {key: key for key in leaves}  # the tensor that owns the memory of an array
        self.free: dict[tuple[int, str], list[Array]] = {} if outer is None else outer.free
        shared = {} if outer is None else outer._known
        self._known: dict[Any, Any] = shared if known is None else known
        self._over: dict[int, Tensor] = {}  # the result written over a tensor, by its `id`
        self._first = frozenset(leaves)
        self._spent = {id(t) for t in spent if leaves[id(t)].flags.c_contiguous}
        self.calls: dict[int, Any] = {}  # of layers, by the `id` of their outputs
        self.written = set[int]()  # layers that have written gradients
        key = tuple([tuple([id(target.tensor) for target in targets]) for targets in stages])
        orders: list[list[Tensor]] | None = self._known.get(key) if outer is None else None
        if orders is None:
            orders = self._known[key] = self._in_order(stages)
        made = [[t for t in order if not self._is_given(t)] for order in orders]
        self._results: dict[int, list[Tensor]] = {}  # by the `id` of what they are results of
        for t in [t for some in made for t in some if t.primitive.is_result]:
            self._results.setdefault(id(t.inputs[0]), []).append(t)
        self._added = set[int]()  # the `id` of results that are added to their arrays
        self._uses = self._count_uses(made, stages)
        self._kept = set(leaves)
        self.work: list[list[Work]] = []
        for number, (order, targets) in enumerate(zip(orders, stages, strict=True)):
            behind = {
                id(x) for later in orders[number + 1 :] for t in later for x in t.inputs
                if not self._is_compared(x)
            }
            behind.update([id(target.tensor) for some in stages[number:] for target in some])
            self.work.append(self._stage(order, targets, behind))

    def _in_order(self, stages: Sequence[Sequence[Destination]]) -> list[list[Tensor]]:
        """Return the tensors of each stage, each after those it reads."""
        orders: list[list[Tensor]] = []
        seen = set[int]()
        for targets in stages:
            found = topological_sort((x.tensor for x in targets), self._sources)
            order = [t for t in found if id(t) not in seen]
            seen.update(id(t) for t in order if not self._is_compared(t))
            orders.append(order)
        return orders

    @property
    def context(self) -> Any:
        """The call that layers inside it belong to, created when the first one needs it."""
        if callable(self._context):
            self._context = self._context()
        return self._context

    @property
    def precision(self) -> str | None:
        """The format that float32 products may round their factors to, or None."""
        return None if callable(self._context) else getattr(self._context, "precision", None)

    def set_context(self, context: Any) -> None:
        """Let the layers that follow belong to another call."""
        self._context = context

    @contextmanager
    def within(self, context: Any) -> Iterator[None]:
        """Return a context manager in which layers belong to another call."""
        before, self._context = self._context, context
        try:
            yield
        finally:
            self._context = before

    def _is_compared(self, t: Tensor) -> bool:
        """Return whether it is a comparison of leaves, which is cheaper to redo than to keep."""
        if self._is_given(t) or t.primitive.lowering not in TRUTHS:
            return False
        return all(id(x) in self._first or x.is_constant for x in t.inputs)

    def _is_given(self, t: Tensor) -> bool:
        """Return whether nothing computes a tensor here: what a tape has computed is not repeated,
        and a leaf may be a result of an operation elsewhere."""
        return t.primitive is None or t.is_constant or id(t) in self._first

    def _sources(self, t: Tensor) -> Sequence[Tensor]:
        return () if self._is_given(t) else t.inputs

    def run(self, stage: int) -> None:
        for work in self.work[stage]:
            work()

    def array(self, t: Tensor) -> Any:
        """Return the array of a tensor that belongs to this computation."""
        if id(t) not in self._arrays and t.is_constant:
            self._constants.append(t)
            # A single number is passed as an argument, on any device.
            value = self.backend.upload(t.value) if t.shape else t.item()
            self._arrays[id(t)] = value
            self._owner[id(t)] = id(t)
            self._kept.add(id(t))
        if id(t) not in self._arrays:
            raise ValueError(
                f"A tensor of shape {t.shape} belongs to another call than the one that uses "
                f"it. It cannot be kept between calls. Compute it again, or keep it in a variable."
            )
        return self._arrays[id(t)]

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return an array for a result, from free memory if possible."""
        size = math.prod(shape)
        free = self.free.get((size, dtype))
        array = free.pop() if free else self.backend.empty((size,), dtype)
        return array.reshape(shape)

    def _count_uses(
        self, made: list[list[Tensor]], stages: Sequence[Sequence[Destination]]
    ) -> dict[int, int]:
        uses: dict[int, int] = {}
        for read in [x for some in made for t in some for x in t.inputs]:
            uses[id(read)] = uses.get(id(read), 0) + 1
        for target in [target for targets in stages for target in targets]:
            t = target.tensor
            if target.array is None and id(t) in uses and t.primitive and t.primitive.writes:
                target.is_read = False  # it is computed for what it writes besides
            else:
                uses[id(t)] = uses.get(id(t), 0) + 1
        return uses

    def _stage(
        self, order: list[Tensor], targets: Sequence[Destination], needed: set[int]
    ) -> list[Work]:
        work: list[Work] = []
        order = [t for t in order if id(t) not in self._arrays or not self._is_compared(t)]
        computed: list[Tensor] = []
        for t in order:
            if self._is_given(t):
                self.array(t)
            else:
                computed.append(t)
        plain, added, through = self._written_directly(computed, targets)
        self._plain = plain
        written = [*plain.values(), *through]
        steps = self._scheduled(computed, needed)
        made = {id(t) for t in computed if not t.primitive.view}
        self._in_place(steps, made - plain.keys(), set(added))
        for step in steps:
            if isinstance(step, Fused):
                written += self._fused(step, plain, added, work)
            else:
                written += self._alone(step, plain, added, work)
        for target in targets:
            if target.array is not None and target not in written:
                source = self.array(target.tensor)
                work.append(stored(self.backend, source, target.array, target.accumulate))
            if target.is_read:
                self._done_with(target.tensor, work)
        return work

    def _scheduled(self, computed: list[Tensor], needed: set[int]) -> list[Tensor | Fused]:
        """Return what to do in order; equal steps use the order of the first one."""
        known = self._known
        key = *map(id, computed), frozenset(needed)
        if key not in known:
            known[key] = list(scheduled(computed, self._arrays.keys(), needed))
        return known[key]

    def _alone(
        self,
        t: Tensor,
        plain: dict[int, Destination],
        added: dict[int, Destination],
        work: list[Work],
    ) -> list[Destination]:
        """Add a single operation. Return the destinations that it adds to."""
        written: list[Destination] = []
        arrays = [self.array(source) for source in t.inputs]
        if t.primitive.is_result and id(t) in self._arrays:
            pass  # written by what it is a result of
        elif t.primitive.view:
            self._arrays[id(t)] = t.primitive.compute(arrays[0], **t.attributes)
            self._shares_memory(t, t.inputs[0])
            if t.primitive.does_work:
                work.append(t.primitive.bind(self, self._arrays[id(t)], arrays, t))
        else:
            readers = self._uses[id(t)] - len(self.results_of(t))
            if t.primitive.adds and id(t) in added and readers == 1:
                written.append(added[id(t)])
                self._added.add(id(t))
                out = self._place(t, added)
            elif (over := self._overwritten(t, plain)) is not None:
                out = self._arrays[id(t)] = self._arrays[id(over)].reshape(t.shape)
                self._shares_memory(t, over)
            else:
                out = self._place(t, plain)
            work.append(t.primitive.bind(self, out, arrays, t))
        for source in t.inputs:
            self._done_with(source, work)
        return written

    def _shares_memory(self, t: Tensor, source: Tensor) -> None:
        owner = self._owner[id(t)] = self._owner[id(source)]
        self._uses[owner] = self._uses.get(owner, 0) + self._uses[id(t)]

    def _overwritten(self, t: Tensor, plain: dict[int, Destination]) -> Tensor | None:
        """Return the input whose memory a result takes, if nothing else reads that."""
        if t.primitive.over is None or id(t) in plain or id(t) in self._over:
            return None
        source = t.inputs[t.primitive.over]
        alike = (source.shape, source.dtype) == (t.shape, t.dtype)
        others = any(x is source for k, x in enumerate(t.inputs) if k != t.primitive.over)
        return source if alike and not others and self.is_last_use(source) else None

    def _fused(
        self,
        fused: Fused,
        plain: dict[int, Destination],
        added: dict[int, Destination],
        work: list[Work],
    ) -> list[Destination]:
        """Add several operations as one expression. Return the destinations that it adds to."""
        group, (rows, columns) = fused.group, fused.group.size()
        inputs = []
        for t in group.inputs:
            array = self.array(t)
            if not array.flags.c_contiguous:
                copy = self.backend.empty(array.shape, array.dtype)
                work.append(stored(self.backend, array, copy))
                array = copy
            inputs.append(array.reshape(group.shape_of(t)))
        outputs: list[tuple[Tensor, Array, bool]] = []
        summed = [added[id(t)] for t in fused.outputs if id(t) in added]
        summed = summed[: MOST_ARRAYS - len(inputs) - len(fused.outputs)]
        for target in summed:
            outputs.append((target.tensor, target.array, True))
        only_added = {id(t.tensor) for t in summed if self._uses[id(t.tensor)] == 1}
        for t in fused.outputs:
            if id(t) not in only_added:
                outputs.append((t, self._place(t, plain), False))
        expression = group.expression([(t, adds) for t, _, adds in outputs])
        places = [array.reshape(group.shape_of(t)) for t, array, _ in outputs]
        if outputs:
            expressed = self.backend.expression
            work.append(partial(expressed, expression, rows, columns, inputs, places))
        apart = set(map(id, fused.later))
        for t in group.members:
            for source in t.inputs if id(t) not in apart else ():
                self._done_with(source, work)
        return summed

    def _in_place(self, steps: Sequence[Tensor | Fused], made: set[int], added: set[int]) -> None:
        """Find results that can overwrite an operand which nothing else reads.

        ``made`` and ``added`` are the ``id`` of results allocated in the stage, and accumulated.
        """
        for fused in steps:
            if not isinstance(fused, Fused):
                if id(fused) in self._plain and fused.primitive.over is not None:
                    self._computed_where(fused, made)
                continue
            if len(fused.outputs) != 1:
                continue
            (t,), group = fused.outputs, fused.group
            read = Counter(id(x) for member in group.members for x in member.inputs)
            for source in group.inputs if id(t) not in added else ():
                alone = id(source) in made and self._uses[id(source)] == read[id(source)]
                alike = (source.shape, source.dtype) == (t.shape, t.dtype)
                if alone and alike and not fused.later and group.is_in_place(source, t):
                    self._over[id(source)] = t
                    break

    def _computed_where(self, t: Tensor, made: set[int]) -> None:
        """Let the operand that a result may overwrite be computed at the result's destination."""
        source = t.inputs[t.primitive.over]
        alike = (source.shape, source.dtype) == (t.shape, t.dtype)
        if alike and id(source) in made and self._uses[id(source)] == 1:
            self._over[id(source)] = t

    def place(self, t: Tensor) -> Array:
        """Return the array of another result of the operation that is being bound."""
        return self._place(t, self._plain)

    def takes(self, t: Tensor, source: Tensor) -> bool:
        """Let another result of the operation that is being bound have the memory of one of its
        inputs, if it is not written elsewhere; return whether it has."""
        alike = (t.shape, t.dtype) == (source.shape, source.dtype)
        if id(t) in self._plain or id(t) in self._over or not alike:
            return False
        self._arrays[id(t)] = self._arrays[id(source)]
        self._shares_memory(t, source)
        return True

    def is_used(self, t: Tensor) -> bool:
        """Return whether a tensor is read or wanted, in any stage."""
        return self._uses.get(id(t), 0) > 0

    def results_of(self, t: Tensor) -> Sequence[Tensor]:
        """Return the results of an operation besides ``t`` that are read or wanted."""
        return self._results.get(id(t), ())

    def adds(self, t: Tensor) -> bool:
        """Return whether the result of an operation is added to the array that it is bound to."""
        return id(t) in self._added

    def _place(self, t: Tensor, plain: dict[int, Destination]) -> Array:
        """Return the array that a result is written to."""
        if id(t) in plain:
            out = plain[id(t)].array
            self._kept.add(id(t))
        elif id(t) in self._over:  # it shares the memory of the result that overwrites it
            out = self._place(self._over[id(t)], plain)
            self._kept.add(id(t))
        elif id(t) in self._arrays:
            return self._arrays[id(t)]
        else:
            out = self.empty(t.shape, t.dtype)
        self._arrays[id(t)], self._owner[id(t)] = out, id(t)
        return out

    def _written_directly(
        self, computed: list[Tensor], targets: Sequence[Destination]
    ) -> tuple[dict[int, Destination], dict[int, Destination], list[Destination]]:
        """Return the results computed directly in their destinations: written, and accumulated; and
        the destinations of views whose memory is thereby written."""
        new = [t for t in computed if id(t) not in self._arrays]
        made = {id(t) for t in new if not t.primitive.view}
        others_write = any([t.primitive.writes for t in computed])
        plain: dict[int, Destination] = {}
        added: dict[int, Destination] = {}
        through: list[Destination] = []
        known = set(map(id, new))
        for target in targets:
            if target.array is None or self._is_read(target.array):
                continue
            of = target.tensor
            while id(of) in known and _is_whole(of):
                of = of.inputs[0]
            key = id(of)
            if key not in made:
                continue
            if of is not target.tensor:
                if not target.accumulate and target.array.flags.c_contiguous:
                    whole = Destination(of, target.array.reshape(of.shape))
                    if plain.setdefault(key, whole) is whole:
                        through.append(target)
            elif not target.accumulate:
                plain.setdefault(key, target)
            elif not others_write and self._is_alone(target, targets):
                added.setdefault(key, target)
        return plain, added, through

    def _is_alone(self, target: Destination, targets: Iterable[Destination]) -> bool:
        """Return whether no other destination shares the memory, as the order of sums matters."""
        others = [x.array for x in targets if x is not target and x.array is not None]
        apart = all(self.backend.overlap(target.array, other) is None for other in others)
        return apart and bool(target.array.flags.c_contiguous)

    def _is_read(self, array: Array) -> bool:
        """Return whether it is memory of a leaf, which must last until all of it is read."""
        overlap = self.backend.overlap
        return any([overlap(array, leaf) is not None for leaf in self._leaves])

    def is_last_use(self, t: Tensor) -> bool:
        """Return whether the operation being bound is the last to read the memory of a tensor."""
        owner = self._owner.get(id(t))
        if owner is None or (owner in self._kept and owner not in self._spent):
            return False
        return self._uses[owner] == 1

    def released(self, array: Array) -> list[Work]:
        """Return the work to do when memory is no longer needed: none."""
        return []

    def _done_with(self, t: Tensor, work: list[Work]) -> None:
        """Remove one use of a tensor; without any left, its memory is free."""
        owner = self._owner.get(id(t))
        if owner is None:
            return
        self._uses[owner] = self._uses.get(owner, 0) - 1
        if self._uses[owner] == 0 and owner not in self._kept:
            work += self.give_back(self._arrays[owner])

    def give_back(self, array: Array) -> list[Work]:
        """Let memory be used again. Return the work to do."""
        array = array.reshape(-1)
        self.free.setdefault((array.size, name_of(array.dtype)), []).append(array)
        return self.released(array)


def _is_whole(t: Tensor) -> bool:
    """Return whether a tensor is all of another one's memory, with another shape."""
    view = t.primitive.view and not t.primitive.does_work
    return view and t.size == t.inputs[0].size and t.dtype == t.inputs[0].dtype
