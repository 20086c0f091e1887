"""Initial values of parameters: seeded random draws and constants.

An initializer is called on a shape: ``HeNormal(seed=1)((784, 128))``. The same seed
gives the same values on every call, as in Keras. Without a seed, it draws one from
the process-wide source (`gpunn.utils.set_random_seed`) when it is created.

Names from courses, for a unit with n inputs and m outputs:

============================  ==========================================================
normal(0, 1)                  ``RandomNormal(stddev=1.0)``
normal(0, 1 / sqrt(n))        ``VarianceScaling(1.0, "fan_in", "untruncated_normal")``;
                              ``"lecun_normal"`` has this deviation too, but truncated at
                              two of it (before the correction for the truncation)
normal(0, sqrt(2 / n))        ``VarianceScaling(2.0, "fan_in", "untruncated_normal")``,
                              He; truncated at two deviations: ``"he_normal"``
uniform(-1, 1)                ``RandomUniform(-1.0, 1.0)``
uniform(+-1 / sqrt(n))        ``VarianceScaling(1 / 3, "fan_in", "uniform")``
uniform(+-sqrt(6 / (n + m)))  ``"glorot_uniform"``, Xavier; the default of layers
small random                  ``"random_normal"``, deviation 0.05, or ``"random_uniform"``,
                              from -0.05 to 0.05
orthogonal                    ``"orthogonal"``: rows or columns of length 1 at right angles
zeros                         ``"zeros"``: fine for a bias; units of a hidden layer that
                              start with equal weights stay equal
============================  ==========================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .common import registry
from .common.arguments import check_choice, check_not_negative, check_number, choice, requirement
from .common.config import resolve_dtype
from .common.fields import HasFields, field
from .common.importing.lazy import offer
from .common.parts import OfOneFunction, described_as, lookups
from .common.random import check_seed, draw_seed

__all__ = [
    "Constant", "FunctionInitializer", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform",
    "Identity", "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones",
    "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "Zeros", "constant", "deserialize", "get", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform",
    "ones", "orthogonal", "random_normal", "random_uniform", "serialize", "truncated_normal",
    "variance_scaling", "zeros",
]
offer(__name__)

# The standard deviation of a standard normal truncated at two sigma.
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(registry.Entry, HasFields):
    """Base class of initializers. A subclass implements `draw`, which returns the values of a
    shape.

    An initializer is called on a shape and returns a NumPy array: ``HeNormal(seed=1)((784, 128))``.
    `draw` receives a generator that is seeded with the argument ``seed`` of the built-in classes;
    a subclass without one gets the same generator in every call.

    >>> import numpy as np
    >>> from gpunn.initializers import Initializer
    >>> class _Ramp(Initializer):
    ...     def draw(self, shape, generator):
    ...         return np.arange(float(np.prod(shape))).reshape(shape)
    >>> _Ramp()((2, 2)).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """

    _kind = "initializer"

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Return values of this shape, in float64."""
        raise TypeError(f"{type(self).__name__} must define draw(shape, generator).")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """Return an array of ``shape`` in ``dtype`` (default: `gpunn.config.floatx`).

        >>> Ones()((2, 2)).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
        """
        generator = np.random.Generator(np.random.PCG64(getattr(self, "_key", 0)))
        return self.draw(tuple(shape), generator).astype(resolve_dtype(dtype))

    __repr__ = registry.call_text


class Zeros(Initializer):
    """All 0: the usual initial bias.

    As the initializer of a kernel in a hidden layer, it leaves all units of the layer equal: see
    `gpunn.initializers`. It works for any shape and needs no arguments.

    >>> from gpunn.initializers import Zeros
    >>> Zeros()((2, 2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """All 1: the usual initial scale of a normalization.

    It works for any shape and needs no arguments.

    >>> from gpunn.initializers import Ones
    >>> Ones()((2, 2)).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return np.ones(shape)


