"""Random tensors: `gpunn.random`, with Keras's names.

Inside a `call`, each step draws new values from the stream of the layer's node, with the seed of
the model or of a `SeedGenerator`. A run resumed from a checkpoint therefore draws the same values
as an uninterrupted one. An integer seed gives the same values each time, as in Keras.

In a compiled function, the seed of the function and the numbers of its call and of the draw in the
call determine the values, whether Python runs the call or a program does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from gpunn.common.arguments import check_fraction, check_number
from gpunn.common.importing.lazy import offer
from gpunn.common.names import unique_name
from gpunn.common.random import check_seed, draw_seed, set_random_seed, set_seed
from gpunn.core.draws import active_draws
from gpunn.core.recording import recorded

from .conversion import convert
from .dtypes import int32_bounds, is_float, named, standard
from .gather_scatter.gather import take_unchecked
from .running.streams import drawn, kept_numbers, normal_numbers
from .shapes import axis_of, listed, sizes_of, whole
from .tensor import Tensor, constant, ops
from .trace import current
from .variable import StateVariable, Variable

__all__ = [
    "SeedGenerator", "beta", "binomial", "categorical", "check_seed", "draw_seed", "dropout",
    "gamma", "normal", "randint", "set_random_seed", "set_seed", "shuffle", "truncated_normal",
    "uniform",
]
offer(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


_counting = Lock()


class SeedGenerator:
    """A seed that gives different values at each draw, for the ``seed`` of functions that draw.

    Outside a call, two generators with one seed draw the same values in the same order.

    Args:
        seed: an integer; None means the model's seed, or outside a call a new one.
        name: accepted as in Keras; by default numbered.

    Raises:
        ValueError: if the seed is neither None nor an integer that fits in 64 bits.

    >>> seed = SeedGenerator(1)
    >>> normal((3,), seed=seed).tolist() == normal((3,), seed=seed).tolist()
    False
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        self.name = name or unique_name("seed_generator")
        self.seed = check_seed("seed", seed)
        self._at = [draw_seed() % 2**31 if self.seed is None else self.seed, 0]

    @property
    def state(self) -> Variable:
        """The seed and the number of draws so far outside of calls, int32 (2,): a variable, to
        which an earlier state can be assigned.

        Raises:
            ValueError: if the seed does not fit into int32.

        >>> seed = SeedGenerator(1)
        >>> first = normal((3,), seed=seed); seed.state.tolist()
        [1, 1]
        >>> _ = seed.state.assign([1, 0]); normal((3,), seed=seed).tolist() == first.tolist()
        True
        """
        if self._at[0] >= 2**31:
            raise ValueError(
                f"SeedGenerator.state is int32: the seed must be below 2**31; got {self._at[0]}."
            )

        def put(numbers: np.ndarray) -> None:
            self._at = numbers.tolist()

        return StateVariable(
            f"{self.name}/seed_generator_state", (2,), "int32",
            lambda: np.array(self._at, np.int32), put,
        )

    def generator(self) -> np.random.Generator:
        """Return a new NumPy generator for the next draw outside a call, and count the draw.

        >>> SeedGenerator(1).generator().random() == SeedGenerator(1).generator().random()
        True
        """
        with _counting:
            seed, draws = self._at
            self._at = [seed, draws + 1]
        return np.random.default_rng([seed % 2**64, draws % 2**64])

    def next(self, ordered: bool = True) -> Tensor:
        """Return the state, int32 (2,), outside a call, and change it.

        Args:
            ordered: whether to count the draw; False changes both numbers, as in Keras.

        Raises:
            TypeError: inside a call, where the numbers would be the same in each step: pass the
                generator itself as ``seed``.
            ValueError: as for `state`.

        >>> seed = SeedGenerator(1)
        >>> seed.next().tolist(), seed.next().tolist()
        ([1, 0], [1, 1])
        """
        if current() is not None:
            raise TypeError(
                "SeedGenerator.next draws outside a call: inside, its numbers would be the same in "
                "each step. Pass the generator itself, seed=generator."
            )
        with _counting:
            before = self.state.as_tensor()
            seed, draws = self._at
            self._at = [seed, draws + 1] if ordered else [
                (n + 1) * 5387 % 933199 for n in (seed, draws)
            ]
        return convert(before)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SeedGenerator:
        """Return a generator for what `get_config` returned: it begins anew.

        >>> SeedGenerator.from_config(SeedGenerator(1, name="of_noise").get_config()).name
        'of_noise'
        """
        return cls(**config)


