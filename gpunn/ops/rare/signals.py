"""Windows of samples, correlations and distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.common.config import floatx
from gpunn.ops.conversion import floats, promoted
from gpunn.ops.dtypes import standard
from gpunn.ops.elementwise import root
from gpunn.ops.shapes import axis_of, whole_number
from gpunn.ops.tensor import Tensor, constant, operation, ops


def _window(name: str, formula: str, printed: str) -> Callable[[Any], Tensor]:
    def function(x: Any) -> Tensor:
        return constant(getattr(np, name)(whole_number(x, "x")), floatx())

    function.__name__ = name
    function.__doc__ = f"""Create a window that weighs x samples, by their place t from -1 to 1.

    The weights are ``{formula}``. Source: as `numpy.{name}`.

    ``x``: the number of samples, an integer. The result (x,) has dtype floatx.

    Raises:
        TypeError: a ValueError too, if x is not an integer.

    >>> from gpunn import ops
    >>> print(abs(ops.{name}(3).numpy().round(2)))
    {printed}
    """
    return operation(function)


bartlett = _window("bartlett", "1 - |t|", "[0. 1. 0.]")
hanning = _window("hanning", "0.5 + 0.5 cos(pi t)", "[0. 1. 0.]")
hamming = _window("hamming", "0.54 + 0.46 cos(pi t)", "[0.08 1.   0.08]")
blackman = _window("blackman", "0.42 + 0.5 cos(pi t) + 0.08 cos(2 pi t)", "[0. 1. 0.]")


@operation
def kaiser(x: Any, beta: float) -> Tensor:
    """Create the window of Kaiser, which weighs x samples, by their place t from -1 to 1.

    The weights are ``i0(beta sqrt(1 - t^2)) / i0(beta)``. Source: as `numpy.kaiser`.

    Args:
        x: the number of samples, an integer. The result (x,) has dtype floatx.
        beta: how narrow the window is; 0 gives weights of 1.

    Raises:
        TypeError: a ValueError too, if x is not an integer.

    >>> from gpunn import ops
    >>> ops.kaiser(3, 0.0).tolist()
    [1.0, 1.0, 1.0]
    """
    return constant(np.kaiser(whole_number(x, "x"), float(beta)), floatx())


@operation
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:
    """Create values with a constant quotient, from ``start`` to ``stop``.

    Arguments and errors: as for `linspace`. The result is of floats, or of the ``dtype``.

    Raises:
        ValueError: also if ``start`` or ``stop`` is 0, or one of them is negative.

    >>> from gpunn import ops
    >>> ops.geomspace(1, 1000, num=4).numpy().round(3).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    a, b = promoted(start, stop, at_least="float")
    signs = ops.sign(a) * ops.sign(b)
    if signs.value is not None and not (signs.value > 0).all():
        raise ValueError("start and stop must both be positive, or both be negative.")
    exponents = ops.linspace(ops.log(ops.abs(a)), ops.log(ops.abs(b)), num, endpoint)
    found = ops.sign(a) * ops.exp(exponents)
    n = found.shape[0]
    places = np.arange(n).reshape(n, *(1,) * (found.ndim - 1))
    found = ops.where(places == 0, a, found)  # exactly
    found = ops.where(places == n - 1, b, found) if endpoint and n > 1 else found
    found = ops.moveaxis(found, 0, axis_of(axis, found.ndim))
    return found if dtype is None else ops.cast(found, standard(dtype))


@operation
def corrcoef(x: Any) -> Tensor:
    """Compute Pearson's correlation coefficients of variables, from -1 to 1.

    ``y_ij = c_ij / sqrt(c_ii c_jj)``, for the covariances c.

    ``x``: a tensor or array-like (variables, samples) -> (variables, variables); of one variable,
    also as (samples,), -> (). Integers become floats (floatx). A constant variable gives NaN.

    Raises:
        ValueError: if x has other axes.

    >>> from gpunn import ops
    >>> ops.corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).numpy().round(3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    x = floats(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"x must be (variables, samples) or (samples,); got shape {x.shape}.")
    rows = ops.reshape(x, (-1, x.shape[-1]))
    rows = rows - ops.mean(rows, -1, keepdims=True)
    rows = rows / ops.sqrt(ops.sum(ops.square(rows), -1, keepdims=True))
    found = ops.clip(rows @ ops.transpose(rows), -1.0, 1.0)
    return found if len(rows) > 1 else ops.reshape(found, ())


@operation
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Tensor:
    """Compute the cross-correlation of two vectors: ``y_k = sum_n x1_(n + k) x2_n``.

    Args:
        x1, x2: vectors (n,) and (m,), promoted to one dtype of floats.
        mode: "full" for all ``n + m - 1`` places where they overlap, "same" for the middle ones, as
            many as the longer has, or "valid" for those where they overlap wholly.

    Raises:
        ValueError: for other axes, empty vectors, or another mode.

    >>> from gpunn import ops
    >>> ops.correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]).tolist()
    [3.5]
    """
    a, b = promoted(x1, x2, at_least="float")
    check_choice("mode", mode, ("valid", "same", "full"))
    if a.ndim != 1 or b.ndim != 1 or not (a.size and b.size):
        raise ValueError(f"x1 and x2 must be vectors; got shapes {a.shape} and {b.shape}.")
    if a.size < b.size:
        return ops.flip(correlate(b, a, mode))
    m = b.size
    before = {"valid": 0, "same": m // 2, "full": m - 1}[mode]
    after = {"valid": 0, "same": m - m // 2 - 1, "full": m - 1}[mode]
    wide = ops.pad(a, ((before, after),))
    return ops.conv(wide[None, :, None], b[:, None, None])[0, :, 0]


@operation
def cdist(x: Any, y: Any) -> Tensor:
    """Compute the Euclidean distance of each vector of x from each of y.

    ``d_ij = sqrt(sum_k (x_ik - y_jk)^2)``. Where it is 0, its derivative is 0.

    Args:
        x: vectors (..., m, d).
        y: vectors (..., n, d). Both are promoted to one dtype of floats; the first axes broadcast.

    Returns:
        a tensor (..., m, n).

    Raises:
        ValueError: if the shapes do not fit.

    >>> from gpunn import ops
    >>> ops.cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[5.0, 0.0]]
    """
    a, b = promoted(x, y, at_least="float")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"x and y must be vectors (..., m, d) and (..., n, d); got shapes {a.shape} and "
            f"{b.shape}."
        )
    apart = ops.expand_dims(a, -2) - ops.expand_dims(b, -3)
    return root(ops.sum(ops.square(apart), -1))
