"""Metrics and losses per row as functions: those in Keras's metrics module.

`get` is here because it accepts them, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.common.config import epsilon
from gpunn.common.names import snake_case
from gpunn.common.parts import described_as, fill_in, lookups
from gpunn.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from gpunn.losses.rows import check_equal, fitting
from gpunn.ops.conversion import convert, floats, tensors_of
from gpunn.ops.tensor import Tensor, ops

from . import functions
from .accuracy import (
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .means import MeanOfRows
from .metric import Metric

__all__ = [
    "BCE", "KLD", "MAE", "MAPE", "MSE", "MSLE", "bce", "binary_accuracy", "binary_crossentropy",
    "categorical_accuracy", "categorical_crossentropy", "categorical_hinge",
    "concordance_correlation", "deserialize", "get", "hinge", "huber", "kl_divergence", "kld",
    "kullback_leibler_divergence", "log_cosh", "logcosh", "mae", "mape", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error", "mse",
    "msle", "pearson_correlation", "poisson", "serialize", "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy", "sparse_top_k_categorical_accuracy", "squared_hinge",
    "top_k_categorical_accuracy",
]


_TOP_K = (TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy)


def _row_function(cls: type[MeanOfRows]) -> Callable[..., Tensor]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> Tensor:
        """Compute the values that `gpunn.metrics.{cls}` averages over the rows.

        The function is Keras's; it takes arrays or tensors.

        Args:
            y_true: targets {shape}.
            y_pred: predictions (..., n).
            **options: arguments of the class by name.

        Returns:
            A tensor (...){each} of 1 where the prediction is right, else 0.

        Raises:
            ValueError: for shapes that do not match.

        >>> from gpunn import metrics
        >>> metrics.{name}({y_true}, [[0.25, 0.75], [0.25, 0.75]]{options}).tolist()
        {values}
        """
        return tensors_of(cls(**options).values(y_true, y_pred))

    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    each = " or for each element (..., n)" if cls.elementwise else ""
    fill_in(function, {
        "name": function.__name__,
        "cls": cls.__name__,
        "shape": "(...), the numbers of the classes" if cls.sparse else "(..., n)",
        "each": each,
        "y_true": "[1, 0]" if cls.sparse else "[[0, 1], [1, 0]]",
        "options": ", k=1" if issubclass(cls, _TOP_K) else "",
        "values": "[[1.0, 1.0], [0.0, 0.0]]" if each else "[1.0, 0.0]",
    })
    return function


binary_accuracy = _row_function(BinaryAccuracy)
categorical_accuracy = _row_function(CategoricalAccuracy)
sparse_categorical_accuracy = _row_function(SparseCategoricalAccuracy)
top_k_categorical_accuracy = _row_function(TopKCategoricalAccuracy)
sparse_top_k_categorical_accuracy = _row_function(SparseTopKCategoricalAccuracy)


def pearson_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Tensor:
    """Compute Pearson's correlation ``mean((t - mean t)(y - mean y)) / (sd t sd y)`` of each row.

    The function is Keras's; it takes arrays or tensors.

    Args:
        y_true, y_pred: targets and predictions (..., n).
        axis: the axis, or several, along which they are compared.

    Returns:
        A tensor (...) of numbers from -1 to 1, or NaN where all entries of a row are equal.

    >>> from gpunn import metrics
    >>> metrics.pearson_correlation([[0, 1, 2]], [[1, 3, 5]]).numpy().round(6).tolist()
    [1.0]
    """
    (t, y), (mean_t, mean_y) = _with_means(y_true, y_pred, axis)
    t, y = t - mean_t, y - mean_y
    spread = ops.std(t, axis=axis, keepdims=True) * ops.std(y, axis=axis, keepdims=True)
    return ops.mean(t * y / spread, axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Tensor:
    """Compute the concordance ``2 cov(t, y) / (var t + var y + (mean t - mean y)^2)`` of each row.

    It is 1 only for predictions that equal the targets (Lin, "A concordance correlation
    coefficient", 1989).

    Args:
        y_true, y_pred: targets and predictions (..., n).
        axis: the axis, or several, along which they are compared.

    Returns:
        A tensor (...) of numbers from -1 to 1.

    >>> from gpunn import metrics
    >>> round(float(metrics.concordance_correlation([[0, 1, 2]], [[1, 2, 3]])[0]), 4)
    0.5714
    """
    (t, y), (mean_t, mean_y) = _with_means(y_true, y_pred, axis)
    both = (ops.var(x, axis=axis, keepdims=True) for x in (t, y))
    apart = sum(both) + ops.square(mean_t - mean_y) + epsilon()
    return ops.mean(2 * (t - mean_t) * (y - mean_y) / apart, axis=axis)


def _with_means(y_true: Any, y_pred: Any, axis: Any) -> tuple[list[Tensor], list[Tensor]]:
    y = floats(convert(y_pred))
    t, y = fitting(convert(y_true, y.dtype), y)
    check_equal("correlation", t.shape, y.shape)
    return [t, y], [ops.mean(x, axis=axis, keepdims=True) for x in (t, y)]


bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
mse = MSE = mean_squared_error
msle = MSLE = mean_squared_logarithmic_error

_get, serialize, deserialize = lookups(Metric)
serialize.__module__ = deserialize.__module__ = __name__  # where pickles look for them


@described_as(_get)
def get(identifier: Any) -> Metric:
    if callable(identifier) and not isinstance(identifier, (type, Metric)):
        name = getattr(identifier, "__name__", "")
        if globals().get(name, getattr(functions, name, None)) is identifier:
            identifier = name
    return _get(identifier)
