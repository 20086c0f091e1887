"""Normalization and normal noise by compiled operations, one call for each."""

from __future__ import annotations

from typing import Any

from .base import Array
from .compiled_operations import MASK64, Compiled, in_one_piece, type_of
from .control import Control

CHUNK = 256  # numbers of a feature that are summed up before another sum begins
ROWS = 64  # that a thread takes at a time
WIDTH = 64  # of rows shorter than this some are gone through at once


class CompiledNormalization(Compiled):
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

    def batch_statistics(
        self, x: Array, momentum: float, mean: Array, variance: Array,
        moving_mean: Array, moving_variance: Array,
    ) -> None:
        arrays = x, mean, variance, moving_mean, moving_variance
        if not (x.size and in_one_piece(*arrays)):
            super().batch_statistics(x, momentum, *arrays[1:])
            return
        rows, partial = self._sums_of_chunks(x)
        operation = self._compiled("batch_statistics", type_of(x))
        self._do(operation, x, *x.shape, rows, momentum, partial, *arrays[1:])

    def normalize(
        self, x: Array, mean: Array, variance: Array, gamma: Array | None, beta: Array | None,
        epsilon: float, out: Array,
    ) -> None:
        if not in_one_piece(x, mean, variance, gamma, beta, out):
            super().normalize(x, mean, variance, gamma, beta, epsilon, out)
            return
        width, table = self._features_table(x, 3)
        self._do(
            self._compiled("normalize", type_of(x)), x, mean, variance, gamma, beta, epsilon,
            *x.shape, width, table, out,
        )  # fmt: skip

    def normalize_gradient(
        self, x: Array, dy: Array, mean: Array, variance: Array, gamma: Array | None,
        epsilon: float, dgamma: Array | None, dbeta: Array | None, dx: Array | None,
        constant: bool = False, adds: bool = False, accumulate: bool = False,
    ) -> None:
        if not in_one_piece(x, dy, mean, variance, gamma, dgamma, dbeta, dx):
            super().normalize_gradient(
                x, dy, mean, variance, gamma, epsilon, dgamma, dbeta, dx, constant, adds,
                accumulate,
            )  # fmt: skip
            return
        rows, partial = self._sums_of_chunks(x)
        width, table = self._features_table(x, 5)
        summed: Any = partial
        if constant and dgamma is None and dbeta is None:
            summed = None
        self._do(
            self._compiled("normalize_gradient", type_of(x)), x, dy, mean, variance, gamma,
            epsilon, *x.shape, rows, width, constant, adds, accumulate, summed, table, dgamma,
            dbeta, dx,
        )  # fmt: skip

    def layer_norm(
        self, x: Array, gamma: Array | None, beta: Array | None, epsilon: float,
        mean: Array | None, variance: Array, out: Array,
    ) -> None:
        if not (x.size and in_one_piece(x, gamma, beta, mean, variance, out)):
            super().layer_norm(x, gamma, beta, epsilon, mean, variance, out)
            return
        self._do(
            self._compiled("layer_norm", type_of(x)), x, gamma, beta, epsilon, *x.shape, ROWS,
            mean, variance, out,
        )  # fmt: skip

    def layer_norm_gradient(
        self, x: Array, dy: Array, gamma: Array | None, epsilon: float, mean: Array | None,
        variance: Array, dgamma: Array | None, dbeta: Array | None, dx: Array | None,
        adds: bool = False, accumulate: bool = False,
    ) -> None:
        if not in_one_piece(x, dy, gamma, mean, variance, dgamma, dbeta, dx):
            super().layer_norm_gradient(
                x, dy, gamma, epsilon, mean, variance, dgamma, dbeta, dx, adds, accumulate
            )
            return
        chunks = max(1, -(-len(x) // ROWS))
        partial = self.scratch((chunks, 2, x.shape[1]), x.dtype, "sums of chunks")
        self._do(
            self._compiled("layer_norm_gradient", type_of(x)), x, dy, gamma, epsilon, *x.shape,
            ROWS, mean, variance, adds, accumulate, partial, dgamma, dbeta, dx,
        )  # fmt: skip

    def normal_noise(
        self, x: Array, stddev: float, seed: int, stream: int, control: Control, out: Array,
        factors: Array | None = None,
    ) -> None:
        if not in_one_piece(x, out, factors):
            super().normal_noise(x, stddev, seed, stream, control, out, factors)
            return
        self._do(
            self._compiled("normal_noise", type_of(out)), x, stddev, seed & MASK64,
            stream & MASK64, control.counters, out.size, factors, out,
        )  # fmt: skip
