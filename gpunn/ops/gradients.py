"""Reverse-mode differentiation: builds the graph of gradients from the graph of a computation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from .conversion import cast
from .dtypes import is_float
from .elementwise import copy
from .gradient_rules import RULES, Rule
from .primitive import Gradients, Primitive
from .shapes import reduced_to
from .tensor import Tensor, ops


def _made_of(t: Tensor) -> Sequence[Tensor]:
    return () if t.is_constant else t.inputs  # what a tape has computed is known


def _derived_from(t: Tensor) -> Sequence[Tensor]:
    """Return the tensors that the gradient of a primitive refers to."""
    return t.attributes["by"] if t.primitive is _stated else t.inputs


def topological_sort(
    roots: Iterable[Tensor], sources: Callable[[Tensor], Sequence[Tensor]] = _made_of
) -> list[Tensor]:
    """Return all tensors that the roots depend on, each after its own inputs; by default without
    the inputs of constants."""
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
            stack += [(source, False) for source in reversed(sources(t)) if id(source) not in seen]
    return found


def differentiable(outputs: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors with respect to which outputs may have gradients: all that they are
    computed from without integers, or operations without a derivative, in between."""

    def sources(t: Tensor) -> Sequence[Tensor]:
        constant = t.primitive is not None and t.primitive.gradient is None
        return () if constant or not is_float(t.dtype) else _derived_from(t)

    return topological_sort(outputs, sources)


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None] | None = None,
    is_recorded: Callable[[Tensor], bool] = lambda t: True,
) -> list[Tensor | None]:
    """Compute the gradients of the sum of outputs with respect to each input; None if it does not
    depend on it.

    Args:
        outputs: float tensors.
        inputs: any tensors that the outputs were computed from.
        cotangents: the gradient of each output, 1 everywhere by default.
        is_recorded: whether a tensor depends on what it was computed from; otherwise it is
            constant.

    Raises:
        ValueError: if an operation in between has no derivative.
    """
    given = cotangents or [ops.ones_like(y) for y in outputs]

    sources_of: dict[int, Sequence[Tensor]] = {}
    asked = {id(x) for x in inputs}

    def derived_from(t: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = ()
        if is_recorded(t):
            found = (t.skips[0],) if takes_skipped(t) else _derived_from(t)
        sources_of[id(t)] = found
        return found

    def takes_skipped(t: Tensor) -> bool:
        """Whether gradients go through what a tensor skips, not the way that it was computed."""
        return t.skips is not None and (id(t.skips[0]) in asked or not is_recorded(t.skips[0]))

    order = topological_sort(outputs, derived_from)
    matters = set(asked)
    for t in order:
        if is_float(t.dtype) and not matters.isdisjoint(map(id, sources_of[id(t)])):
            matters.add(id(t))
    found: dict[int, list[Tensor]] = {}

    def add(t: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None and id(t) in matters:
            gradient = reduced_to(gradient, t.shape)
            if gradient.dtype != t.dtype and is_float(t.dtype):  # stated for promoted inputs
                gradient = cast(gradient, t.dtype)
            found.setdefault(id(t), []).append(gradient)

    def total(t: Tensor) -> Tensor | None:
        if len(parts := found.get(id(t), [])) > 1:
            from .indexing import joined_where_whole  # few models read a tensor twice

            first, *others = joined_where_whole(parts)
            parts[:] = [sum(others, first)]
        return parts[0] if parts else None

    for y, dy in zip(outputs, given, strict=True):
        add(y, dy)
    for t in reversed(order):
        dy = total(t)
        rule = None if dy is None or t.primitive is None else _rule_of(t.primitive)
        sources = sources_of[id(t)]
        if dy is None or rule is None or not sources:
            continue
        attributes = t.attributes
        if t.primitive.takes_wants:
            attributes = {**attributes, "wants": [id(source) in matters for source in sources]}
        if takes_skipped(t):
            skipped, function = t.skips
            parts: Gradients = gradients_of(function, [skipped], dy)
        else:
            parts = rule(dy, t, *sources, **attributes)
        for source, part in zip(sources, parts, strict=True):
            if id(source) in matters:
                add(source, part() if callable(part) else part)
    return [total(x) for x in inputs]


def _rule_of(primitive: Primitive) -> Rule | None:
    name = primitive.gradient
    if not isinstance(name, str):
        return name
    if name not in RULES:
        import_module("gpunn.ops.library.large_gradient_rules")  # which adds to them
    if name not in RULES:
        raise ValueError(f"{name} has no derivative: state it in gpunn/ops/gradient_rules.py.")
    return RULES[name]


class _Argument(Primitive):
    eager = False


_argument = _Argument(
    "argument", lambda backend, out, x, number: copy(backend, out, x), lambda shape, number: shape,
    gradient=lambda dy, y, x, number: (dy,), lowering="same",
)
_numbers = itertools.count()


def argument(x: Tensor) -> Tensor:
    """Return a tensor as the argument of a function, distinct from the tensor itself, and from
    other arguments: gradients with respect to it exclude what else depends on the tensor."""
    return _argument(x, number=next(_numbers))


def gradients_of(
    function: Callable[..., Tensor], given: Sequence[Tensor], dy: Tensor
) -> list[Tensor | None]:
    """Return the gradients of sum(dy * function(*given)) with respect to the given tensors, each as
    if the others did not depend on it."""
    own = [argument(t) for t in given]
    return gradients([function(*own)], own, [dy])


def with_gradient(
    y: Tensor, by: Sequence[Tensor], gradient: Callable[[Tensor], Gradients]
) -> Tensor:
    """Return ``y`` with custom gradients with respect to some tensors.

    Args:
        by: the tensors that ``y`` was computed from.
        gradient: maps the gradient of ``y`` to the gradient of each of them, or None for none.

    >>> from gpunn import grad, ops
    >>> def clipped(x):
    ...     return with_gradient(ops.minimum(x, 1.0), [x], lambda dy: [dy])
    >>> grad(clipped)(5.0).item()
    1.0
    """
    if all(x.is_constant for x in by):
        return y
    return _stated(y, by=tuple(by), gradient=gradient)


_stated = Primitive(
    "custom_gradient", lambda backend, out, y, by, gradient: copy(backend, out, y),
    lambda shape, by, gradient: shape, gradient=lambda dy, y, *by_, by, gradient: gradient(dy),
    lowering="same",
)


def skipping(y: Tensor, skipped: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``y``, a new tensor equal to ``function(skipped)`` that is computed from what
    ``skipped`` is computed from.

    Gradients go the way that ``y`` was computed, past ``skipped``. They are the function's
    gradients only where one with respect to ``skipped`` is asked for, or where it is not recorded
    how ``y`` was computed.

    >>> from gpunn import grad, ops
    >>> grad(lambda x: skipping(x + 0.0, ops.exp(x), ops.log))(-1e3).item()
    1.0
    """
    y.skips = skipped, function
    return y
