"""Normalization and normal noise on a card: parts of ``normalization.cu`` and ``noise.cu``."""

from __future__ import annotations

from typing import Any

from .base import Array
from .composition import BLOCK
from .control import Control
from .kernel_source import type_name
from .launching import Launching
from .tasks import PartTask

CHUNK = 512  # numbers of a feature that a block sums up ...
CHUNKS = 128  # ... more of each, where there would be more sums than these
ACROSS = 32  # features at most that a block takes at once: neighbours are read together

_MASK64 = (1 << 64) - 1


class CupyNormalization(Launching):
    """The operations of normalization and noise; a part of `CupyBackend`."""

    def _sums(self, x: Array) -> tuple[tuple[Any, ...], int, Array]:
        """How x (outer, features, inner) is summed up: its shape, the number of chunks and the
        features across a block; the threads that are of use; two sums for each chunk."""
        outer, features, inner = x.shape
        n = outer * inner
        chunks = max(1, min(-(-n // CHUNK), CHUNKS))
        # Threads are better next to each other along `inner`, if that keeps them busy.
        across = 1
        while across < min(features, ACROSS) and (inner == 1 or BLOCK * chunks > across * n):
            across *= 2
        partial = self.scratch((chunks, 2, features), x.dtype, "sums of chunks")
        size = -(-features // across) * chunks * BLOCK
        return (outer, features, inner, chunks, across), size, partial

    def batch_statistics(
        self, x: Array, momentum: float, mean: Array, variance: Array,
        moving_mean: Array, moving_variance: Array,
    ) -> None:
        choices = (type_name(x.dtype),)
        shape, size, partial = self._sums(x)
        self._ask(
            PartTask("batch_moments", choices, size, [x, *shape, partial]),
            PartTask(
                "batch_statistics", choices, x.shape[1],
                [x, partial, *shape[:4], momentum, 1.0 - momentum, moving_mean, moving_variance,
                 mean, variance],
            ),
        )  # fmt: skip

    def normalize(
        self, x: Array, mean: Array, variance: Array, gamma: Array | None, beta: Array | None,
        epsilon: float, out: Array,
    ) -> None:
        self._part(
            "normalize", (type_name(x.dtype),), x.size,
            x, mean, variance, gamma, beta, epsilon, x.size, *x.shape[1:], out, rows=len(x),
        )

    def normalize_gradient(
        self, x: Array, dy: Array, mean: Array, variance: Array, gamma: Array | None,
        epsilon: float, dgamma: Array | None, dbeta: Array | None, dx: Array | None,
        constant: bool = False, adds: bool = False, accumulate: bool = False,
    ) -> None:
        choices, features = (type_name(x.dtype),), x.shape[1]
        totals = None
        if not constant or dgamma is not None or dbeta is not None:
            shape, size, partial = self._sums(x)
            totals = self.scratch((2, features), x.dtype, "totals of features")
            self._ask(
                PartTask("normalize_sums", choices, size, [x, dy, mean, *shape, partial]),
                PartTask(
                    "normalize_totals", choices, features,
                    [partial, variance, epsilon, shape[3], features, adds, dgamma, dbeta, totals],
                ),
            )  # fmt: skip
        if dx is not None:
            self._part(
                "normalize_gradient", choices, x.size,
                x, dy, mean, variance, gamma, epsilon, None if constant else totals,
                1.0 / (x.shape[0] * x.shape[2]), x.size, *x.shape[1:], accumulate, dx,
                rows=len(x),
            )  # fmt: skip

    def layer_norm(
        self, x: Array, gamma: Array | None, beta: Array | None, epsilon: float,
        mean: Array | None, variance: Array, out: Array,
    ) -> None:
        self._part(
            "layer_norm", (type_name(x.dtype),), x.size,
            x, gamma, beta, epsilon, *x.shape, mean, variance, out, rows=len(x),
        )

    def layer_norm_gradient(
        self, x: Array, dy: Array, gamma: Array | None, epsilon: float, mean: Array | None,
        variance: Array, dgamma: Array | None, dbeta: Array | None, dx: Array | None,
        adds: bool = False, accumulate: bool = False,
    ) -> None:
        product = None
        if dgamma is not None:
            product = self.scratch(x.shape, x.dtype, "normalized times gradient")
        self._part(
            "layer_norm_gradient", (type_name(x.dtype),), x.size,
            x, dy, gamma, epsilon, *x.shape, mean, variance, accumulate, product, dx, rows=len(x),
        )
        if dbeta is not None:
            self.column_sums(dy, dbeta.reshape(-1), accumulate=adds)
        if dgamma is not None:
            self.column_sums(product, dgamma.reshape(-1), accumulate=adds)

    def normal_noise(
        self, x: Array, stddev: float, seed: int, stream: int, control: Control, out: Array,
        factors: Array | None = None,
    ) -> None:
        self._part(
            "normal_noise", (type_name(out.dtype),), -(-out.size // 8),  # eight for each thread
            x, stddev, seed & _MASK64, stream & _MASK64, control.counters, out.size,
            factors, out, rows=len(out) if out.ndim else 1,
        )


