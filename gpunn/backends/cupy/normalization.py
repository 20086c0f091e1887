"""Normalization and normal noise on a card: parts of ``normalization.cu`` and ``noise.cu``."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract import Given
from gpunn.backends.contract.backend import Array

from .launch.base import CupyBase
from .launch.codegen import BLOCK
from .launch.parts import type_name
from .launch.tasks import PartTask

CHUNK = 512  # numbers of a feature that a block sums up ...
CHUNKS = 128  # ... more of each, where there would be more sums than these
ACROSS = 32  # features at most that a block takes at once: neighbours are read together

_MASK64 = (1 << 64) - 1


class CupyNormalization(CupyBase):
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

    def _batch_statistics(self, given: Given) -> None:
        x, choices, momentum = given.x, (type_name(given.dtype),), given.momentum
        shape, size, partial = self._sums(x)
        self._ask(
            PartTask("batch_moments", choices, size, [x, *shape, partial]),
            PartTask(
                "batch_statistics", choices, given.features,
                [x, partial, *shape[:4], momentum, 1.0 - momentum, given.moving_mean,
                 given.moving_variance, given.mean, given.variance],
            ),
        )  # fmt: skip

    def _normalize(self, given: Given) -> None:
        x = given.x
        self._part(
            "normalize", (type_name(given.dtype),), x.size, x, given.mean, given.variance,
            given.gamma, given.beta, given.epsilon, x.size, *x.shape[1:], given.out, rows=len(x),
        )  # fmt: skip

    def _normalize_gradient(self, given: Given) -> None:
        x, dy, constant = given.x, given.dy, given.constant
        mean, variance, epsilon = given.mean, given.variance, given.epsilon
        choices, features = (type_name(given.dtype),), given.features
        totals = None
        if not constant or given.dgamma is not None or given.dbeta is not None:
            shape, size, partial = self._sums(x)
            totals = self.scratch((2, features), x.dtype, "totals of features")
            self._ask(
                PartTask("normalize_sums", choices, size, [x, dy, mean, *shape, partial]),
                PartTask(
                    "normalize_totals", choices, features,
                    [partial, variance, epsilon, shape[3], features,
                     given.accumulate_gradients, given.dgamma, given.dbeta, totals],
                ),
            )  # fmt: skip
        if given.dx is not None:
            self._part(
                "normalize_gradient", choices, x.size,
                x, dy, mean, variance, given.gamma, epsilon, None if constant else totals,
                1.0 / max(given.outer * given.inner, 1), x.size, *x.shape[1:], given.accumulate_dx,
                given.dx, rows=len(x),
            )  # fmt: skip

    def _layer_norm(self, given: Given) -> None:
        x = given.x
        self._part(
            "layer_norm", (type_name(given.dtype),), x.size, x, given.gamma, given.beta,
            given.epsilon, *x.shape, given.mean, given.variance, given.out, rows=len(x),
        )  # fmt: skip

    def _layer_norm_gradient(self, given: Given) -> None:
        x, dy, dgamma, dbeta = given.x, given.dy, given.dgamma, given.dbeta
        product = None
        if dgamma is not None:
            product = self.scratch(x.shape, x.dtype, "normalized times gradient")
        self._part(
            "layer_norm_gradient", (type_name(given.dtype),), x.size, x, dy, given.gamma,
            given.epsilon, *x.shape, given.mean, given.variance, given.accumulate_dx, product,
            given.dx, rows=len(x),
        )  # fmt: skip
        if dbeta is not None:
            self.column_sums(dy, dbeta, accumulate=given.accumulate_gradients)
        if dgamma is not None:
            self.column_sums(product, dgamma, accumulate=given.accumulate_gradients)

    def _normal_noise(self, given: Given) -> None:
        out = given.out
        self._part(
            "normal_noise", (type_name(given.dtype),), -(-out.size // 8),  # eight for each thread
            given.x, given.stddev, given.seed & _MASK64, given.stream & _MASK64,
            given.control.counters, out.size, given.factors, out,
            rows=len(out) if out.ndim else 1,
        )  # fmt: skip
