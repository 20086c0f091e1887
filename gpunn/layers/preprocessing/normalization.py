"""Normalization of numbers to mean 0 and variance 1, by statistics of the data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_flag
from gpunn.common.config import resolve_dtype
from gpunn.common.fields import field
from gpunn.common.names import counted, warn
from gpunn.common.numeric.moments import DIGITS
from gpunn.core.storage import Parameter
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import constant, ops

from .on_host import batches, numbers

__all__ = ["Normalization"]

EPSILON = 1e-7
"""The smallest standard deviation used as a divisor, the value of `keras.config.epsilon`."""


def _check_axis(name: str, value: Any) -> tuple[int, ...]:
    given = () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(hasattr(n, "__index__") and not isinstance(n, bool) and n != 0 for n in given):
        raise ValueError(
            f"{name} must be None, an axis or several, but not 0, the batch; got {value!r}."
        )
    return tuple(map(int, given))


def _check_moment(name: str, value: Any) -> Any:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers; got {value!r}.")
    if name == "variance" and (array < 0).any():
        raise ValueError(f"variance must be at least 0; got {value!r}.")
    return array.astype(np.float64).tolist()


def _moment(name: str) -> property:
    def read(layer: Any) -> Any:
        given = getattr(layer, f"input_{name}")
        if not layer.built:
            return given
        parameter: Parameter | None = getattr(layer, f"adapt_{name}")
        if parameter is None:
            return constant(layer._constant(given), "float64")
        layer._own_storage()
        values = parameter.numpy().reshape(layer._spread)
        return constant(values, values.dtype.name)

    applied = "as a tensor in the shape in which it is applied to a batch"
    return property(read, doc=f"The {name}, once the layer is built {applied}.")


class Normalization(Layer):
    """Shift and scale numbers: ``y = (x - mean) / sqrt(variance)``, with both from the data.

    `adapt` computes them for each index of ``axis`` and stores them as non-trainable weights.
    Alternatively they are given here, as constants. As in Keras, a standard deviation below 1e-7
    is replaced by 1e-7. Without either, numbers are unchanged. The layer is computed inside the
    step, so a saved model takes numbers as they are in the data.

    Shapes: x ``(batch, ...)`` -> y of the same shape.

    Args:
        axis: the axis, or several, along which each index has a separate mean and variance;
            None: one mean and one variance for all.
        mean, variance: of the data, both or none: numbers, or arrays that fit the axes.
        invert: apply the inverse: ``y = x sqrt(variance) + mean``.

    Raises:
        ValueError: if only one of mean and variance is given, or if their shapes differ.

    >>> layer = Normalization()
    >>> layer.adapt([[1.0, 10.0], [3.0, 30.0]])
    >>> layer([[1.0, 10.0], [2.0, 30.0]]).tolist()
    [[-1.0, -1.0], [0.0, 1.0]]
    >>> Normalization(mean=5.0, variance=4.0)([[7.0]]).tolist()
    [[1.0]]
    """

    supports_masking = True
    examples = (
        {"mean": 0.5, "variance": 4.0},
        {"axis": [1], "mean": -1.0, "variance": 0.25, "invert": True},
        {},
    )

    input_mean: ClassVar[Any]
    input_variance: ClassVar[Any]


    axis: Any = field(default=-1, check=_check_axis)
    mean: Any = field(
        default=None, check=_check_moment, attribute="input_mean", managed=_moment("mean")
    )
    variance: Any = field(
        default=None, check=_check_moment, attribute="input_variance", managed=_moment("variance")
    )
    invert: bool = field(default=False, check=check_flag)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.adapt_mean: Parameter | None = None
        self.adapt_variance: Parameter | None = None
        given = self.input_mean, self.input_variance
        if (given[0] is None) != (given[1] is None):
            raise ValueError(
                f"{self.name}: mean and variance must be given together, or not at all; got "
                f"mean={given[0]!r}, variance={given[1]!r}."
            )
        if given[0] is not None and np.shape(given[0]) != np.shape(given[1]):
            raise ValueError(
                f"{self.name}: mean and variance must have the same shape; got "
                f"{np.shape(given[0])} and {np.shape(given[1])}."
            )
        if given[0] is not None and np.ndim(given[0]) > len(self.axis):
            raise ValueError(
                f"{self.name}: mean has {np.ndim(given[0])} axes, but axis={self.axis} names "
                f"{len(self.axis)}."
            )

    @property
    def _is_given(self) -> bool:
        return self.input_mean is not None

    def build(self, input_shape: Shape) -> None:
        rank = len(input_shape)
        axes = sorted(n + rank if n < 0 else n for n in self.axis)
        if any(not 1 <= n < rank for n in axes) or len(set(axes)) < len(axes):
            raise ValueError(
                f"{self.name}: axis={self.axis} does not fit inputs of shape {tuple(input_shape)}: "
                f"it must name different axes after the batch axis."
            )
        self._axes = tuple(axes)
        self._spread = tuple(
            int(n or 1) if k in axes else 1 for k, n in enumerate(input_shape)
        )  # the shape in which they are applied to a batch
        if self.input_mean is not None:
            self._check_fit()
            return
        shape = tuple(int(input_shape[n] or 1) for n in axes)
        self.adapt_mean = self.parameter(shape, "zeros", "mean", trained=False)
        self.adapt_variance = self.parameter(shape, "ones", "variance", trained=False)
        # Keras's layer has this weight but never uses it: so lists of weights stay compatible.
        self.count = self.parameter((), "zeros", "count", trained=False)

    def _check_fit(self) -> None:
        try:
            for given in (self.input_mean, self.input_variance):
                self._constant(given)
        except ValueError:
            raise ValueError(
                f"{self.name}: mean and variance of shape {np.shape(self.input_mean)} do not fit "
                f"samples of shape {self._spread[1:]} along axis={self.axis}."
            ) from None

    def _constant(self, given: Any, dtype: str = "float64") -> np.ndarray:
        """Return a given statistic in the shape in which it is applied."""
        values = np.asarray(given, dtype)
        expanded = [1] * len(self._spread)
        for k in range(1, values.ndim + 1):
            expanded[self._axes[-k]] = values.shape[-k]
        return np.broadcast_to(values.reshape(expanded), self._spread)

    def call(self, x: Any) -> Any:
        if self.adapt_mean is None:
            mean, deviation = self._given(x.dtype)
        else:
            mean = ops.reshape(self.adapt_mean, self._spread)
            deviation = ops.maximum(
                ops.sqrt(ops.reshape(self.adapt_variance, self._spread)), EPSILON
            )
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        if len(args) == 1 and np.ndim(args[0]) == 0:  # a number alone
            return super()._run(np.asarray(args[0])[None], training=training, **kwargs)[0]
        return super()._run(*args, training=training, **kwargs)

    def _given(self, dtype: str) -> list[np.ndarray]:
        """Return the given mean and deviation; the variance may exceed the range of float32."""
        deviation = np.maximum(np.sqrt(self._constant(self.input_variance)), EPSILON)
        given = {"mean": self._constant(self.input_mean), "deviation": deviation}
        return [_in_dtype(f"{self.name}/{name}", v, dtype) for name, v in given.items()]

    def adapt(self, data: Any) -> None:
        """Compute the mean and the variance of data, in float64, and use them.

        Args:
            data: samples (rows, ...): an array, a list, a column of a frame, or batches of them.

        Raises:
            TypeError, ValueError: for data other than finite numbers, for sample shapes other than
                the layer was built for, or if mean and variance were given.

        >>> layer = Normalization()
        >>> layer.adapt([[1.0], [3.0]])
        >>> layer.mean.tolist(), layer.variance.tolist()
        ([[2.0]], [[1.0]])
        """
        if self.input_mean is not None:
            raise ValueError(f"{self.name}.adapt: mean and variance were given to the layer.")
        count, mean, squares = 0, np.float64(0.0), np.float64(0.0)
        for batch in batches(data):
            array = self._built_for(numbers(batch, self.name))
            around = tuple(k for k in range(array.ndim) if k not in self._axes)
            n = int(np.prod([array.shape[k] for k in around]))
            with np.errstate(over="ignore", invalid="ignore"):  # checked below
                here = array.mean(around, keepdims=True)
                difference = here - mean
                squares = squares + ((array - here) ** 2).sum(around, keepdims=True)
                # Combines the sums of two parts (Chan, Golub and LeVeque, 1983).
                squares = squares + difference**2 * (count * n / (count + n))
                mean = mean + difference * (n / (count + n))
            count += n
        if not count:
            raise ValueError(f"{self.name}.adapt: the data yield no batches.")
        assert self.adapt_mean is not None and self.adapt_variance is not None
        variance = np.asarray(squares / count)
        if resolve_dtype(self.dtype or self.adapt_mean.dtype) == "float32":
            self._warn_of_lost_digits(np.asarray(mean), variance)
        for parameter, values in ((self.adapt_mean, mean), (self.adapt_variance, variance)):
            _set(parameter, np.asarray(values).reshape(parameter.shape))

    def _warn_of_lost_digits(self, mean: np.ndarray, variance: np.ndarray) -> None:
        # The variance of constant values is rounding error.
        lost = np.abs(mean) > DIGITS * np.sqrt(variance)
        lost &= np.sqrt(variance) > 1e-12 * np.abs(mean)
        if lost.any():
            place = tuple(np.argwhere(lost)[0])
            where = f" at {[int(n) for n in place]}" if mean.size > 1 else ""
            warn(
                f"{self.name}.adapt: numbers of about {mean[place]:.3g} that differ by "
                f"{np.sqrt(variance[place]):.3g}{where}, which float32 cannot distinguish: "
                f"subtract the mean in float64 first, or use dtype='float64'."
            )

    def _built_for(self, array: np.ndarray) -> np.ndarray:
        """Return the samples as the layer takes them; build the layer for them if necessary."""
        shape = array.shape[1:]
        if not self.built:
            if array.ndim == 1 and self.axis:  # a column of a frame: a number a sample
                shape = (1,)
            self.build((None, *shape))
        known = self._spread
        if array.ndim != len(known) and (array.ndim, known) == (1, (1, 1)):
            array = array.reshape(-1, 1)
        fits = array.ndim == len(known) and all(array.shape[n] == known[n] for n in self._axes)
        if not fits:
            raise ValueError(
                f"{self.name}.adapt: got samples of shape {array.shape[1:]}; the layer is built "
                f"for {self.input_shape}."
            )
        return array

    def data_held(self) -> dict[str, str]:
        """Describe what the layer stores of the data's values, and so what a saved model tells
        about them.

        >>> layer = Normalization()
        >>> layer.adapt([[1.0, 10.0], [3.0, 30.0]])
        >>> layer.data_held()
        {'mean, variance': 'of 2 columns of numbers'}
        """
        if self.adapt_mean is None:
            return {} if self.input_mean is None else {"mean, variance": "as given to the layer"}
        return {"mean, variance": f"of {counted(self.adapt_mean.size, 'column')} of numbers"}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create an equal layer. ``adapted`` has the results of `adapt`,
        which clones and descriptions without weights keep.

        >>> config = Normalization(mean=5.0, variance=4.0).get_config()
        >>> config["axis"], config["mean"], config["variance"]
        ([-1], 5.0, 4.0)
        """
        config = super().get_config()
        config["axis"] = list(self.axis) if self.axis else None
        config["mean"], config["variance"] = self.input_mean, self.input_variance
        if self.adapt_mean is not None and self.adapt_variance is not None:
            found = _values(self.adapt_mean), _values(self.adapt_variance)
            if found[0].any() or (found[1] != 1).any():
                shape = [None, *(self.input_shape or ())]
                config["adapted"] = [shape, *(values.tolist() for values in found)]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        adapted = config.pop("adapted", None)
        layer = cls(**config)
        if adapted is not None:
            shape, mean, variance = adapted
            layer.build(tuple(shape))
            pairs: Any = ((layer.adapt_mean, mean), (layer.adapt_variance, variance))
            for parameter, values in pairs:
                array = np.asarray(values, np.float64)
                if array.shape != parameter.shape or not np.isfinite(array).all():
                    raise ValueError(
                        f"'adapted' of {layer.name!r} must hold finite numbers of shape "
                        f"{parameter.shape}; got {values!r:.80}."
                    )
                _set(parameter, array)
        return layer


class _Values:
    """Initializer with known values, which are only rounded to the dtype of the model."""

    def __init__(self, what: str, values: np.ndarray) -> None:
        self.what, self.values = what, values

    def __call__(self, shape: Any, dtype: Any) -> np.ndarray:
        return _in_dtype(self.what, self.values, dtype).reshape(shape)


def _values(parameter: Any) -> np.ndarray:
    """Return the values of a parameter, even before it is in a parameter storage."""
    if parameter.storage is not None:
        return np.asarray(parameter.numpy(), np.float64)
    return np.asarray(parameter.initializer(parameter.shape, np.float64))


def _set(parameter: Any, values: np.ndarray) -> None:
    if parameter.storage is None:
        parameter.initializer = _Values(parameter.path, values)
    else:
        parameter.assign(_in_dtype(parameter.path, values, parameter.dtype))


def _in_dtype(what: str, values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the values in a dtype, whose range they must not exceed."""
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not np.isfinite(found).all():
        raise ValueError(
            f"{what} goes up to {float(np.abs(values).max()):.3g}, beyond the range of "
            f"{np.dtype(dtype).name}: divide the data by a number first, or use dtype='float64'."
        )
    return found
