"""Normalization and normal noise; features are an axis of (outer, features, inner)."""

from __future__ import annotations

from abc import abstractmethod

from ..control import Control
from ..recorder import touching
from .operation import Array, Operations, operation


class Normalization(Operations):
    """Normalization and normal noise."""

    @operation
    @touching(rewritten=lambda given: ("moving_mean", "moving_variance"))
    @abstractmethod
    def batch_statistics(
        self,
        x: Array,
        momentum: float,
        mean: Array,
        variance: Array,
        moving_mean: Array,
        moving_variance: Array,
    ) -> None:
        """mean, variance (features,) of x (outer, features, inner), the variance with 1 / n;
        moving = momentum * moving + (1 - momentum) * what this batch has, for both.

        Exact to rounding also where the mean is far larger than the deviation.
        """

    @operation
    @abstractmethod
    def normalize(
        self,
        x: Array,
        mean: Array,
        variance: Array,
        gamma: Array | None,
        beta: Array | None,
        epsilon: float,
        out: Array,
    ) -> None:
        """out = (x - mean) * gamma / sqrt(variance + epsilon) + beta, feature by feature."""

    @operation
    @touching(
        rewritten=lambda given: (
            *(("dgamma", "dbeta") if given.get("adds") else ()),
            *(("dx",) if given.get("accumulate") else ()),
        )
    )
    @abstractmethod
    def normalize_gradient(
        self,
        x: Array,
        dy: Array,
        mean: Array,
        variance: Array,
        gamma: Array | None,
        epsilon: float,
        dgamma: Array | None,
        dbeta: Array | None,
        dx: Array | None,
        constant: bool = False,
        adds: bool = False,
        accumulate: bool = False,
    ) -> None:
        """The gradients of the same that are wanted. With n = (x - mean) / sqrt(variance +
        epsilon): dbeta = sum of dy, dgamma = sum of dy * n (+= with ``adds``), and dx =
        gamma / sqrt(variance + epsilon) * (dy - mean of dy - n * mean of dy * n) (+= with
        ``accumulate``), the means being left out where the statistics are ``constant``.
        """

    @operation
    @abstractmethod
    def layer_norm(
        self,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        epsilon: float,
        mean: Array | None,
        variance: Array,
        out: Array,
    ) -> None:
        """out = (x - mean) * gamma / sqrt(variance + epsilon) + beta, row by row.

        x (rows, features), gamma and beta (features,), mean and variance (rows,): they are
        computed here. Without ``mean`` it counts as 0: the root mean square is normalized.
        """

    @operation
    @touching(
        rewritten=lambda given: (
            *(("dgamma", "dbeta") if given.get("adds") else ()),
            *(("dx",) if given.get("accumulate") else ()),
        )
    )
    @abstractmethod
    def layer_norm_gradient(
        self,
        x: Array,
        dy: Array,
        gamma: Array | None,
        epsilon: float,
        mean: Array | None,
        variance: Array,
        dgamma: Array | None,
        dbeta: Array | None,
        dx: Array | None,
        adds: bool = False,
        accumulate: bool = False,
    ) -> None:
        """The gradients of the same that are wanted, += with ``adds`` and ``accumulate``."""

    @operation
    @abstractmethod
    def normal_noise(
        self,
        x: Array,
        stddev: float,
        seed: int,
        stream: int,
        control: Control,
        out: Array,
        factors: Array | None = None,
    ) -> None:
        """out = x + noise; with ``factors``, these become 1 + noise, and out = x * factors.

        The noise is stddev times normal numbers by the formula of Box and Muller (1958), two
        from two neighbours u, v of the uniform numbers that `dropout` would draw:
        sqrt(-2 log(1 - u)) times the cosine and the sine of 2 pi v.
        """
