"""Random tensors: `gpunn.random`, with Keras's names.

Inside a `call` they are drawn anew in each step, from the stream of the layer's node and with the
model's seed, or that of a `SeedGenerator`; so a run that goes on from a checkpoint draws what it
would have drawn. With a whole number as seed they are the same each time, as in Keras.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.common.random import check_seed, draw_seed, set_random_seed, set_seed

from .conversion import convert
from .dtypes import is_float, named, standard
from .narrow import held_bounds
from .places.taking import take_unchecked
from .primitive import Primitive, Work
from .shapes import axis_of
from .table import ops
from .tensor import Tensor, constant
from .trace import current

__all__ = [
    "SeedGenerator", "categorical", "check_seed", "draw_seed", "dropout", "normal", "randint",
    "set_random_seed", "set_seed", "shuffle", "truncated_normal", "uniform",
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
    return convert(_standard_normal(shape, dtype, seed) * stddev + mean, dtype)


def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Numbers from ``minval`` up to what is below ``maxval``, all of them as likely."""
    share = 1.0 - ops.exp(-_exponential(shape, dtype, seed))
    return convert(share * (maxval - minval) + minval, dtype)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers without those further than two standard deviations from the mean.

    >>> bool((abs(truncated_normal((1000,))) <= 2).all())
    True
    """
    inside = math.erf(math.sqrt(2))  # the share of those that are kept
    y = math.sqrt(2) * ops.erfinv(uniform(shape, -inside, inside, standard(dtype), seed))
    return convert(ops.clip(y, -2.0, 2.0) * stddev + mean, dtype)


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Whole numbers from ``minval`` up to ``maxval`` - 1, all of them as likely.

    >>> sorted(set(randint((1000,), -1, 2).tolist()))
    [-1, 0, 1]
    """
    low, high = int(minval), int(maxval)
    if standard(dtype) != "int32":
        raise ValueError(f"dtype must be one of whole numbers; got {dtype!r}.")
    least, most = held_bounds(named(dtype))
    if not (least <= low < high <= most + 1 and low == minval and high == maxval):
        raise ValueError(
            f"minval must be below maxval, and both whole numbers in the range of {named(dtype)}, "
            f"{least} to {most}; got {minval!r} and {maxval!r}."
        )
    kind = "float32" if high - low < 2**12 else "float64"  # of enough digits for all of them
    share = uniform(shape, 0.0, 1.0, kind, seed)
    y = ops.cast(ops.minimum(ops.floor(share * float(high - low)), high - low - 1.0), "float64")
    return ops.cast(y + float(low), "int32")


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Classes (batch, num_samples), each as likely as the softmax of its row of logits says.

    >>> categorical([[0.0, -1e9], [-1e9, 0.0]], 3).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    logits = convert(logits)
    if logits.ndim != 2:
        raise ValueError(f"logits must have the shape (batch, classes); got {logits.shape}.")
    batch, classes = logits.shape
    # The largest of the logits less the logarithms of exponential numbers: Gumbel's trick.
    noise = ops.log(_exponential((batch, int(num_samples), classes), logits.dtype, seed))
    return ops.cast(ops.argmax(ops.expand_dims(logits, 1) - noise, -1), dtype)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Tensor:
    """Each number 0 with this probability, else divided by that of the others.

    Args:
        inputs: a tensor.
        rate: from 0 to 1.
        noise_shape: that broadcasts to the inputs': along axes of length 1 all are dropped
            together. None in it is the inputs' own length.
        seed: as of `normal`.

    >>> dropout([1.0, 2.0], 0.0).tolist(), dropout([1.0, 2.0], 1.0).tolist()
    ([1.0, 2.0], [0.0, 0.0])
    """
    x = convert(inputs)
    if not is_float(x.dtype):
        raise ValueError(f"inputs of floats are expected; got {x.dtype}.")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be from 0 to 1; got {rate!r}.")
    if rate in (0, 1):
        return x if rate == 0 else ops.zeros_like(x)
    given = x.shape if noise_shape is None else noise_shape
    shape = [own if n is None else n for n, own in zip(given, x.shape, strict=True)]
    kept = uniform(shape, 0.0, 1.0, x.dtype, seed) >= rate
    return ops.where(kept, x / (1.0 - rate), 0.0)


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Tensor:
    """The same in random order along an axis, all orders as likely.

    >>> sorted(shuffle([1, 2, 3]).tolist())
    [1, 2, 3]
    """
    x = convert(x)
    order = ops.argsort(_standard_normal((x.shape[axis],), None, seed))
    return take_unchecked(x, order, axis_of(axis, x.ndim))


def _exponential(shape: Any, dtype: Any, seed: Any) -> Tensor:
    """Exponentially distributed numbers of mean 1: of two normal ones, (a^2 + b^2) / 2."""
    a, b = (_standard_normal(shape, dtype, seed, part) for part in range(2))
    return 0.5 * (a * a + b * b)


def _standard_normal(shape: Any, dtype: Any, seed: Any, part: int = 0) -> Tensor:
    sizes, kind = tuple(int(n) for n in shape), standard(dtype)
    if not is_float(kind):
        raise ValueError(f"dtype must be one of floats; got {dtype!r}. Integers: random.randint.")
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
