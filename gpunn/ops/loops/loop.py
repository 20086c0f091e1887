"""A loop in a trace: its body is a graph that is traced once, and bound to the arrays of each step.

The body computes from leaves: the values carried from step to step, and one row of each sequence.
Whatever else it reads is fixed: computed once, before the loop. Results are the values carried out
of the last step, and tensors of the body that are kept for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.ops.fusion.storing import stored
from gpunn.ops.gradients import topological_sort
from gpunn.ops.primitive import Gradients, Primitive, Work, one_after_another
from gpunn.ops.running.computation import Computation, Destination
from gpunn.ops.tensor import Tensor


class Loop:
    """The body of a loop, and what is asked of it.

    Args:
        carries: the leaves for the values that are carried, when a step begins.
        nexts: these values when it ends: leaves, tensors of the body, or fixed ones.
        rows: the leaves for the rows of the sequences. A leaf may be the result of an operation:
            then it is read, and not computed.
        kept: tensors whose values of all steps are wanted. Derivatives add theirs.
        reverse: whether the first step takes the last rows.

    Attributes:
        inside: the ``id`` of the tensors that the body computes.
        fixed: the tensors that it reads from outside.
        token: the operation that runs it, once it is applied.
        results: its results, by their kind and number.
    """

    def __init__(
        self, carries: Sequence[Tensor], nexts: Sequence[Tensor], rows: Sequence[Tensor],
        kept: Sequence[Tensor], length: int, reverse: bool,
    ) -> None:
        self.carries, self.nexts, self.rows = list(carries), list(nexts), list(rows)
        self.kept, self.length, self.reverse = list(dict.fromkeys(kept)), length, reverse
        self.leaves = {id(t) for t in (*carries, *rows)}
        self.inside, self.fixed = _body([*nexts, *self.kept], self.leaves)
        self.results: dict[tuple[str, int], Tensor] = {}

    def apply(self, firsts: Sequence[Tensor], sequences: Sequence[Tensor]) -> None:
        """Run it from these first values, over these sequences."""
        self.sequences = list(sequences)
        self.token = _loop(*firsts, *sequences, *self.fixed, loop=self)

    def products_of_rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the products of rows with something fixed, and the leaves of the rows."""
        for t in topological_sort([*self.nexts, *self.kept], read_by):
            if id(t) in self.inside and t.primitive.name == "matmul" and t.ndim == 2:
                row, turned = base_of(t.inputs[0]), t.attributes["transpose_a"]
                if any(row is x for x in self.rows) and not turned and not self.reads(t.inputs[1]):
                    yield t, row

    def last(self, k: int) -> Tensor:
        """Return the value that is carried out of the last step."""
        return self._result("last", k, self.nexts[k], self.carries[k].shape)

    def all(self, t: Tensor) -> Tensor:
        """Return the values of a tensor of the body, or of a leaf, in all steps."""
        for row, sequence in zip(self.rows, self.sequences, strict=True):
            if t is row:
                return sequence
        if all(t is not other for other in self.kept):
            self.kept.append(t)
            if id(t) not in self.leaves:
                self.inside.add(id(t))
        k = [t is other for other in self.kept].index(True)
        carried = [t is other for other in (*self.carries, *self.nexts)]
        if not any(carried) or not self.reads(t):
            return self._result("all", k, t, (self.length, *t.shape))
        # What is carried is kept where it is carried: in a row for each step, and one more.
        is_next, place = divmod(carried.index(True), len(self.carries))
        rows = self._result("history", place, t, (self.length + 1, *t.shape))
        start = int(bool(is_next) is not self.reverse)
        return _steps(rows, self.token, start=start, length=self.length, number=k)

    def _result(self, kind: str, k: int, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        if (kind, k) not in self.results:
            self.results[kind, k] = _result(
                self.token, kind=kind, number=k, shape=shape, dtype=like.dtype
            )
        return self.results[kind, k]

    def reads(self, t: Tensor) -> bool:
        """Whether a tensor differs from step to step: a leaf or what the body computes, which the
        results of a loop in it are."""
        of_inner = t.primitive in (_result, _steps) and id(t.inputs[-1]) in self.inside
        return id(t) in self.leaves or id(t) in self.inside or of_inner

    # -- on arrays

    def bind(self, computation: Computation, arrays: Sequence[Any]) -> list[Work]:
        """Return the work of all steps, and place the results that are used."""
        used = {
            key: computation.place(t) for key, t in self.results.items() if computation.is_used(t)
        }
        backend, n, turn = computation.backend, self.length, -1 if self.reverse else 1
        work, spare, places = list[Work](), list[Array](), list[list[Array]]()
        for k, (c, first) in enumerate(zip(self.carries, arrays, strict=False)):
            if (whole := used.get(("history", k))) is not None:
                places.append([_row(whole, at) for at in range(n + 1)][::turn])
            else:  # in two places, by turns
                two = [computation.empty(c.shape, c.dtype) for _ in range(2)]
                spare += two
                places.append([two[step % 2] for step in range(n + 1)])
            work.append(stored(backend, first, places[k][0]))
        sequences, fixed = arrays[len(self.carries) :], arrays[len(self.carries) + len(self.rows) :]
        for step, at in enumerate(range(n)[::turn]):
            leaves = dict(zip(map(id, self.fixed), fixed, strict=True))
            leaves |= {id(t): _row(x, at) for t, x in zip(self.rows, sequences, strict=False)} | {
                id(t): place[step] for t, place in zip(self.carries, places, strict=True)
            }
            targets = [
                *(Destination(t, to[step + 1]) for t, to in zip(self.nexts, places, strict=True)),
                *(Destination(self.kept[k], _row(x, at))
                  for (kind, k), x in used.items() if kind == "all"),
            ]
            work += Computation(
                backend, leaves, [targets], lambda: computation.context, computation
            ).work[0]
        work += [
            stored(backend, places[k][n], x) for (kind, k), x in used.items() if kind == "last"
        ]
        return work + [do for array in spare for do in computation.give_back(array)]


def _row(sequence: Array, at: int) -> Array:
    """Return a row as a view, also of numbers."""
    return sequence[at : at + 1].reshape(sequence.shape[1:])


def read_by(t: Tensor) -> Sequence[Tensor]:
    """Return the tensors that one, or its gradient, is computed from."""
    return () if t.is_constant else (*t.inputs, *t.attributes.get("by", ()))


def _body(roots: Iterable[Tensor], leaves: Collection[int]) -> tuple[set[int], list[Tensor]]:
    """Return the ``id`` of what is computed from the leaves, and the other tensors that are read.
    Constant numbers are part of the operations that read them."""
    roots = list(roots)
    order = topological_sort(roots, lambda t: () if id(t) in leaves else read_by(t))
    inside = set[int]()
    read = {id(t): t for t in roots}
    for t in order:
        sources = () if id(t) in leaves else read_by(t)
        if any(id(x) in leaves or id(x) in inside for x in sources):
            inside.add(id(t))
            read.update((id(x), x) for x in sources)
    known = (t for key, t in read.items() if key not in leaves and key not in inside)
    return inside, [t for t in known if not t.is_number]


def base_of(t: Tensor) -> Tensor:
    """Return the tensor that this one is another shape of."""
    while t.primitive is not None and t.primitive.name == "reshape" and not t.is_constant:
        t = t.inputs[0]
    return t


class _Looping(Primitive):
    """All steps of a loop. Its results are tensors that read it, and are written with it."""

    eager = False
    takes_wants = True

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        return partial(one_after_another, *y.attributes["loop"].bind(computation, arrays))


_EMPTY = (0,)
_given = Primitive("gradient of a loop's result", None, lambda *shapes, **more: _EMPTY)
"""The gradient of a result, as a part of the loop's gradient. It is read, not computed."""
_given.eager = False
_result = Primitive(
    "result of a loop", None, lambda token, shape, **attributes: shape,
    lambda token, dtype, **attributes: dtype,
    lambda dy, y, token, kind, number, **attributes: (_given(dy, kind=kind, number=number),),
)
_result.is_result = True
_steps = Primitive(
    "steps of a loop", lambda rows, start, length, number: rows[start : start + length],
    lambda rows, token, start, length, number: (length, *rows[1:]),
    gradient=lambda dy, y, *inputs, number, **more: (None, _given(dy, kind="all", number=number)),
    view=True,
)
"""What a loop carries into each of its steps, or out of it."""


def gradients_given(dy: Tensor) -> dict[tuple[str, int], Tensor]:
    """Return the gradients of the results of a loop, by their kind and number: ``dy`` is the sum of
    those that reached it."""
    found: dict[tuple[str, int], Tensor] = {}
    waiting = [dy]
    while waiting:
        t = waiting.pop()
        if t.primitive is not _given:
            waiting += t.inputs
            continue
        key = t.attributes["kind"], t.attributes["number"]
        found[key] = found[key] + t.inputs[0] if key in found else t.inputs[0]
    return found


gradient_of_loop: list[Callable[..., Gradients]] = []
"""The derivative of a loop; set by `gpunn.ops.loops.derivative`."""

_loop = _Looping(
    "scan",
    None,
    lambda *shapes, loop: _EMPTY,
    lambda *dtypes, loop: "float32",
    lambda *tensors, **attributes: gradient_of_loop[0](*tensors, **attributes),
)
