"""Reverse mode: the graph of a computation gives the graph of its gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .dtypes import is_float
from .making import ones_like
from .shapes import reduced_to
from .tensor import Tensor


def in_order(roots: Iterable[Tensor]) -> list[Tensor]:
    """All that the roots are made of, each behind what it is made of itself."""
    found: list[Tensor] = []
    seen = set[int]()
    stack = [(t, False) for t in reversed(list(roots))]
    while stack:  # without recursion: a graph may be deeper than Python's stack
        t, made = stack.pop()
        if made:
            found.append(t)
        elif id(t) not in seen:
            seen.add(id(t))
            stack.append((t, True))
            stack += [(source, False) for source in reversed(t.inputs) if id(source) not in seen]
    return found


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None] | None = None,
) -> list[Tensor | None]:
    """The gradients of a sum of outputs by each input; None where it does not depend on it.

    Args:
        outputs: of floats.
        inputs: what the outputs were made from: any tensors on the way.
        cotangents: the gradient of each output, 1 everywhere by default.

    Raises:
        ValueError: where something on the way has no derivative.
    """
    given = cotangents or [ones_like(y) for y in outputs]
    order = in_order(outputs)
    matters = {id(x) for x in inputs}
    for t in order:
        if is_float(t.dtype) and any(id(source) in matters for source in t.inputs):
            matters.add(id(t))
    found: dict[int, Tensor] = {}

    def add(t: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None and id(t) in matters:
            gradient = reduced_to(gradient, t.shape)
            before = found.get(id(t))
            found[id(t)] = gradient if before is None else before + gradient

    for y, dy in zip(outputs, given, strict=True):
        add(y, dy)
    for t in reversed(order):
        dy = found.get(id(t))
        if dy is None or t.primitive is None or t.primitive.gradient is None:
            continue
        parts = t.primitive.gradient(dy, t, *t.inputs, **t.attributes)
        for source, part in zip(t.inputs, parts, strict=True):
            add(source, part)
    return [found.get(id(x)) for x in inputs]
