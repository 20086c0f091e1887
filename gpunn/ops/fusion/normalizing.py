"""Normalization by operations of the contract, which write several results at once.

Both normalizations are functions of x and of the factors gamma and beta. The moments that their
gradients read are results too. So a gradient with respect to x includes what flows through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.distribution.communicator import Shard
from gpunn.ops.arithmetic import subtract
from gpunn.ops.elementwise import cast, rsqrt, square, where
from gpunn.ops.gradients import gradients_of
from gpunn.ops.primitive import Gradients, Primitive, Together
from gpunn.ops.reductions import mean, sum_, var
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor

from .storing import fill, stored

Results = Mapping[str, Array]  # the arrays to write to, by the names of the results
Factors = tuple[Tensor | None, Tensor | None]
Y, MOMENTS = "normalization", "moments"
MEAN, VARIANCE = "mean", "variance"
MOVED_MEAN, MOVED_VARIANCE = "moved mean", "moved variance"
DX, DGAMMA, DBETA = "normalization's gradient", "gradient of gamma", "gradient of beta"


def _given(factors: Factors) -> tuple[list[Tensor], tuple[bool, bool]]:
    """Return what there is of gamma and beta, and whether each is there."""
    gamma, beta = factors
    return [one for one in factors if one is not None], (gamma is not None, beta is not None)


def _pair(factors: Sequence[Any], has: tuple[bool, bool]) -> tuple[Any, Any]:
    """Return gamma and beta; None for one that there is not."""
    given = iter(factors)
    gamma, beta = (next(given) if one else None for one in has)
    return gamma, beta


class _Slopes:
    """The gradients of a normalization with respect to x, gamma and beta, written together.

    Args:
        compute: writes them from dy, x, what is read beside x, and the factors.
        composed: ``composed(x, *factors, known=, **how)`` is the normalization by other primitives,
            for derivatives of second order; ``known`` is what is read beside x.
        known: the number of tensors read beside x.
        size: the shape of a factor, from the shape of x.
    """

    def __init__(
        self, compute: Callable[..., None], composed: Callable[..., Tensor], known: int,
        size: Callable[[Any], Any],
    ) -> None:
        self._composed, self._known = composed, known
        together = Together(compute)
        by_factor = [
            together.result(name, lambda dy, x, *rest, **how: size(x), gradient=self._second(at))
            for name, at in ((DGAMMA, 1), (DBETA, -1))
        ]
        by_x = together.result(DX, lambda dy, x, *rest, **how: x, gradient=self._second(0))
        self._results = [by_x, *by_factor]

    def of(
        self, dy: Tensor, x: Tensor, known: Sequence[Tensor], factors: Sequence[Tensor],
        how: dict[str, Any],
    ) -> Gradients:
        """Return the gradients, each computed if it is needed."""
        wanted = zip((True, *how["has"]), self._results, strict=True)
        by_x, *by_factors = (
            partial(result, dy, x, *known, *factors, **how) for one, result in wanted if one
        )
        return [by_x, *(None for _ in known), *by_factors]

    def _second(self, number: int) -> Callable[..., Gradients]:
        """Return the derivative of one of the gradients, by operations that compose it."""

        def gradient(
            d: Tensor, y: Tensor, dy: Tensor, x: Tensor, *rest: Tensor, **how: Any
        ) -> Gradients:
            known, factors = rest[: self._known], rest[self._known :]
            free = known if how.get("constant") else ()  # else they are functions of x

            def slope(dy: Tensor, x: Tensor, *given: Tensor) -> Tensor:
                moments, others = given[: len(free)] or known, given[len(free) :]
                composed = partial(self._composed, known=moments, **how)
                found = gradients_of(composed, [x, *others], dy)[number]
                return d * 0.0 if found is None else found

            by_dy, by_x, *by_rest = gradients_of(slope, [dy, x, *free, *factors], d)
            unknown = [None] * (len(known) - len(free))
            return [by_dy, by_x, *unknown, *by_rest]

        return gradient


# -- each row by its own moments


def normalized_rows(x: Tensor, factors: Factors, epsilon: float, centered: bool) -> Tensor:
    """Normalize rows (rows, n): ``gamma (x - mean) / sqrt(variance + epsilon) + beta``.

    Args:
        factors: gamma and beta (n,), or None.
        centered: False for a mean of 0, with the mean of squares as the variance.
    """
    given, has = _given(factors)
    return _rows(x, *given, epsilon=float(epsilon), has=has, centered=centered)


def _compute_rows(
    backend: Backend, results: Results, x: Array, *factors: Array, epsilon: float,
    has: tuple[bool, bool], centered: bool,
) -> None:
    y, moments = results.get(Y), results.get(MOMENTS)
    y = backend.scratch(x.shape, x.dtype, "unread rows") if y is None else y
    if moments is None:
        moments = backend.scratch((2, len(x)), x.dtype, "unread moments")
    center = moments[0] if centered else None
    backend.layer_norm(x, *_pair(factors, has), epsilon, center, moments[1], y)


def _compute_slopes_of_rows(
    backend: Backend, results: Results, dy: Array, x: Array, moments: Array, *factors: Array,
    epsilon: float, has: tuple[bool, bool], centered: bool,
) -> None:
    gamma, center = _pair(factors, has)[0], moments[0] if centered else None
    dgamma, dbeta, dx = (results.get(name) for name in (DGAMMA, DBETA, DX))
    given = gamma, epsilon, center, moments[1], dgamma, dbeta, dx
    backend.layer_norm_gradient(x, dy, *given)


def _composed_rows(
    x: Tensor, *factors: Tensor, known: Any, epsilon: float, has: tuple[bool, bool], centered: bool
) -> Tensor:
    gamma, beta = _pair(factors, has)
    x = subtract(x, mean(x, -1, keepdims=True)) if centered else x
    y = x * rsqrt(mean(square(x), -1, keepdims=True) + epsilon)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


_of_rows = Together(_compute_rows)
_rows = _of_rows.result(Y, lambda x, *factors, **how: x, gradient="normalization")
_rows.composed = partial(_composed_rows, known=())
moments_of_rows = _of_rows.result(MOMENTS, lambda x, *factors, **how: (2, x[0]))
slopes_of_rows = _Slopes(_compute_slopes_of_rows, _composed_rows, 1, lambda x: x[1:])


# -- each feature by given moments, or by moments of the batch


def by_given_moments(
    x: Tensor, moments: tuple[Tensor, Tensor], factors: Factors, epsilon: float
) -> Tensor:
    """Normalize features: ``gamma (x - mean) / sqrt(variance + epsilon) + beta``.

    Args:
        x: (outer, features, inner).
        moments: the mean and the variance (features,).
        factors: gamma and beta (features,), or None.
    """
    given, has = _given(factors)
    how = {"epsilon": float(epsilon), "has": has, "shard": None, "constant": True}
    return _features(x, *moments, *given, **how)


def by_own_moments(
    x: Tensor, moving: tuple[Tensor, Tensor], momentum: float, factors: Factors, epsilon: float,
    shard: Shard | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize features by their moments in the batch.

    Args:
        x: (outer, features, inner).
        moving: the moving averages of the mean and of the variance, (features,).
        momentum: how much of these stays.
        factors: gamma and beta (features,), or None.
        shard: the rank's shard of x, for moments of the rows of all ranks.

    Returns:
        y, and the new moving averages.
    """
    own_mean, own_variance, moved_mean, moved_variance = (
        one(x, *moving, momentum=momentum, shard=shard) for one in _moments
    )
    given, has = _given(factors)
    how = {"epsilon": float(epsilon), "has": has, "shard": shard, "constant": False}
    return _features(x, own_mean, own_variance, *given, **how), moved_mean, moved_variance


def by_moments_of(
    counts: Tensor, x: Tensor, moving: tuple[Tensor, Tensor], momentum: float, factors: Factors,
    epsilon: float, shard: Shard | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize features by the moments of those values that count, as `by_own_moments`.

    Args:
        counts: booleans (outer, features, inner). As in Keras, 1e-7 is added to their sum, so that
            no mean is of nothing.
    """
    if shard is not None:
        raise ValueError("synchronized=True: statistics of a mask are not known for several ranks.")
    number = sum_(cast(counts, x.dtype), (0, 2), keepdims=True) + 1e-7

    def mean_of(values: Tensor) -> Tensor:
        return sum_(where(counts, values, 0.0), (0, 2), keepdims=True) / number

    center = mean_of(x)
    spread = mean_of(square(subtract(x, center)))
    gamma, beta = (one if one is None else reshape(one, (-1, 1)) for one in factors)
    y = subtract(x, center) * rsqrt(spread + epsilon)
    y = y if gamma is None else y * gamma
    y = y if beta is None else y + beta
    moved = (
        before * momentum + reshape(now, before.shape) * (1.0 - momentum)
        for before, now in zip(moving, (center, spread), strict=True)
    )
    return y, *moved


def _compute_features(
    backend: Backend, out: Array, x: Array, mean: Array, variance: Array, *factors: Array,
    epsilon: float, has: tuple[bool, bool], **how: Any,
) -> None:
    backend.normalize(x, mean, variance, *_pair(factors, has), epsilon, out)


def _compute_slopes_of_features(
    backend: Backend, results: Results, dy: Array, x: Array, mean: Array, variance: Array,
    *factors: Array, epsilon: float, has: tuple[bool, bool], shard: Shard | None, constant: bool,
) -> None:
    dgamma, dbeta, dx = (results.get(name) for name in (DGAMMA, DBETA, DX))
    given = x, dy, mean, variance, _pair(factors, has)[0], epsilon
    if shard is None or constant:
        backend.normalize_gradient(*given, dgamma, dbeta, dx, constant=constant)
    else:
        from .moments_on_ranks import slopes_on_ranks  # which one process does not need

        slopes_on_ranks(backend, shard, given, dgamma, dbeta, dx)


def composed_features(
    x: Tensor, *factors: Tensor, known: Sequence[Tensor], epsilon: float, has: tuple[bool, bool],
    shard: Shard | None, constant: bool,
) -> Tensor:
    if shard is not None and not constant:
        raise ValueError(
            "gradients of gradients are not known for statistics of several ranks. Use "
            "synchronized=False."
        )
    moments = known if constant else (mean(x, (0, 2)), var(x, (0, 2)))
    center, spread, *rest = (reshape(one, (-1, 1)) for one in (*moments, *factors))
    gamma, beta = _pair(rest, has)
    y = (x - center) * rsqrt(spread + epsilon)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def _compute_moments(
    backend: Backend, results: Results, x: Array, *moving: Array, momentum: float,
    shard: Shard | None,
) -> None:
    own = [_placed(backend, results, name, moving[0]) for name in (MEAN, VARIANCE)]
    moved = [_placed(backend, results, name, moving[0]) for name in (MOVED_MEAN, MOVED_VARIANCE)]
    for name, before in zip((MOVED_MEAN, MOVED_VARIANCE), moving, strict=True):
        if name in results and backend.overlap(before, results[name]) is None:
            stored(backend, before, results[name])()
    if shard is not None:
        from .moments_on_ranks import moments_on_ranks

        moments_on_ranks(backend, shard, x, momentum, own, moved)
    elif x.size:
        backend.batch_statistics(x, momentum, *own, *moved)
    else:
        for moment in own:
            fill(backend, 0.0, moment)


def _placed(backend: Backend, results: Results, name: str, like: Array) -> Array:
    place = results.get(name)
    return backend.scratch(like.shape, like.dtype, f"unread {name}") if place is None else place


_features = Primitive(
    "normalization of features", _compute_features, lambda x, *rest, **how: x,
    gradient="normalization of features",
)
_features.composed = lambda x, mean, variance, *factors, **how: composed_features(
    x, *factors, known=(mean, variance), **how
)
slopes_of_features = _Slopes(
    _compute_slopes_of_features, composed_features, 2, lambda x: x[1:2]
)
_of_moments = Together(_compute_moments)
_moments = [
    _of_moments.result(name, lambda x, mean, variance, **how: mean)
    for name in (MEAN, VARIANCE, MOVED_MEAN, MOVED_VARIANCE)
]
for _moment in _moments:
    _moment.rewrites = True
