"""What `ops.associative_scan` does: it combines neighbors in pairs, and pairs of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.joining import concatenate
from gpunn.ops.shapes import axis_of, flip
from gpunn.ops.tensor import Tensor, ops

from .scan import filled, flat, plain


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