def _as_in_a_program(function: Function) -> Function:
    """Return a function that draws. In a function that Python runs, it is computed as it is in the
    program of that function, for the same bits."""
    place = list(signature(function).parameters).index("seed")

    @wraps(function)
    def performed(*args: Any, **kwargs: Any) -> Any:
        if active_draws() is None or current() is not None:
            return function(*args, **kwargs)
        seed = args[place] if len(args) > place else kwargs.get("seed")
        if seed is not None and not isinstance(seed, SeedGenerator):
            return function(*args, **kwargs)
        from .running.tape_trace import in_trace

        return in_trace(lambda: function(*args, **kwargs))[0]

    return performed  # type: ignore[return-value]


@recorded
@_as_in_a_program
def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Draw samples from a normal distribution: ``mean + stddev z`` for a standard normal z.

    The derivatives with respect to tensors ``mean`` and ``stddev`` are 1 and z.

    Args:
        shape: of the result: an integer or a sequence of them.
        mean, stddev: numbers, or tensors that broadcast to the shape.
        dtype: a float dtype; floatx by default.
        seed: an integer, which gives the same values each time, a `SeedGenerator`, or None.

    Raises:
        ValueError: if ``dtype`` is not a float dtype, a size is negative, or the seed is invalid.

    >>> normal((2, 3), seed=1).shape, normal((2,), seed=1).tolist() == normal((2,), seed=1).tolist()
    ((2, 3), True)
    """
    return convert(_standard_normal(shape, dtype, seed) * stddev + mean, dtype)


@recorded
@_as_in_a_program
def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Draw samples from a uniform distribution over the interval [minval, maxval).

    Args:
        minval, maxval: numbers, or tensors that broadcast to the shape.

    The other arguments, and errors: as for `normal`.

    >>> x = uniform((1000,), 2.0, 3.0, seed=1)
    >>> bool(((x >= 2) & (x < 3)).all())
    True
    """
    low, high = (convert(x) if isinstance(x, (list, tuple)) else x for x in (minval, maxval))
    x = convert(_share(shape, dtype, seed) * (high - low) + low, dtype)
    # Rounding can reach maxval: start again at minval.
    rises, over = low < high, x >= high
    over = over if isinstance(rises, bool) else ops.logical_and(over, rises)
    if rises is False or (over.value is not None and not over.value.any()):
        return x
    return ops.where(over, convert(low, x.dtype), x)


def _share(shape: Any, dtype: Any, seed: Any) -> Tensor:
    """Draw samples of a uniform distribution over [0, 1]; 1 comes from rounding, rarely."""
    return 1.0 - ops.exp(-_exponential(shape, dtype, seed))


@recorded
@_as_in_a_program
def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Draw samples from a normal distribution truncated at two standard deviations from the mean.

    They come from a uniform sample u by the inverse of the distribution function,
    ``sqrt(2) erfinv(u)`` for the standard normal distribution.

    Arguments and errors: as for `normal`; mean and stddev are those before it is truncated.

    >>> bool((abs(truncated_normal((1000,))) <= 2).all())
    True
    """
    inside = math.erf(math.sqrt(2))  # the probability of that interval
    share = _share(shape, dtype, seed) * (2 * inside) + -inside
    y = math.sqrt(2) * ops.erfinv(share)
    return convert(ops.clip(y, -2.0, 2.0) * stddev + mean, dtype)


@recorded
@_as_in_a_program
def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Draw samples from gamma distributions of the rate 1, without a derivative for ``alpha``.

    They are the first of eight proposals that passes; none does with a probability below 1e-10.
    Source: Marsaglia & Tsang 2000, "A simple method for generating gamma variables".

    Args:
        alpha: the shape parameters: positive numbers that broadcast to the shape.

    The other arguments, and errors: as for `normal`.

    >>> 1.9 < float(ops.mean(gamma((10000,), 2.0, seed=1))) < 2.1
    True
    """
    sizes = sizes_of(shape)
    x, power = _gamma(sizes, _positive("alpha", alpha), dtype, seed)
    return convert(x * ops.exp(power), dtype)


def _positive(name: str, numbers: Any) -> np.ndarray:
    found = convert(numbers, "float64").numpy()
    if not (found > 0).all():
        raise ValueError(f"{name} must be positive; got {numbers!r}.")
    return found


