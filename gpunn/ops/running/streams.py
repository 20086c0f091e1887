"""Random numbers as operations: each draw in a call has a stream of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.core.draws import STREAMS
from gpunn.ops.primitive import Primitive, Work
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current


class _Draw(Primitive):
    """Numbers that are new in each step; `fill` says which."""

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, call = computation.backend, computation.context
        asked = y.attributes["seed"]
        if call is None or (control := call.control_for(asked)) is None:
            raise ValueError("random numbers can be drawn only in the call of a layer or a model.")
        seed = call.seed if asked is None else asked
        stream = call.stream + y.attributes["number"] * STREAMS
        first = call.first_element(y.shape, y.attributes["entries"])
        place = {"seed": seed, "stream": stream, "control": control, "first": first}
        return self.fill(backend, y, out, **place)

    def fill(self, backend: Backend, y: Tensor, out: Array, **place: Any) -> Work:
        """Return what fills ``out`` with standard normal values, from a place in a stream."""
        return partial(backend.normal_noise, backend.zeros(y.shape, y.dtype), 1.0, out=out, **place)


class _Keep(_Draw):
    """A positive number with probability 1 - rate, else 0, as `Dropout` draws."""

    def fill(self, backend: Backend, y: Tensor, out: Array, **place: Any) -> Work:
        ones, mask = backend.upload(np.ones(y.shape, y.dtype)), backend.empty(y.shape, bool)
        rate = y.attributes["rate"]
        return partial(backend.dropout, ones, rate, out=out, mask=mask, **place)


normal_numbers, kept_numbers = (
    kind(
        "random numbers",
        None,
        lambda shape, dtype, **attributes: shape,
        lambda shape, dtype, **attributes: dtype,
    )
    for kind in (_Draw, _Keep)
)


def drawn(
    draw: Primitive, shape: Sequence[int], dtype: str, key: int | None, **more: Any
) -> Tensor:
    """Draw from the next stream of the trace."""
    trace = current()
    assert trace is not None
    number, entries = trace.next_draw(), trace.entries(shape)
    return draw(shape=tuple(shape), dtype=dtype, seed=key, number=number, entries=entries, **more)
