"""The curve of an activation, and a check of its `Properties`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends import get_backend

from .activation import Activation
from .properties import INFINITY, Properties

__all__ = ["check_properties", "curve"]

FAR = 1e8  # where a curve lies on its asymptote, within CLOSE
CLOSE = 1e-6


def curve(activation: Activation, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Compute f and its derivative at each x, in float64.

    They are computed by the activation's own passes, forward and backward, as in training. For a
    function of rows, such as softmax, they are for the first output of rows (x, 0).

    Args:
        activation: the activation.
        x: the points, of any shape; they are read as a flat list (points,).

    Returns:
        Two arrays (points,), the values and the slopes.

    >>> from gpunn import activations
    >>> from gpunn.activations import curve
    >>> y, slope = curve(activations.relu, [-1.0, 2.0])
    >>> y.tolist(), slope.tolist()
    ([0.0, 2.0], [0.0, 1.0])
    """
    points = np.asarray(x, np.float64).reshape(-1, 1)
    if activation.rowwise:
        points = np.hstack([points, np.zeros_like(points)])
    y, slope = np.empty_like(points), np.zeros_like(points)
    slope[:, 0] = 1.0
    backend = get_backend("numpy")
    with np.errstate(all="ignore"):
        activation.forward(backend, points, y)
        saved = points if activation.saves == "input" else y
        activation.backward(backend, saved, slope, slope)
    return y[:, 0], slope[:, 0]


def check_properties(activation: Activation, claimed: Properties | None = None) -> Properties:
    """Check the properties of an activation against its values, and return them.

    They are checked at 60,001 points from -30 to 30 and at some as far out as 1e8.

    Args:
        activation: the activation.
        claimed: the properties to check; the activation's own by default.

    Returns:
        The properties, a `Properties`.

    Raises:
        AssertionError: naming the claim that does not hold.
        ValueError: if nothing is claimed.

    >>> from gpunn import activations
    >>> from gpunn.activations import check_properties
    >>> check_properties(activations.tanh).range
    (-1, 1)
    """
    claimed = claimed or activation.properties
    if claimed is None:
        raise ValueError(f"{activation!r} declares no properties.")
    near = np.linspace(-30, 30, 60_001)
    out = np.geomspace(30, FAR, 50)
    x = np.concatenate([-out[::-1], near, out])
    y, _ = curve(activation, x)
    steps = np.diff(y[np.isfinite(y)])
    rises = bool((steps >= -1e-12).all())
    holds = {
        "range": all(
            _reaches(y * sign, bound * sign)
            for sign, bound in zip((-1, 1), claimed.range, strict=True)
        ),
        "monotone": rises == claimed.monotone,
        "left": _approaches(activation, claimed.left, -1),
        "right": _approaches(activation, claimed.right, 1),
        "flat": _is_flat_there_only(activation, claimed.flat),
    }
    for name, is_so in holds.items():
        if not is_so:
            raise AssertionError(f"{activation!r}: {name} = {getattr(claimed, name)} is wrong.")
    return claimed


def _reaches(y: np.ndarray, bound: float) -> bool:
    """Whether ``bound`` is the smallest upper bound of y."""
    if bound == INFINITY:
        return bool(y.max() > 1e6)
    return bool(-CLOSE <= y.max() - bound <= 1e-9)


def _approaches(activation: Activation, line: tuple[float, float] | None, sign: int) -> bool:
    if line is None:  # grows faster than any line
        y, slope = curve(activation, [sign * 100.0, sign * 200.0])
        return bool(slope[1] > 2 * slope[0] > 1e3 and y[1] > 2 * y[0])
    expected = line[0] * sign * FAR + line[1]
    y, slope = curve(activation, [sign * FAR])
    return bool(abs(y[0] - expected) <= CLOSE and abs(slope[0] - line[0]) <= CLOSE)


def _is_flat_there_only(activation: Activation, flat: tuple[tuple[float, float], ...]) -> bool:
    for start, stop in flat:
        inside = np.linspace(max(start, -FAR), min(stop, FAR), 103)
        inside = inside if start == stop else inside[1:-1]  # a kink has the slope of one side
        if not (np.abs(curve(activation, inside)[1]) <= 1e-12).all():
            return False
    x = np.linspace(-7, 7, 14_001) + 1 / 3e4  # further out a slope may underflow to 0
    slope = curve(activation, x)[1]
    unclaimed = slope == 0
    passes = slope[:-1] * slope[1:] < 0  # it crosses 0 between these two
    for start, stop in flat:
        unclaimed &= (x < start) | (x > stop)
        passes &= (x[1:] < start) | (x[:-1] > stop)
    return not (unclaimed.any() or passes.any())