def _gamma(sizes: Sequence[int], a: np.ndarray, dtype: Any, seed: Any) -> tuple[Tensor, Tensor]:
    """Draw from gamma distributions: return a factor, and the logarithm of another one."""
    low = a < 1
    d = np.where(low, a + 1, a) - 1 / 3
    x, *parts = (_standard_normal((8, *sizes), dtype, seed, part) for part in range(5))
    limits = [0.5 * (parts[k] ** 2 + parts[k + 1] ** 2) for k in (0, 2)]  # exponential
    v = (1 + x / np.sqrt(9 * d)) ** 3
    passes = (v > 0) & (0.5 * x * x + d * (1 - v + ops.log(ops.maximum(v, 1e-30))) > -limits[0])
    y = v[7]
    for k in reversed(range(7)):
        y = ops.where(passes[k], v[k], y)
    # The power of a uniform sample.
    return ops.maximum(y, 0.0) * d, ops.where(low, -limits[1][0] / a, 0.0)


@recorded
@_as_in_a_program
def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Draw samples from beta distributions, without derivatives for their parameters.

    They are ``x / (x + y)`` for samples x and y of gamma distributions; see `gamma`.

    Args:
        alpha, beta: positive numbers that broadcast to the shape; the mean is ``alpha / (alpha +
            beta)``.

    The other arguments, and errors: as for `normal`.

    >>> 0.24 < float(ops.mean(beta((10000,), 1.0, 3.0, seed=1))) < 0.26
    True
    """
    sizes = sizes_of(shape)
    both = [np.broadcast_to(_positive(name, a), sizes)
            for name, a in (("alpha", alpha), ("beta", beta))]
    x, power = _gamma((2, *sizes), np.stack(both), dtype, seed)
    sizes_apart = ops.log(ops.maximum(x, 1e-30)) + power  # logarithms, as a sample may underflow
    return convert(ops.sigmoid(sizes_apart[0] - sizes_apart[1]), dtype)


@recorded
@_as_in_a_program
def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Draw the number of successes among independent trials, without derivatives.

    A sample is where the distribution function reaches a uniform sample.

    Args:
        counts: numbers of trials, integers of 0 or more; each makes a table of so many numbers.
        probabilities: of a success, from 0 to 1. Both broadcast to the shape.
        dtype: a float dtype, as in Keras; floatx by default.

    The other arguments, and errors: as for `normal`.

    >>> 2.9 < float(ops.mean(binomial((10000,), 10, 0.3, seed=1))) < 3.1
    True
    """
    from .rare.tables import reached_by  # few programs need it

    share = _share(shape, "float64", seed)
    return convert(reached_by(share, counts, probabilities), dtype)


