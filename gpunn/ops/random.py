"""Random tensors: `gpunn.random`, with Keras's names.

Inside a `call` they are drawn anew in each step, from the stream of the layer's node and with the
model's seed, or that of a `SeedGenerator`; so a run that goes on from a checkpoint draws what it
would have drawn. With a whole number as seed they are the same each time, as in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.common.random import check_seed, draw_seed, set_random_seed, set_seed

from .conversion import convert
from .dtypes import standard
from .primitive import Primitive, Work
from .table import ops
from .tensor import Tensor, constant
from .trace import current

__all__ = [
    "SeedGenerator", "check_seed", "draw_seed", "normal", "set_random_seed", "set_seed", "uniform",
]  # fmt: skip

STREAMS = 1 << 32
"""The random stream of the n-th draw in a call is that of its node, and n times as many further."""


class SeedGenerator:
    """A seed from which the n-th draw takes other numbers than those before.

    Args:
        seed: a whole number; the model's where None is given, or outside a call one of its own.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = check_seed("seed", seed)
        self._generator = np.random.default_rng(draw_seed() if self.seed is None else self.seed)

    def generator(self) -> np.random.Generator:
        """For draws outside a call."""
        return self._generator


class _Draw(Primitive):
    """Standard normal numbers, in each step others."""

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, call = computation.backend, computation.context
        if getattr(call, "control", None) is None:
            raise ValueError("random numbers can be drawn in the call of a layer or a model only.")
        zeros = backend.zeros(y.shape, y.dtype)
        asked = y.attributes["seed"]
        seed = call.seed if asked is None else asked
        stream = call.stream + y.attributes["number"] * STREAMS
        return lambda: backend.normal_noise(zeros, 1.0, seed, stream, call.control, out)


def _no_compute(*args: Any, **attributes: Any) -> None:
    raise TypeError("random numbers of a trace are bound to a step first.")


_draw = _Draw(
    "random.normal",
    _no_compute,
    lambda shape, dtype, seed, number: shape,
    lambda shape, dtype, seed, number: dtype,
)


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers.

    >>> normal((2, 3), seed=1).shape
    (2, 3)
    """
    return _standard_normal(shape, dtype, seed) * stddev + mean


def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Numbers from ``minval`` up to what is below ``maxval``, all of them as likely.

    Made of two normal numbers a and b: (a^2 + b^2) / 2 is exponentially distributed.
    """
    a, b = (_standard_normal(shape, dtype, seed, part) for part in range(2))
    return (1.0 - ops.exp(-0.5 * (a * a + b * b))) * (maxval - minval) + minval


def _standard_normal(shape: Any, dtype: Any, seed: Any, part: int = 0) -> Tensor:
    sizes, kind = tuple(int(n) for n in shape), standard(dtype)
    trace = current()
    if trace is not None and (seed is None or isinstance(seed, SeedGenerator)):
        key = seed.seed if seed is not None else None
        return _draw(shape=sizes, dtype=kind, seed=key, number=trace.next_draw())
    if isinstance(seed, SeedGenerator):
        generator = seed.generator()
    else:
        given = check_seed("seed", seed)
        generator = np.random.default_rng([draw_seed() if given is None else given, part])
    return convert(constant(generator.standard_normal(sizes), kind))
