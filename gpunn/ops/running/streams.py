"""Random numbers as operations: each draw in a call has a stream of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.core.draws import STREAMS
from gpunn.ops.primitive import Primitive, Work
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import tracing

Results = Mapping[str, Array]
DROPPED, MASK = "dropout", "mask of dropout"
NOISY, FACTORS = "noise", "factors of noise"


class _Draw(Primitive):
    """Numbers that are new in each step; `fill` says which."""

    eager = False

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, call = computation.backend, computation.context
        asked = y.attributes["seed"]
        if call is None or (control := call.control_for(asked)) is None:
            raise ValueError("random numbers can be drawn only in the call of a layer or a model.")
        seed = call.seed if asked is None else asked
        stream = call.stream + y.attributes["number"] * STREAMS
        first = call.first_element(y.shape, y.attributes["entries"])
        place = {"seed": seed, "stream": stream, "control": control, "first": first}
        others = {t.attributes["by"]: computation.place(t) for t in computation.results_of(y)}
        results = {**others, self.name: out}
        return self.fill(backend, y, results, *arrays, **place)

    def fill(self, backend: Backend, y: Tensor, results: Results, *x: Array, **place: Any) -> Work:
        """Return what writes the results, by their names, from a place in a stream."""
        raise NotImplementedError


class _Normal(_Draw):
    """Standard normal values."""

    def fill(self, backend: Backend, y: Tensor, results: Results, *x: Array, **place: Any) -> Work:
        zeros, out = backend.zeros(y.shape, y.dtype), results[self.name]
        return partial(backend.normal_noise, zeros, 1.0, out=out, **place)


class _Keep(_Draw):
    """A positive number with probability 1 - rate, else 0, as `Dropout` draws."""

    def fill(self, backend: Backend, y: Tensor, results: Results, *x: Array, **place: Any) -> Work:
        ones, mask = backend.upload(np.ones(y.shape, y.dtype)), backend.empty(y.shape, bool)
        rate, out = y.attributes["rate"], results[self.name]
        return partial(backend.dropout, ones, rate, out=out, mask=mask, **place)


class _Drop(_Draw):
    """x divided by 1 - rate where it is kept, else 0; and where it is kept."""

    def fill(self, backend: Backend, y: Tensor, results: Results, *x: Array, **place: Any) -> Work:
        shape = x[0].shape
        out, mask = results.get(DROPPED), results.get(MASK)
        out = backend.empty(shape, x[0].dtype) if out is None else out
        mask = backend.empty(shape, bool) if mask is None else mask
        return partial(backend.dropout, x[0], y.attributes["rate"], out=out, mask=mask, **place)


class _Noise(_Draw):
    """x + deviation noise; or x (1 + deviation noise), and these factors."""

    def fill(self, backend: Backend, y: Tensor, results: Results, *x: Array, **place: Any) -> Work:
        shape, dtype = x[0].shape, x[0].dtype
        out, factors = results.get(NOISY), results.get(FACTORS)
        out = backend.empty(shape, dtype) if out is None else out
        if y.attributes["multiplies"] and factors is None:
            factors = backend.empty(shape, dtype)
        deviation = y.attributes["deviation"]
        return partial(backend.normal_noise, x[0], deviation, out=out, factors=factors, **place)


normal_numbers, kept_numbers = (
    kind(
        "random numbers",
        None,
        lambda shape, dtype, **attributes: shape,
        lambda shape, dtype, **attributes: dtype,
    )
    for kind in (_Normal, _Keep)
)

_mask = _Drop(MASK, None, lambda x, **how: x, lambda x, **how: "bool")
_dropped = _Drop(DROPPED, None, lambda x, **how: x, gradient="dropout")
_dropped.metadata = ("mask",)
_mask.result_of = _dropped
dropped_gradient = Primitive(
    "dropout's gradient",
    lambda backend, out, dy, mask, rate, accumulate=False: backend.dropout_gradient(
        dy, rate, mask, out, accumulate
    ),
    lambda dy, mask, rate: dy, gradient="dropout's gradient",
)
dropped_gradient.over, dropped_gradient.adds = 0, True

_factors = _Noise(FACTORS, None, lambda x, **how: x)
_noisy = _Noise(NOISY, None, lambda x, **how: x, gradient="noise")
_noisy.metadata = ("factors",)
_factors.result_of = _noisy


def dropped(x: Tensor, rate: float, key: int | None) -> Tensor:
    """Set a random fraction of x to 0, and divide the rest by 1 - rate, inside a call."""
    how = {"rate": rate, **_next_stream(x.shape, key)}
    return _dropped(x, **how, mask=_mask(x, **how))  # now: a tape asks for gradients later


def noisy(x: Tensor, deviation: float, key: int | None, multiplies: bool = False) -> Tensor:
    """Add normal noise of this deviation to x, or multiply x by 1 + noise, inside a call."""
    how = {"deviation": deviation, "multiplies": multiplies, **_next_stream(x.shape, key)}
    return _noisy(x, **how, factors=_factors(x, **how) if multiplies else None)


def _next_stream(shape: Sequence[int], key: int | None) -> dict[str, Any]:
    """Return what identifies the numbers of an array of this shape: the next stream of a trace."""
    trace = tracing()
    return {"seed": key, "number": trace.next_draw(), "entries": trace.entries(shape)}


def drawn(
    draw: Primitive, shape: Sequence[int], dtype: str, key: int | None, **more: Any
) -> Tensor:
    """Draw from the next stream of the trace."""
    return draw(shape=tuple(shape), dtype=dtype, **_next_stream(shape, key), **more)
