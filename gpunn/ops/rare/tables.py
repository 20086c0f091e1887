"""Samples by tables of a distribution function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor, ops


def reached_by(share: Tensor, counts: Any, probabilities: Any) -> Tensor:
    """Return for each share from 0 to 1 the least number of successes whose distribution function
    exceeds it.

    Args:
        counts, probabilities: of binomial distributions; numbers that broadcast to the shares.

    Raises:
        ValueError: if counts are not integers of 0 or more, or probabilities not from 0 to 1.

    >>> reached_by(convert([0.2, 0.5, 0.9]), 2, 0.5).tolist()
    [0.0, 1.0, 2.0]
    """
    n, p = convert(counts, "float64").numpy(), convert(probabilities, "float64").numpy()
    if not ((n >= 0) & (n == np.floor(n))).all():
        raise ValueError(f"counts must be integers of 0 or more; got {counts!r}.")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities must be from 0 to 1; got {probabilities!r}.")
    pairs, which = np.unique(
        np.stack([x.ravel() for x in np.broadcast_arrays(n, p)], -1), axis=0, return_inverse=True
    )
    rounds = int(pairs[:, 0].max(initial=0)).bit_length()
    # Beyond its count a row is 1, which no share reaches.
    rows = np.stack([_distribution(int(n), p, 2**rounds) for n, p in pairs])
    table, start = convert(rows.ravel(), "float64"), which.reshape(np.broadcast(n, p).shape)
    start, place = start * 2**rounds, ops.zeros(share.shape, "int32")
    for k in reversed(range(rounds)):
        further = place + 2**k
        at = ops.take(table, further - 1 + start)
        place = ops.where(at <= ops.cast(share, "float64"), further, place)
    return ops.minimum(ops.cast(place, "float64"), n)


def _distribution(n: int, p: float, length: int) -> np.ndarray:
    """Return the probabilities of at most 0, 1, 2, ... successes."""
    found = np.ones(length)
    if 0 < p < 1:
        factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
        k = np.arange(n + 1)
        logarithms = factorials[n] - factorials - factorials[::-1]
        each = np.exp(logarithms + k * math.log(p) + (n - k) * math.log1p(-p))
        found[: n + 1] = np.minimum(np.cumsum(each)[:length], 1.0)
        found[n:] = 1.0
    elif p == 1:
        found[:n] = 0.0
    return found
