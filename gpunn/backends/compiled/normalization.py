"""Normalization and normal noise as compiled operations, one call for each."""

from __future__ import annotations

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array

from .operations import MASK64, Arguments, CompiledOperations, by_type, compiled

CHUNK = 256  # elements of a feature that are summed before another sum begins
ROWS = 64  # that a thread takes at a time
WIDTH = 64  # several rows shorter than this are processed at once


def _by_type_unless_empty(call: OpCall) -> tuple[str | None, ...]:
    """Return the type; None for an empty array, whose mean NumPy's method computes."""
    return by_type(call) if call.x.size else (None,)


class CompiledNormalization(CompiledOperations):
    """The operations of normalization and noise; a part of `CompiledBackend`."""

    def _sums_of_chunks(self, x: Array) -> tuple[int, Array]:
        """Return how much of `outer` of x (outer, features, inner) a chunk is, and an array of two
        sums for each chunk."""
        outer, features, inner = x.shape
        rows = max(1, CHUNK // max(inner, 1))
        partial = self.scratch((max(1, -(-outer // rows)), 2, features), x.dtype, "sums of chunks")
        return rows, partial

    def _features_table(self, x: Array, count: int) -> tuple[int, Array]:
        """Return an array of ``count`` values for each feature, repeated if there are few features,
        and its width."""
        features = x.shape[1]
        repeats = 1 if x.shape[2] > 1 else -(-WIDTH // max(features, 1))
        table = self.scratch((count, features * repeats), x.dtype, "numbers of features")
        return features * repeats, table

    @compiled(_by_type_unless_empty)
    def _batch_statistics(self, call: OpCall) -> Arguments:
        rows, partial = self._sums_of_chunks(call.x)
        return (
            call.x, *call.x.shape, rows, call.momentum, partial, call.mean, call.variance,
            call.moving_mean, call.moving_variance,
        )

    @compiled()
    def _normalize(self, call: OpCall) -> Arguments:
        x = call.x
        width, table = self._features_table(x, 3)
        return (
            x, call.mean, call.variance, call.gamma, call.beta, call.epsilon, *x.shape,
            width, table, call.out,
        )

    @compiled()
    def _normalize_gradient(self, call: OpCall) -> Arguments:
        x, dgamma, dbeta, constant = call.x, call.dgamma, call.dbeta, call.constant
        rows, partial = self._sums_of_chunks(x)
        width, table = self._features_table(x, 5)
        summed = None if constant and dgamma is None and dbeta is None else partial
        return (
            x, call.dy, call.mean, call.variance, call.gamma, call.epsilon, *x.shape, rows,
            width, constant, call.accumulate_gradients, call.accumulate_dx, summed, table,
            dgamma, dbeta, call.dx,
        )

    @compiled(_by_type_unless_empty)
    def _layer_norm(self, call: OpCall) -> Arguments:
        return (
            call.x, call.gamma, call.beta, call.epsilon, *call.x.shape, ROWS, call.mean,
            call.variance, call.out,
        )

    @compiled()
    def _layer_norm_gradient(self, call: OpCall) -> Arguments:
        chunks = max(1, -(-call.rows // ROWS))
        partial = self.scratch((chunks, 2, call.features), call.dtype, "sums of chunks")
        return (
            call.x, call.dy, call.gamma, call.epsilon, *call.x.shape, ROWS, call.mean,
            call.variance, call.accumulate_gradients, call.accumulate_dx, partial,
            call.dgamma, call.dbeta, call.dx,
        )

    @compiled()
    def _normal_noise(self, call: OpCall) -> Arguments:
        out = call.out
        return (
            call.x, call.stddev, call.seed & MASK64, call.stream & MASK64,
            call.control.counters, call.first, out.size, call.factors, out,
        )
