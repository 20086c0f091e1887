"""What `ops.associative_scan` does: it combines neighbors in pairs, and pairs of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn.ops.conversion import convert
from gpunn.ops.joining import concatenate, stack
from gpunn.ops.shapes import axis_of, flip, reshape
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .structures import filled, flat, plain


def combined(f: Any, elems: Any, reverse: bool, axis: int) -> Any:
    """Return the result of `gpunn.ops.associative_scan`."""
    if not callable(f):
        raise TypeError(f"associative_scan: f must be a function of two structures; got {f!r}.")
    entries, form = flat(elems)
    xs = [convert(x) for _, x in entries]
    for (path, _), x in zip(entries, xs, strict=True):
        if not x.ndim:
            raise ValueError(f"associative_scan: elems{path} must have axes; got {x!r}.")
    axes = [axis_of(axis, x.ndim, "associative_scan: axis") for x in xs]
    lengths = {x.shape[a] for x, a in zip(xs, axes, strict=True)}
    if len(lengths) != 1:
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

    turned = [flip(x, a) if reverse else x for x, a in zip(xs, axes, strict=True)]
    found = _partial(both, turned, axes, lengths.pop())
    return filled(form, [flip(x, a) if reverse else x for x, a in zip(found, axes, strict=True)])


def _partial(
    both: Callable[[list[Tensor], list[Tensor]], list[Tensor]], xs: list[Tensor],
    axes: Sequence[int], n: int,
) -> list[Tensor]:  # fmt: skip
    """Return the partial results: those of neighbors in pairs, and the others from them."""
    if n < 2:
        return xs

    def some(xs: list[Tensor], *ends: int | None) -> list[Tensor]:
        return [
            ops.get_item(x, (*[slice(None)] * a, slice(*ends)))
            for x, a in zip(xs, axes, strict=True)
        ]

    pairs = both(some(xs, 0, n - 1, 2), some(xs, 1, None, 2))
    odd = _partial(both, pairs, axes, n // 2)
    first = some(xs, 0, 1)
    if n == 2:
        return [concatenate(two, a) for *two, a in zip(first, odd, axes, strict=True)]
    even = both(some(odd, 0, (n - 1) // 2), some(xs, 2, None, 2))
    return [
        _interleaved([concatenate([x, y], a), z], a)
        for x, y, z, a in zip(first, even, odd, axes, strict=True)
    ]


def _interleaved(two: Sequence[Tensor], axis: int) -> Tensor:
    """Take the entries of two tensors in turn; the first may have one more."""
    n = min(t.shape[axis] for t in two)
    rest = (*[slice(None)] * axis, slice(n, None))
    paired = stack([ops.get_item(t, (*rest[:-1], slice(0, n))) for t in two], axis + 1)
    whole = reshape(paired, (*paired.shape[:axis], 2 * n, *paired.shape[axis + 2 :]))
    first = two[0]
    return whole if first.shape[axis] == n else concatenate([whole, first[rest]], axis)
