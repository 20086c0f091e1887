"""Normalization and normal noise by compiled operations, one call for each."""

from __future__ import annotations

from gpunn.backends.contract import Given
from gpunn.backends.contract.backend import Array

from .operations import MASK64, Arguments, CompiledOperations, by_type, compiled

CHUNK = 256  # numbers of a feature that are summed up before another sum begins
ROWS = 64  # that a thread takes at a time
WIDTH = 64  # of rows shorter than this some are gone through at once


def _by_type_unless_empty(given: Given) -> tuple[str | None, ...]:
    """The type; None for an empty array, whose mean NumPy's method computes."""
    return by_type(given) if given.x.size else (None,)


class CompiledNormalization(CompiledOperations):
    """The operations of normalization and noise; a part of `CompiledBackend`."""

    def _sums_of_chunks(self, x: Array) -> tuple[int, Array]:
        """Of x (outer, features, inner), how much of `outer` a chunk is; two sums for each."""
        outer, features, inner = x.shape
        rows = max(1, CHUNK // max(inner, 1))
        partial = self.scratch((max(1, -(-outer // rows)), 2, features), x.dtype, "sums of chunks")
        return rows, partial

    def _features_table(self, x: Array, count: int) -> tuple[int, Array]:
        """A few numbers for each feature, again and again if there are few features."""
        features = x.shape[1]
        repeats = 1 if x.shape[2] > 1 else -(-WIDTH // max(features, 1))
        table = self.scratch((count, features * repeats), x.dtype, "numbers of features")
        return features * repeats, table

    @compiled(_by_type_unless_empty)
    def _batch_statistics(self, given: Given) -> Arguments:
        rows, partial = self._sums_of_chunks(given.x)
        return (
            given.x, *given.x.shape, rows, given.momentum, partial, given.mean, given.variance,
            given.moving_mean, given.moving_variance,
        )  # fmt: skip

    @compiled()
    def _normalize(self, given: Given) -> Arguments:
        x = given.x
        width, table = self._features_table(x, 3)
        return (
            x, given.mean, given.variance, given.gamma, given.beta, given.epsilon, *x.shape,
            width, table, given.out,
        )  # fmt: skip

    @compiled()
    def _normalize_gradient(self, given: Given) -> Arguments:
        x, dgamma, dbeta, constant = given.x, given.dgamma, given.dbeta, given.constant
        rows, partial = self._sums_of_chunks(x)
        width, table = self._features_table(x, 5)
        summed = None if constant and dgamma is None and dbeta is None else partial
        return (
            x, given.dy, given.mean, given.variance, given.gamma, given.epsilon, *x.shape, rows,
            width, constant, given.accumulate_gradients, given.accumulate_dx, summed, table,
            dgamma, dbeta, given.dx,
        )  # fmt: skip

    @compiled(_by_type_unless_empty)
    def _layer_norm(self, given: Given) -> Arguments:
        return (
            given.x, given.gamma, given.beta, given.epsilon, *given.x.shape, ROWS, given.mean,
            given.variance, given.out,
        )  # fmt: skip

    @compiled()
    def _layer_norm_gradient(self, given: Given) -> Arguments:
        chunks = max(1, -(-given.rows // ROWS))
        partial = self.scratch((chunks, 2, given.features), given.dtype, "sums of chunks")
        return (
            given.x, given.dy, given.gamma, given.epsilon, *given.x.shape, ROWS, given.mean,
            given.variance, given.accumulate_gradients, given.accumulate_dx, partial,
            given.dgamma, given.dbeta, given.dx,
        )  # fmt: skip

    @compiled()
    def _normal_noise(self, given: Given) -> Arguments:
        out = given.out
        return (
            given.x, given.stddev, given.seed & MASK64, given.stream & MASK64,
            given.control.counters, out.size, given.factors, out,
        )  # fmt: skip
