"""Traces that only determine shapes, before there are arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.common.config import runs_eagerly
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import FUNCTION, Mode, Trace


class ShapeTrace(Trace):
    """A trace that only determines shapes; if steps are eager, all values in it are 0."""

    def __init__(self, mode: Mode = FUNCTION) -> None:
        super().__init__(mode.shapes(is_eager=runs_eagerly()))

    def leaf(self, shape: Sequence[int], dtype: str) -> Tensor:
        return self._with_zeros(super().leaf(shape, dtype))

    def made(self, t: Tensor) -> Tensor:
        return self._with_zeros(super().made(t))

    def _with_zeros(self, t: Tensor) -> Tensor:
        if runs_eagerly():
            t.value = np.broadcast_to(np.zeros((), t.dtype), t.shape)
        return t


def trace_of(
    function: Callable[..., Any],
    shapes: Iterable[tuple[Sequence[int], str]],
    training: bool = False,
) -> tuple[Trace, Any]:
    """Trace ``function``, called with leaves of these shapes and dtypes; return its result too."""
    trace = ShapeTrace(Mode.function(training))
    with trace.active():
        return trace, function(*(trace.leaf(*given) for given in shapes))


def entries_per_sample(
    name: str,
    function: Callable[..., Any],
    samples: Iterable[tuple[Sequence[int], str]],
    training: bool,
) -> list[int]:
    """Return what `Trace.entries` needs to know of a function: the entries for each sample.

    It is called with leaves for two samples, then three, of these shapes and dtypes.

    Raises:
        ValueError: if it asks for more axes with one of these numbers of samples.
    """
    samples = list(samples)
    two, three = (
        trace_of(function, [((n, *shape), dtype) for shape, dtype in samples], training)[0]
        for n in (2, 3)
    )
    check_axes(name, two.lengths, three.lengths)
    return [after - before for before, after in zip(two.lengths, three.lengths, strict=True)]


def check_axes(name: str, first: Sequence[int], second: Sequence[int]) -> None:
    """Check that a function asks for as many axes whatever the number of samples: else each rank
    would draw other random numbers."""
    if len(first) != len(second):
        raise ValueError(
            f"{name} draws random numbers, applies layers or adds losses more often for some "
            f"numbers of samples than for others, and each of several ranks has its own number. "
            f"Do the same for every number of samples."
        )
