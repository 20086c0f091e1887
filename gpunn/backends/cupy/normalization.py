"""Normalization and normal noise on a card: parts of ``normalization.cu`` and ``noise.cu``."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract import Given
from gpunn.backends.contract.backend import Array

from .launch.codegen import BLOCK, WARP
from .launch.task_backend import DRAWN_AT_ONCE, TaskBackend

CHUNK = 512  # numbers of a feature that a block sums up ...
CHUNKS = 128  # ... more of each, where there would be more sums than these
ACROSS = 32  # features at most that a block takes at once: neighbours are read together


class CupyNormalization(TaskBackend):
    """The operations of normalization and noise; a part of `CupyBackend`."""

    def _chunks(self, x: Array) -> tuple[int, dict[str, Any]]:
        """How x (outer, features, inner) is summed up: the threads that are of use; the number
        of chunks, the features across a block, and the place of two sums for each chunk."""
        outer, features, inner = x.shape
        n = outer * inner
        chunks = max(1, min(-(-n // CHUNK), CHUNKS))
        # Threads are better next to each other along `inner`, if that keeps them busy.
        across = 1
        while across < min(features, ACROSS) and (inner == 1 or BLOCK * chunks > across * n):
            across *= 2
        partial = self.scratch((chunks, 2, features), x.dtype, "sums of chunks")
        threads = -(-features // across) * chunks * BLOCK
        return threads, {"chunks": chunks, "across": across, "partial": partial}

    def _batch_statistics(self, given: Given) -> None:
        threads, sums = self._chunks(given.x)
        rest = 1.0 - given.momentum
        self._ask(
            self._task("batch_moments", given, threads, **sums),
            self._task("batch_statistics", given, given.features * WARP, rest=rest, **sums),
        )

    def _normalize(self, given: Given) -> None:
        self._each("normalize", given, given.x)

    def _normalize_gradient(self, given: Given) -> None:
        x, constant, totals = given.x, given.constant, None
        if not constant or given.dgamma is not None or given.dbeta is not None:
            threads, sums = self._chunks(x)
            totals = self.scratch((2, given.features), x.dtype, "totals of features")
            self._ask(
                self._task("normalize_sums", given, threads, **sums),
                self._task(
                    "normalize_totals", given, given.features * WARP, totals=totals, **sums
                ),
            )
        if given.dx is not None:
            self._part(
                "normalize_gradient", given, x.size, sliced=len(x), n=x.size,
                totals=None if constant else totals,
                one_nth=1.0 / max(given.outer * given.inner, 1),
                accumulate=given.accumulate_dx, out=given.dx,
            )  # fmt: skip

    def _layer_norm(self, given: Given) -> None:
        x = given.x
        self._part("layer_norm", given, x.size, sliced=len(x))

    def _layer_norm_gradient(self, given: Given) -> None:
        x, dy, dgamma, dbeta = given.x, given.dy, given.dgamma, given.dbeta
        product = None
        if dgamma is not None:
            product = self.scratch(x.shape, x.dtype, "normalized times gradient")
        self._part(
            "layer_norm_gradient", given, x.size, sliced=len(x), product=product,
            accumulate=given.accumulate_dx, out=given.dx,
        )  # fmt: skip
        if dbeta is not None:
            self.column_sums(dy, dbeta, accumulate=given.accumulate_gradients)
        if dgamma is not None:
            self.column_sums(product, dgamma, accumulate=given.accumulate_gradients)

    def _normal_noise(self, given: Given) -> None:
        self._each("normal_noise", given, given.out, by=DRAWN_AT_ONCE)