@recorded
@_as_in_a_program
def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Draw integers uniformly from the interval [minval, maxval): all are equally likely.

    Each has the probability ``1 / (maxval - minval)``, up to rounding.

    Args:
        shape: of the result: an integer or a sequence of them.
        minval, maxval: integers within the range of the dtype.
        dtype: an integer dtype; the result is int32.
        seed: as in `normal`.

    Raises:
        ValueError: if ``minval`` is not below ``maxval``, if they are not integers in the range of
            the dtype, and for any other dtype.

    >>> sorted(set(randint((1000,), -1, 2).tolist()))
    [-1, 0, 1]
    """
    for name, n in (("minval", minval), ("maxval", maxval)):
        check_number(name, n.item() if isinstance(n, Tensor) else n)
    low, high = int(minval), int(maxval)
    if standard(dtype) != "int32":
        raise ValueError(f"dtype must be an integer dtype; got {dtype!r}.")
    least, most = int32_bounds(named(dtype))
    if not (least <= low < high <= most + 1 and low == minval and high == maxval):
        raise ValueError(
            f"minval must be below maxval, and both integers in the range of {named(dtype)}, "
            f"{least} to {most}; got {minval!r} and {maxval!r}."
        )
    kind = "float32" if high - low < 2**12 else "float64"  # precise enough for all of them
    share = _share(shape, kind, seed)
    y = ops.cast(ops.minimum(ops.floor(share * float(high - low)), high - low - 1.0), "float64")
    return ops.cast(y + float(low), "int32")


@recorded
@_as_in_a_program
def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Draw class indices with the probabilities ``softmax(logits)`` of each row.

    Classes have no gradient: they are the `argmax` of the logits plus Gumbel noise. Source:
    Maddison, Tarlow & Minka 2014, "A* Sampling".

    Args:
        logits: floats (batch, classes).
        num_samples: the number of draws for each row.
        dtype: of the classes.
        seed: as in `normal`.

    Returns:
        class indices (batch, num_samples).

    Raises:
        ValueError: if the logits are not floats (batch, classes), or ``num_samples`` is negative or
            not an integer.

    >>> categorical([[0.0, -1e9], [-1e9, 0.0]], 3).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    logits = convert(logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must have the shape (batch, classes); got {logits.shape}.")
    batch, classes = logits.shape
    # Gumbel's trick: the argmax of the logits minus the logarithms of exponential samples.
    count = whole(num_samples, "num_samples", 0)
    noise = ops.log(_exponential((batch, count, classes), logits.dtype, seed))
    return ops.cast(ops.argmax(ops.expand_dims(logits, 1) - noise, -1), dtype)


@recorded
@_as_in_a_program
def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Tensor:
    """Set elements to 0 at random: ``y = x / (1 - rate)`` with probability 1 - rate, else 0.

    The expected value of each element is kept; the gradient of dropped elements is 0. Source:
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.

    Args:
        inputs: a tensor of floats (...); the result has its shape and dtype.
        rate: from 0 to 1.
        noise_shape: a shape that broadcasts to the inputs: elements along axes of length 1
            are dropped together. None in it means the length of the inputs.
        seed: as in `normal`.

    Raises:
        ValueError: if the inputs are not floats, the rate is not from 0 to 1, or the noise shape
            does not broadcast to the inputs.

    >>> dropout([1.0, 2.0], 0.0).tolist(), dropout([1.0, 2.0], 1.0).tolist()
    ([1.0, 2.0], [0.0, 0.0])
    """
    x = convert(inputs)
    if not is_float(x.dtype):
        raise ValueError(f"inputs must be floats; got {x.dtype}.")
    check_fraction("rate", rate.item() if isinstance(rate, Tensor) else rate)
    if rate in (0, 1):
        return x if rate == 0 else ops.zeros_like(x)
    given = x.shape if noise_shape is None else tuple(listed(noise_shape))
    if len(given) != x.ndim or any(n not in (None, 1, m) for n, m in zip(given, x.shape)):  # noqa: B905
        raise ValueError(
            f"noise_shape must have the length, 1 or None for each axis of {x.shape}; got {given}."
        )
    shape = [own if n is None else n for n, own in zip(given, x.shape, strict=True)]
    kept = _share(shape, x.dtype, seed) >= rate
    return ops.where(kept, x / (1.0 - rate), 0.0)


@recorded
@_as_in_a_program
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Tensor:
    """Shuffle a tensor along an axis: each order of its entries is equally likely.

    Args:
        x: a tensor or array-like; the result has its shape and dtype.
        axis: the axis whose entries are reordered, each as a whole.
        seed: as in `normal`.

    Raises:
        ValueError: if the axis is out of range or not an integer.

    >>> sorted(shuffle([1, 2, 3]).tolist())
    [1, 2, 3]
    """
    x = convert(x)
    place = axis_of(axis, x.ndim)
    return take_unchecked(x, ops.argsort(_standard_normal((x.shape[place],), None, seed)), place)


def _exponential(shape: Any, dtype: Any, seed: Any) -> Tensor:
    """Draw exponential samples of mean 1, as (a^2 + b^2) / 2 from two normal samples."""
    a, b = (_standard_normal(shape, dtype, seed, part) for part in range(2))
    return 0.5 * (a * a + b * b)


def _standard_normal(shape: Any, dtype: Any, seed: Any, part: int = 0) -> Tensor:
    sizes, kind = sizes_of(shape), standard(dtype)
    if not is_float(kind):
        raise ValueError(f"dtype must be one of floats; got {dtype!r}. Integers: random.randint.")
    if seed is None or isinstance(seed, SeedGenerator):
        key = None if seed is None else seed.seed
        if current() is not None:
            return drawn(normal_numbers, sizes, kind, key)
    if isinstance(seed, SeedGenerator):
        generator = seed.generator()
    else:
        given = check_seed("seed", seed)
        generator = np.random.default_rng([draw_seed() if given is None else given, part])
    return convert(constant(generator.standard_normal(sizes), kind))


def kept_at_random(shape: Sequence[int], rate: float, dtype: str, seed: int | None) -> Tensor:
    """Draw 1 with probability 1 - rate, else 0, inside a call: equal on every backend.

    Without a ``seed``, the caller's is used.
    """
    return ops.cast(drawn(kept_numbers, shape, dtype, seed, rate=rate) > 0, dtype)


def even(shape: Sequence[int], dtype: str, seed: int | None) -> Tensor:
    """Draw from a uniform distribution over [0, 1), inside a call: equal on every backend.

    They are multiples of 2^-24, of as many fair bits. Without a ``seed``, the caller's is used.
    """
    bits = drawn(kept_numbers, (*shape, 24), dtype, seed, rate=0.5)  # 0 or 2
    return ops.sum(bits * np.ldexp(1.0, np.arange(-25, -1)).astype(dtype), -1)
