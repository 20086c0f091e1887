"""Normalization and normal noise; features are an axis of (outer, features, inner)."""

from __future__ import annotations

from .control import Control
from .declaration import COUNTERS, reads, rewrites, writes
from .device import Array
from .operation import Operations, operation

FEATURES = "outer features inner"


class Normalization(Operations):
    """Normalization and normal noise."""

    @operation(
        x=reads(FEATURES),
        mean=writes("features"),
        variance=writes("features"),
        moving_mean=rewrites("features"),
        moving_variance=rewrites("features"),
        where=("inner > 0",),
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
        """Compute mean and variance (with 1 / n) of each feature of x, and update the moving
        ones: moving = momentum * moving + (1 - momentum) * batch value.

        Exact to rounding even if the mean is far larger than the deviation.
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
        dgamma=writes("features", accumulate_if="accumulate_gradients", optional=True),
        dbeta=writes("features", accumulate_if="accumulate_gradients", optional=True),
        dx=writes(FEATURES, accumulate_if="accumulate_dx", optional=True),
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
        accumulate_gradients: bool = False,
        accumulate_dx: bool = False,
    ) -> None:
        """Compute the gradients of `normalize` that are not None. With n =
        (x - mean) / sqrt(variance + epsilon): dbeta = sum of dy, dgamma = sum of dy * n (+= with
        ``accumulate_gradients``), and dx = gamma / sqrt(variance + epsilon) *
        (dy - mean of dy - n * mean of dy * n) (+= with ``accumulate_dx``). If the
        statistics are ``constant``, the two means are omitted.
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

        Mean and variance are computed here. Without ``mean``, the mean counts as 0: this is
        RMS normalization.
        """

    @operation(
        x=reads("rows features"),
        dy=reads("rows features"),
        gamma=reads("features", optional=True),
        mean=reads("rows", optional=True),
        variance=reads("rows"),
        dgamma=writes("features", accumulate_if="accumulate_gradients", optional=True),
        dbeta=writes("features", accumulate_if="accumulate_gradients", optional=True),
        dx=writes("rows features", accumulate_if="accumulate_dx", optional=True),
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
        accumulate_gradients: bool = False,
        accumulate_dx: bool = False,
    ) -> None:
        """Compute the gradients of `layer_norm` that are not None. dgamma and
        dbeta are += with ``accumulate_gradients``, dx with ``accumulate_dx``.
        """

    @operation(
        x=reads("*shape"),
        out=writes("*shape"),
        factors=writes("*shape", optional=True),
        counters=COUNTERS,
        where=("0 <= first < 2**62",),
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
        first: int = 0,
    ) -> None:
        """out = x + noise; with ``factors``, factors = 1 + noise and out = x * factors.

        The noise is stddev times normal random numbers by the formula of Box and Muller (1958).
        Two adjacent uniform numbers u, v, as drawn by `dropout`, give two normal numbers:
        sqrt(-2 log(1 - u)) times the cosine and the sine of 2 pi v. ``first``: see `dropout`.
        """
