"""Normalization and normal noise on a GPU: parts of ``normalization.cu`` and ``noise.cu``."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array

from .launch.codegen import BLOCK, WARP
from .launch.task_backend import DRAWN_AT_ONCE, TaskBackend

CHUNK = 512  # elements of a feature that a block sums ...
CHUNKS = 128  # ... or more, so that there are at most this many sums
ACROSS = 32  # the most features that a block takes at once: adjacent ones are read together


class CupyNormalization(TaskBackend):
    """The operations of normalization and noise; a part of `CupyBackend`."""

    def _chunks(self, x: Array) -> tuple[int, dict[str, Any]]:
        """Return how to sum x (outer, features, inner): the useful number of threads; the number
        of chunks, the features across a block, and an array of two sums for each chunk."""
        outer, features, inner = x.shape
        n = outer * inner
        chunks = max(1, min(-(-n // CHUNK), CHUNKS))
        # Adjacent threads should lie along `inner`, if that keeps them busy.
        across = 1
        while across < min(features, ACROSS) and (inner == 1 or BLOCK * chunks > across * n):
            across *= 2
        partial = self.scratch((chunks, 2, features), x.dtype, "sums of chunks")
        threads = -(-features // across) * chunks * BLOCK
        return threads, {"chunks": chunks, "across": across, "partial": partial}

    def _batch_statistics(self, call: OpCall) -> None:
        threads, sums = self._chunks(call.x)
        rest = 1.0 - call.momentum
        self._ask(
            self._task("batch_moments", call, threads, **sums),
            self._task("batch_statistics", call, call.features * WARP, rest=rest, **sums),
        )

    def _normalize(self, call: OpCall) -> None:
        self._each("normalize", call, call.x)

    def _normalize_gradient(self, call: OpCall) -> None:
        x, constant, totals = call.x, call.constant, None
        if not constant or call.dgamma is not None or call.dbeta is not None:
            threads, sums = self._chunks(x)
            totals = self.scratch((2, call.features), x.dtype, "totals of features")
            self._ask(
                self._task("normalize_sums", call, threads, **sums),
                self._task(
                    "normalize_totals", call, call.features * WARP, totals=totals, **sums
                ),
            )
        if call.dx is not None:
            self._part(
                "normalize_gradient", call, x.size, sliced=len(x), n=x.size,
                totals=None if constant else totals,
                one_nth=1.0 / max(call.outer * call.inner, 1),
                accumulate=call.accumulate_dx, out=call.dx,
            )

    def _layer_norm(self, call: OpCall) -> None:
        x = call.x
        self._part("layer_norm", call, x.size, sliced=len(x))

    def _layer_norm_gradient(self, call: OpCall) -> None:
        x, dy, dgamma, dbeta = call.x, call.dy, call.dgamma, call.dbeta
        product = None
        if dgamma is not None:
            product = self.scratch(x.shape, x.dtype, "normalized times gradient")
        self._part(
            "layer_norm_gradient", call, x.size, sliced=len(x), product=product,
            accumulate=call.accumulate_dx, out=call.dx,
        )
        if dbeta is not None:
            self.column_sums(dy, dbeta, accumulate=call.accumulate_gradients)
        if dgamma is not None:
            self.column_sums(product, dgamma, accumulate=call.accumulate_gradients)

    def _normal_noise(self, call: OpCall) -> None:
        self._each("normal_noise", call, call.out, by=DRAWN_AT_ONCE)
