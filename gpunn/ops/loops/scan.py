"""What `ops.scan` and `ops.associative_scan` do: one trace of a function in a trace, else calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpunn.common.config import runs_eagerly
from gpunn.common.nested import replaced
from gpunn.ops.conversion import convert
from gpunn.ops.joining import concatenate, stack
from gpunn.ops.making import zeros
from gpunn.ops.products import product
from gpunn.ops.running.eager import EagerTrace
from gpunn.ops.shapes import axis_of, flip, reshape, whole
from gpunn.ops.tensor import NeedsValuesError, Tensor, ops
from gpunn.ops.trace import Trace, current

from . import derivative  # noqa: F401
from .loop import Loop


def scanned(
    f: Any, init: Any, xs: Any, length: Any, reverse: bool, unroll: int | bool
) -> tuple[Any, Any]:
    """Return the result of `gpunn.ops.scan`."""
    if not callable(f):
        raise TypeError(f"scan: f must be a function of the carry and a row of xs; got {f!r}.")
    if not isinstance(unroll, bool):
        whole(unroll, "scan: unroll", 1)
    entries, form = flat(xs)
    sequences = [convert(x) for _, x in entries]
    n = _length(length, {f"xs{path}": x for (path, _), x in zip(entries, sequences, strict=True)})
    body, trace = _Body(f, init, form, bool(reverse), n), current()
    eager = isinstance(trace, EagerTrace) or runs_eagerly()
    if trace is None or eager or unroll is True or not n:
        # Where values are known, f does in each step what it does besides computing.
        known = unroll is True or (trace is not None and trace.mode.is_eager)
        return body.unrolled(sequences, None if known else trace)
    return body.traced(sequences, trace)


def _length(length: Any, sequences: dict[str, Tensor]) -> int:
    for name, x in sequences.items():
        if not x.ndim:
            raise ValueError(f"scan: {name} must have an axis of steps; got a single number.")
    lengths = {name: len(x) for name, x in sequences.items()}
    if length is not None:
        lengths = {"length": whole(length, "scan: length", 0), **lengths}
    if not lengths:
        raise ValueError("scan: xs or length must be given: the number of steps is not known.")
    if len({*lengths.values()}) > 1:
        raise ValueError(f"scan: xs and length must give one number of steps; got {lengths}.")
    return next(iter(lengths.values()))


class OnceError(NeedsValuesError, ValueError):
    """A function that is traced once does what it must do in each step."""


class _Body:
    """The function of a `scan`, of rows of this ``form``."""

    def __init__(
        self, f: Callable[..., Any], init: Any, form: Any, reverse: bool, length: int
    ) -> None:
        entries, self._carry_form = flat(init)
        self._f, self._form, self._reverse, self._length = f, form, reverse, length
        self._firsts = [convert(x) for _, x in entries]
        self._names = [f"init{path}" for path, _ in entries]
        self._weak = [k for k, (_, x) in enumerate(entries) if type(x) in (int, float)]

    def _called(
        self, carry: Sequence[Tensor], rows: Sequence[Tensor], trace: Trace | None
    ) -> tuple[list[Tensor], list[Tensor], Any]:
        """Return the next carry, the results and their structure; ``trace`` is that in which ``f``
        must only compute."""
        before = _changes(trace)
        made = self._f(filled(self._carry_form, carry), filled(self._form, rows))
        if not isinstance(made, (list, tuple)) or len(made) != 2:
            raise TypeError(f"scan: f must return a pair, (carry, y); got a {type(made).__name__}.")
        _check_unchanged(before, _changes(trace))
        entries, carry_form = flat(made[0])
        got, expected = plain(carry_form), plain(self._carry_form)
        if got != expected:
            raise ValueError(
                f"scan: f must return a carry of the structure of init, with the tensors "
                f"{expected}; got {got}."
            )
        results, y_form = flat(made[1])
        return [convert(x) for _, x in entries], [convert(y) for _, y in results], y_form

    def _begin(
        self, call: Callable[[list[Tensor]], tuple[list[Tensor], Any]]
    ) -> tuple[list[Tensor], Any]:
        """Return the result of a first call for these carries; called again if Python numbers in
        the first carry have to take another dtype."""
        nexts, made = call(self._firsts)
        before = list(self._firsts)
        for k in self._weak:
            self._firsts[k] = convert(self._firsts[k], nexts[k].dtype)
        if any(a is not b for a, b in zip(self._firsts, before, strict=True)):
            nexts, made = call(self._firsts)
        self._check(nexts)
        return nexts, made

    def _check(self, nexts: Sequence[Tensor]) -> None:
        for name, first, now in zip(self._names, self._firsts, nexts, strict=True):
            if (first.shape, first.dtype) != (now.shape, now.dtype):
                raise ValueError(
                    f"scan: f must return a carry of the shapes and dtypes of init: {name} is "
                    f"{first.shape} of {first.dtype}, and f returns {now.shape} of {now.dtype}. "
                    f"Convert one of them, as with ops.cast or ops.broadcast_to."
                )

    def unrolled(self, sequences: Sequence[Tensor], trace: Trace | None) -> tuple[Any, Any]:
        """Call the function for each step."""

        def step(carry: list[Tensor], t: int) -> tuple[list[Tensor], Any]:
            rows = [x[t] if self._length else zeros(x.shape[1:], x.dtype) for x in sequences]
            nexts, ys, form = self._called(carry, rows, trace)
            return nexts, (ys, form)

        order: Iterable[int] = range(self._length)
        first, *others = [*order][:: -1 if self._reverse else 1] or [0]
        carry, made = self._begin(lambda carry: step(carry, first))
        if not self._length:
            ys = [zeros((0, *y.shape), y.dtype) for y in made[0]]
            return filled(self._carry_form, self._firsts), filled(made[1], ys)
        found = {first: made[0]}
        for t in others:
            carry, (found[t], form) = step(carry, t)
            self._check(carry)
            if plain(form) != plain(made[1]):
                raise ValueError("scan: f must return results in one structure for all steps.")
        columns = zip(*(found[t] for t in order), strict=True)
        return filled(self._carry_form, carry), filled(made[1], [stack(c) for c in columns])

    def traced(self, sequences: Sequence[Tensor], trace: Trace) -> tuple[Any, Any]:
        """Call the function once, for a loop."""
        rows = [trace.leaf(x.shape[1:], x.dtype) for x in sequences]

        def once(firsts: list[Tensor]) -> tuple[list[Tensor], Any]:
            carry = [trace.leaf(t.shape, t.dtype) for t in firsts]
            nexts, ys, form = self._called(carry, rows, trace)
            return nexts, (carry, ys, form)

        nexts, (carry, ys, form) = self._begin(once)
        n, sequences = self._length, list(sequences)
        loop = Loop(carry, nexts, rows, ys, n, self._reverse)
        taken_out = list(loop.products_of_rows())
        for t, row in taken_out:  # one product for all rows
            x, turned = sequences[[row is leaf for leaf in rows].index(True)], t.inputs[0].shape
            matrix = reshape(x, (n * turned[0], turned[1]))
            whole = product(matrix, t.inputs[1], False, t.attributes["transpose_b"])
            sequences.append(reshape(whole, (n, *t.shape)))
        if taken_out:
            rows += [t for t, _ in taken_out]
            loop = Loop(carry, nexts, rows, ys, n, self._reverse)
        loop.apply(self._firsts, sequences)
        last = [loop.last(k) for k in range(len(carry))]
        return filled(self._carry_form, last), filled(form, [loop.all(y) for y in ys])


def _changes(trace: Trace | None) -> tuple[Any, ...]:
    """Return what a function may do in a trace besides computing."""
    if trace is None:
        return (), 0, 0, (), 0
    assigned = [(h.source, h.now) for h in trace.variables.values() if h.is_assigned]
    return tuple(trace.applied), len(trace.losses), trace.draws, assigned, len(trace.effects)


def _check_unchanged(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    for layer in (t.attributes["layer"].name for t in after[0][len(before[0]) :]):
        raise OnceError(
            f"scan: f applies {layer}, which defines its passes on arrays. "
            f"Apply it to all rows before the scan or after it, or use unroll=True."
        )
    known = {id(source): now for source, now in before[3]}
    changed = any(known.get(id(source)) is not now for source, now in after[3])
    updates = after[4] != before[4]
    what = "assigns to a variable" if changed else "adds a loss"
    what = "updates weights or a metric" if updates else what
    if changed or updates or after[1] != before[1]:
        raise OnceError(
            f"scan: f {what}, which it would do once, not in each step. Carry the value, use it "
            f"after the scan, or use unroll=True."
        )
    if after[2] != before[2]:
        raise OnceError(
            "scan: f draws random numbers, which would be the same in each step. Draw them for all "
            "steps before the scan, and pass them as part of xs; or use unroll=True."
        )


# -- structures of tensors


def flat(x: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the values in a structure with their places in it, such as ``[0]['h']``; and the
    structure, with their numbers. None is part of the structure."""
    found: list[tuple[str, Any]] = []

    def place(x: Any, path: str) -> Any:
        if isinstance(x, dict):
            return {key: place(entry, f"{path}[{key!r}]") for key, entry in x.items()}
        if isinstance(x, (list, tuple)):
            entries = [place(entry, f"{path}[{k}]") for k, entry in enumerate(x)]
            return entries if isinstance(x, list) else tuple(entries)
        if x is None:
            return None
        found.append((path, x))
        return len(found) - 1

    return found, place(x, "")


