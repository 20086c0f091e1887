"""Properties of an activation's curve."""

from __future__ import annotations

from gpunn.common.importing.light_dataclass import dataclass

__all__ = ["Properties"]

INFINITY = float("inf")


@dataclass(frozen=True)
class Properties:
    """Properties of a curve y = f(x); for a function of rows, of the first output of (x, 0).

    The built-in activations declare them as their attribute ``properties``, and `check_properties`
    compares them with values of the function.

    Attributes:
        range: the largest lower and the smallest upper bound of f.
        monotone: True if f never falls while x grows.
        left: slope and intercept of the asymptote of f for x towards minus infinity; None
            if there is none.
        right: likewise for x towards infinity.
        flat: where the derivative is 0, as pairs (from, to), both equal for a single point.
            Towards infinity the derivative vanishes wherever the asymptote has slope 0.

    >>> from gpunn import activations
    >>> relu = activations.relu.properties
    >>> relu.range, relu.monotone, relu.right  # up to x itself
    ((0.0, inf), True, (1, 0))
    """

    range: tuple[float, float]
    monotone: bool
    left: tuple[float, float] | None
    right: tuple[float, float] | None
    flat: tuple[tuple[float, float], ...] = ()