def _as_json(name: str, value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


class Constant(Initializer):
    """All equal to ``value``, or a given array (a list in JSON) of the parameter's shape.

    Args:
        value: a number, or an array of the shape that will be requested.

    Raises:
        ValueError: when called, if the shape of the array is not the requested one.

    >>> from gpunn.initializers import Constant
    >>> Constant(0.5)((2,)).tolist(), Constant([[1.0, 2.0]])((1, 2)).tolist()
    ([0.5, 0.5], [[1.0, 2.0]])
    """

    examples = ({"value": 0.5}, {"value": np.array([[1.0, 2.0], [3.0, 4.0]])})

    value: Any = field(default=0.0, check=_as_json)

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        value = np.asarray(self.value, np.float64)
        if value.shape not in ((), shape):
            raise ValueError(f"Constant has a value of shape {value.shape}; {shape} was requested.")
        return np.broadcast_to(value, shape)


class _Seeded(Initializer):
    # Without an annotation: each initializer has it as its last argument.
    seed = field(default=None, check=check_seed)

    def __post_init__(self) -> None:
        self._key = draw_seed() if self.seed is None else self.seed


class RandomNormal(_Seeded):
    """Normal with ``mean`` and ``stddev``.

    Independent draws from the normal distribution, for any shape. The defaults are Keras's.

    Args:
        mean: the expected value.
        stddev: the standard deviation, at least 0.
        seed: integer, for the same values on every call; None draws one from the source of
            `gpunn.utils.set_random_seed`.

    >>> from gpunn.initializers import RandomNormal
    >>> w = RandomNormal(mean=1.0, stddev=0.5, seed=1)((1000, 10))
    >>> bool(abs(w.mean() - 1.0) < 0.02), bool(abs(w.std() - 0.5) < 0.02)
    (True, True)
    """

    aliases = ("normal",)
    examples = ({}, {"mean": 1.0, "stddev": 2.0, "seed": 3})

    mean: float = field(default=0.0)
    stddev: float = field(default=0.05, check=check_not_negative)
    seed: int | None = None

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return generator.normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """Normal with ``mean`` and ``stddev``; draws beyond two ``stddev`` are drawn again.

    The deviation of the result is therefore about 0.88 times ``stddev``. The defaults are Keras's.

    Args:
        mean: the center.
        stddev: the standard deviation before the truncation, at least 0.
        seed: as in `RandomNormal`.

    >>> from gpunn.initializers import TruncatedNormal
    >>> w = TruncatedNormal(stddev=0.5, seed=1)((100, 10))
    >>> bool(abs(w).max() <= 1.0)
    True
    """

    examples = ({}, {"mean": 1.0, "stddev": 2.0, "seed": 3})

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return self.mean + self.stddev * _truncated(shape, generator)


class RandomUniform(_Seeded):
    """Uniform from ``minval`` to ``maxval``.

    Independent draws from the uniform distribution, for any shape. The defaults are Keras's.

    Args:
        minval: the lower limit.
        maxval: the upper limit.
        seed: as in `RandomNormal`.

    >>> from gpunn.initializers import RandomUniform
    >>> w = RandomUniform(-1.0, 1.0, seed=1)((100, 10))
    >>> bool(w.min() < -0.9), bool(w.max() > 0.9), bool(abs(w).max() <= 1.0)
    (True, True, True)
    """

    aliases = ("uniform",)
    examples = ({}, {"minval": -1.0, "maxval": 2.0, "seed": 2**63})

    minval: float = field(default=-0.05)
    maxval: float = field(default=0.05)
    seed: int | None = None

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(self.minval, self.maxval, shape)


def _check_distribution(name: str, value: Any) -> str:
    known = ("truncated_normal", "untruncated_normal", "uniform")
    return check_choice(name, "truncated_normal" if value == "normal" else value, known)


class VarianceScaling(_Seeded):
    """Draws with variance scale / n, where n is the fan-in, the fan-out or their mean.

    The fan-in is the number of inputs of a unit, the fan-out the number of outputs. For a kernel
    (inputs, units) these are the two axes; for a convolution (height, width, channels, filters)
    each is multiplied by height times width. With the right scale, the variance of activations
    stays the same from layer to layer. The definition is Keras's.

    Args:
        scale: positive factor.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``.
        distribution: ``"truncated_normal"`` (at two sigma, corrected for that),
            ``"untruncated_normal"`` or ``"uniform"`` (limits +-sqrt(3 scale / n)).
        seed: as in `RandomNormal`.

    Raises:
        ValueError: for another mode or distribution, or a scale that is not positive.

    >>> from gpunn.initializers import VarianceScaling
    >>> bool(abs(VarianceScaling(seed=1)((500, 400)).std() - 500 ** -0.5) < 1e-3)
    True
    """

    examples = ({}, {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform", "seed": 1})

    scale: float = field(default=1.0, check=requirement("positive", lambda value: value > 0))
    mode: str = field(default="fan_in", check=choice("fan_in", "fan_out", "fan_avg"))
    distribution: str = field(default="truncated_normal", check=_check_distribution)
    seed: int | None = None

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return generator.normal(0.0, math.sqrt(variance), shape)
        return math.sqrt(variance) / TRUNCATED_STDDEV * _truncated(shape, generator)


class _Named(VarianceScaling):
    """A `VarianceScaling` with its first three arguments fixed."""

    fixed: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.fixed, seed=seed)


class GlorotUniform(_Named):
    """Uniform within ``+-sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010).

    The default of most layers, as in Keras, also known as Xavier initialization. It keeps the
    variance of activations and gradients for units that are linear near 0, such as tanh. The fans
    of a kernel (inputs, units) are its two axes, see `VarianceScaling`.

    Args:
        seed: as in `RandomNormal`.

    >>> from gpunn.initializers import GlorotUniform
    >>> w = GlorotUniform(seed=1)((4, 2))  # the limit is sqrt(6 / (4 + 2)) = 1
    >>> w.shape, bool(abs(w).max() <= 1.0)
    ((4, 2), True)
    """

    aliases = ("xavier_uniform",)
    fixed = (1.0, "fan_avg", "uniform")
    examples = ({}, {"seed": 1})


class GlorotNormal(_Named):
    """Truncated normal, variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010).

    Also known as Xavier initialization, with the variance, fans and argument of `GlorotUniform`.

    >>> from gpunn.initializers import GlorotNormal
    >>> w = GlorotNormal(seed=1)((500, 300))  # the deviation is sqrt(2 / 800) = 0.05
    >>> bool(abs(w.std() - 0.05) < 1e-3)
    True
    """

    aliases = ("xavier_normal",)
    fixed = (1.0, "fan_avg", "truncated_normal")
    examples = ({}, {"seed": 1})


class HeUniform(_Named):
    """Uniform within ``+-sqrt(6 / fan_in)`` (He et al., 2015).

    For layers with ReLU, which halves the mean square of its input. The fan-in of a kernel
    (inputs, units) is the number of inputs, see `VarianceScaling`. ``seed``: as in `RandomNormal`.

    >>> from gpunn.initializers import HeUniform
    >>> w = HeUniform(seed=1)((6, 2))  # the limit is sqrt(6 / 6) = 1
    >>> w.shape, bool(abs(w).max() <= 1.0)
    ((6, 2), True)
    """

    fixed = (2.0, "fan_in", "uniform")
    examples = ({}, {"seed": 1})


class HeNormal(_Named):
    """Truncated normal, variance ``2 / fan_in`` (He et al., 2015).

    For layers with ReLU, as `HeUniform`, whose fan-in and argument it has.

    >>> from gpunn.initializers import HeNormal
    >>> w = HeNormal(seed=1)((800, 100))  # the deviation is sqrt(2 / 800) = 0.05
    >>> bool(abs(w.std() - 0.05) < 1e-3)
    True
    """

    fixed = (2.0, "fan_in", "truncated_normal")
    examples = ({}, {"seed": 1})


class LecunUniform(_Named):
    """Uniform within ``+-sqrt(3 / fan_in)`` (LeCun et al., 1998).

    The variance is 1 / fan_in, as for `LecunNormal`. Fan-in and argument: as for `HeUniform`.

    >>> from gpunn.initializers import LecunUniform
    >>> w = LecunUniform(seed=1)((3, 2))  # the limit is sqrt(3 / 3) = 1
    >>> w.shape, bool(abs(w).max() <= 1.0)
    ((3, 2), True)
    """

    fixed = (1.0, "fan_in", "uniform")
    examples = ({}, {"seed": 1})


class LecunNormal(_Named):
    """Truncated normal, variance ``1 / fan_in`` (LeCun et al., 1998).

    With it, a linear unit keeps the variance of its inputs, and so do networks with
    `gpunn.activations.selu`. Fan-in and argument: as for `HeUniform`.

    >>> from gpunn.initializers import LecunNormal
    >>> w = LecunNormal(seed=1)((400, 200))  # the deviation is sqrt(1 / 400) = 0.05
    >>> bool(abs(w.std() - 0.05) < 1e-3)
    True
    """

    fixed = (1.0, "fan_in", "truncated_normal")
    examples = ({}, {"seed": 1})


class Orthogonal(_Seeded):
    """``gain`` times a matrix with orthonormal columns, or rows if it is wide (Saxe et al., 2014).

    A square matrix of this kind keeps the length of every vector. For a shape of more than two
    axes, all axes but the last are the rows of the matrix.

    Args:
        gain: factor.
        seed: as in `RandomNormal`.

    Raises:
        ValueError: when called, for a shape of fewer than two axes.

    >>> import numpy as np
    >>> from gpunn.initializers import Orthogonal
    >>> w = Orthogonal(seed=1)((5, 3), "float64")
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """

    aliases = ("OrthogonalInitializer",)
    examples = ({}, {"gain": 2.0, "seed": 1})

    gain: float = field(default=1.0, check=check_number)
    seed: int | None = None

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal takes a shape of at least two axes; got {shape}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diag(r))  # else some directions are more likely than others
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """``gain`` times the identity matrix; a matrix that is not square has gain on its diagonal.

    A layer of as many units as inputs then starts as a copy of its inputs.

    Args:
        gain: factor.

    Raises:
        ValueError: when called, for a shape that is no matrix's.

    >>> from gpunn.initializers import Identity
    >>> Identity(2.0)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    aliases = ("IdentityInitializer",)
    examples = ({}, {"gain": 2.0})

    gain: float = field(default=1.0, check=check_number)

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"Identity takes the shape of a matrix; got {shape}.")
        return self.gain * np.eye(*shape)


OrthogonalInitializer, IdentityInitializer = Orthogonal, Identity  # Keras's other names


class FunctionInitializer(OfOneFunction, Initializer):
    """Initializer from a custom function: ``function(shape, dtype=...)`` returns an array or a
    tensor.

    `get` creates it. Files store the name under which it was registered, see
    `gpunn.saving.register_serializable`.

    Args:
        function: the function; it is called with a tuple and the name of a dtype.

    >>> import numpy as np
    >>> from gpunn.initializers import get
    >>> get(lambda shape, dtype=None: np.full(shape, 3))((2,)).tolist()
    [3.0, 3.0]
    """

    _abstract = True
    reads = "a shape"

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        dtype = resolve_dtype(dtype)
        return np.array(self.function(tuple(shape), dtype=dtype), dtype)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a kernel: receptive field times input and output channels.

    >>> fans((784, 128)), fans((3, 3, 32, 64)), fans((5,))
    ((784, 128), (288, 576), (5, 5))
    """
    if len(shape) < 1:
        return 1, 1
    if len(shape) == 1:
        return int(shape[0]), int(shape[0])
    field = math.prod(shape[:-2])
    return int(field * shape[-2]), int(field * shape[-1])


def _truncated(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    x = generator.standard_normal(shape)
    flat = x.reshape(-1)
    while (outside := np.flatnonzero(np.abs(flat) > 2.0)).size:
        flat[outside] = generator.standard_normal(outside.size)
    return x


_get, serialize, deserialize = lookups(Initializer)


@described_as(_get)
def get(identifier: Any) -> Initializer:
    if isinstance(identifier, (int, float, np.ndarray)) and not isinstance(identifier, bool):
        return Constant(identifier)
    return _get("glorot_uniform" if identifier is None else identifier)


# Keras's names of the classes in lower case.
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros
