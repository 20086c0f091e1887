"""Moments of the rows of all ranks, and gradients with respect to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.distribution.communicator import Shard


def moments_on_ranks(
    backend: Backend, shard: Shard, x: Array, momentum: float, own: Sequence[Array],
    moved: Sequence[Array],
) -> None:
    """Compute mean and variance of the rows of all ranks, and move the averages.

    They follow from each rank's mean and variance, by the pairwise algorithm of Chan, Golub and
    LeVeque ("Updating formulae and a pairwise algorithm", 1979).

    Args:
        x: (outer, features, inner), the rank's rows.
        own: the mean and the variance (features,) to write.
        moved: their moving averages, to update.
    """
    xp, part = backend.xp, shard.rows / shard.whole
    mean, variance = own

    def scratch(name: str) -> Array:
        return backend.scratch(mean.shape, mean.dtype, f"{name} of a rank")

    mine, term = scratch("mean"), scratch("term")
    if shard.rows:
        unread = scratch("unread mean"), scratch("unread variance")
        backend.batch_statistics(x, 1.0, mine, variance, *unread)
    else:
        xp.copyto(mine, 0)
        xp.copyto(variance, 0)
    xp.multiply(mine, part, out=mean)
    backend.sum_over_ranks(mean, shard.ranks)
    xp.subtract(mine, mean, out=term)
    xp.multiply(term, term, out=term)
    xp.add(variance, term, out=variance)
    xp.multiply(variance, part, out=variance)
    backend.sum_over_ranks(variance, shard.ranks)
    for average, now in zip(moved, own, strict=True):
        xp.multiply(average, momentum, out=average)
        xp.multiply(now, 1 - momentum, out=term)
        xp.add(average, term, out=average)


def slopes_on_ranks(
    backend: Backend, shard: Shard, given: tuple[Any, ...], dgamma: Array | None,
    dbeta: Array | None, dx: Array | None,
) -> None:
    """Write the gradients through moments of all ranks.

    The gradient with respect to x is the gradient for constant moments, plus
    ``-gamma / deviation * (mean of dy + n * mean of dy * n)``. The means are over the rows of all.

    Args:
        given: x, dy (outer, features, inner), mean, variance, gamma or None, and epsilon.
        dgamma, dbeta, dx: what is not None is written.
    """
    xp = backend.xp
    x, dy, mean, variance, gamma, epsilon = given
    names = "sums of dy n", "sums of dy"
    sums = [backend.scratch(mean.shape, mean.dtype, name) for name in names]
    of_products, of_slopes = sums
    slopes = of_products, of_slopes, dx
    backend.normalize_gradient(x, dy, mean, variance, gamma, epsilon, *slopes, constant=True)
    for total, gradient in zip(sums, (dgamma, dbeta), strict=True):
        if gradient is not None:
            backend.affine(total, 1.0, 0.0, gradient)
        backend.sum_over_ranks(total, shard.ranks)
    if dx is None:
        return
    factor = backend.scratch(mean.shape, mean.dtype, "factor of the means")
    xp.add(variance, epsilon, out=factor)
    xp.sqrt(factor, out=factor)
    each = x.shape[0] * x.shape[2] / shard.rows if shard.rows else 1  # of a feature in a row
    xp.multiply(factor, -shard.whole * each, out=factor)
    for total in sums:
        xp.divide(total, factor, out=total)
        if gamma is not None:
            xp.multiply(total, gamma, out=total)
    rest = backend.scratch(x.shape, x.dtype, "gradient by the means")
    backend.normalize(x, mean, variance, of_products, of_slopes, epsilon, rest)
    backend.affine(rest, 1.0, 0.0, dx, accumulate=True)