def filled(form: Any, values: Sequence[Any]) -> Any:
    return replaced(lambda number: None if number is None else values[number], form)


def plain(form: Any) -> Any:
    """Return a structure whose tuples are lists, as users exchange these."""
    if isinstance(form, dict):
        return {key: plain(entry) for key, entry in form.items()}
    return [plain(entry) for entry in form] if isinstance(form, (list, tuple)) else form


def combined(f: Any, elems: Any, reverse: bool, axis: int) -> Any:
    """Return the result of `gpunn.ops.associative_scan`."""
    if not callable(f):
        raise TypeError(f"associative_scan: f must be a function of two structures; got {f!r}.")
    entries, form = flat(elems)
    xs = [convert(x) for _, x in entries]
    axes = [axis_of(axis, x.ndim, "associative_scan: axis") for x in xs]
    if len({x.shape[a] for x, a in zip(xs, axes, strict=True)}) != 1:
        raise ValueError(
            f"associative_scan: elems must be tensors of one length along axis {axis}; got "
            f"{[x.shape for x in xs]}."
        )

    def both(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        made, of = flat(f(filled(form, a), filled(form, b)))
        found = [convert(x) for _, x in made]
        if plain(of) != plain(form) or [x.shape for x in found] != [x.shape for x in a]:
            raise ValueError(
                f"associative_scan: f must return the structure and shapes of its arguments, "
                f"{[x.shape for x in a]}; got {[x.shape for x in found]}."
            )
        return found

    def turned(xs: Sequence[Tensor]) -> list[Tensor]:
        return [flip(x, a) if reverse else x for x, a in zip(xs, axes, strict=True)]

    return filled(form, turned(_partial(both, turned(xs), axes)))


def _partial(
    both: Callable[[list[Tensor], list[Tensor]], list[Tensor]], xs: list[Tensor],
    axes: Sequence[int],
) -> list[Tensor]:
    """Return the partial results: first of neighbors in pairs, and from them the others."""
    n = xs[0].shape[axes[0]]
    if n < 2:
        return xs

    def some(xs: list[Tensor], *ends: int | None) -> list[Tensor]:
        keys = [(*[slice(None)] * a, slice(*ends)) for a in axes]
        return [ops.get_item(x, key) for x, key in zip(xs, keys, strict=True)]

    odd = _partial(both, both(some(xs, 0, n - 1, 2), some(xs, 1, None, 2)), axes)
    parts = [some(xs, 0, 1), odd]
    if n > 2:
        parts.insert(1, both(some(odd, 0, (n - 1) // 2), some(xs, 2, None, 2)))
    by_turns = [k // 2 + k % 2 * ((n + 1) // 2) for k in range(n)]
    columns = zip(zip(*parts, strict=True), axes, strict=True)
    return [ops.take(concatenate(column, a), by_turns, a) for column, a in columns]
