"""Normalization and normal noise; features are an axis of (outer, features, inner)."""

from __future__ import annotations

from .control import Control
from .declaration import COUNTERS, Array, Operations, operation, reads, rewrites, writes

FEATURES = "outer features inner"


class Normalization(Operations):
    """Normalization and normal noise."""

    @operation(
        x=reads(FEATURES),
        mean=writes("features"),
        variance=writes("features"),
        moving_mean=rewrites("features"),
        moving_variance=rewrites("features"),
    )
    def batch_statistics(
        self,
        x: Array,
        momentum: float,
        mean: Array,
        variance: Array,
        moving_mean: Array,
        moving_variance: Array,
    ) -> None:
        """mean, variance of each feature of x, the variance with 1 / n;
        moving = momentum * moving + (1 - momentum) * what this batch has, for both.

        Exact to rounding also where the mean is far larger than the deviation.
        """

    @operation(
        x=reads(FEATURES),
        mean=reads("features"),
        variance=reads("features"),
        gamma=reads("features", optional=True),
        beta=reads("features", optional=True),
        out=writes(FEATURES),
    )
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

    @operation(
        x=reads(FEATURES),
        dy=reads(FEATURES),
        mean=reads("features"),
        variance=reads("features"),
        gamma=reads("features", optional=True),
        dgamma=writes("features", adds="adds", optional=True),
        dbeta=writes("features", adds="adds", optional=True),
        dx=writes(FEATURES, adds="accumulate", optional=True),
    )
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

    @operation(
        x=reads("rows features"),
        gamma=reads("features", optional=True),
        beta=reads("features", optional=True),
        mean=writes("rows", optional=True),
        variance=writes("rows"),
        out=writes("rows features"),
    )
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

        Mean and variance are computed here. Without ``mean`` it counts as 0: the root mean
        square is normalized.
        """

    @operation(
        x=reads("rows features"),
        dy=reads("rows features"),
        gamma=reads("features", optional=True),
        mean=reads("rows", optional=True),
        variance=reads("rows"),
        dgamma=writes("features", adds="adds", optional=True),
        dbeta=writes("features", adds="adds", optional=True),
        dx=writes("rows features", adds="accumulate", optional=True),
    )
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

    @operation(
        x=reads("*shape"),
        out=writes("*shape"),
        factors=writes("*shape", optional=True),
        counters=COUNTERS,
    )
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
