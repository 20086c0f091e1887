"""Normalization and normal noise on NumPy, in pieces that fit in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.host.program import TracingBackend

PIECE = 1 << 16  # elements of a slice: they stay in the cache from pass to pass
WIDE = 1 << 11  # elements of a row: starting a row takes NumPy as long as about 50 elements


class NumpyNormalization(TracingBackend):
    """The operations of normalization and noise; a part of `NumpyBackend`.

    Sums over rows or columns are products with ones, which BLAS computes at memory bandwidth.
    """

    _uniform: Callable[..., Array]

    def _sum_features(self, x: Array, out: Array) -> None:
        """out (features,) = sum of x, a result of `_flat` or (outer, features)."""
        features = out.size
        if x.ndim == 3:
            rows = self.scratch((len(x) * features,), x.dtype, "sums along inner")
            self._do(np.dot, x.reshape(-1, x.shape[2]), self._ones(x.shape[2], x.dtype), out=rows)
            x = rows.reshape(-1, features)
        if x.shape[1] > features:
            columns = self.scratch(x.shape[1:], x.dtype, "sums of columns")
            self._do(np.dot, self._ones(len(x), x.dtype), x, out=columns)
            x = columns.reshape(-1, features)
        self._do(np.dot, self._ones(len(x), x.dtype), x, out=out)

    def _spread(self, values: Array, x: Array, slot: str) -> Array:
        """Return one value for each feature, for broadcasting over x, a result of `_flat`."""
        if x.ndim == 3:
            return values[:, None]
        if x.shape[1] == values.size:
            return values
        row = self.scratch(x.shape[1:], x.dtype, f"{slot} again and again")
        self._do(np.copyto, row.reshape(-1, values.size), values)
        return row

    def _batch_statistics(self, call: OpCall) -> None:
        n, features = call.outer * call.inner, call.features
        x, mean, variance, momentum = _flat(call.x), call.mean, call.variance, call.momentum
        self._sum_features(x, mean)
        self._do(np.divide, mean, n, out=mean)
        # The sums of the deviations from that mean correct its rounding, and the variance.
        pieces = list(_pieces(x))
        sums = self.scratch((2, len(pieces), features), x.dtype, "sums of pieces")
        middle = self._spread(mean, x, "mean")
        for i, at in enumerate(pieces):
            c = self.scratch(x[at].shape, x.dtype, "centred")
            self._do(np.subtract, x[at], middle, out=c)
            self._sum_features(c, sums[0, i])
            self._do(np.multiply, c, c, out=c)
            self._sum_features(c, sums[1, i])
        rest = self.scratch((2, features), x.dtype, "means of what differs")
        for total, part in zip(rest, sums, strict=True):
            self._sum_features(part, total)
        self._do(np.divide, rest, n, out=rest)
        self._do(np.add, mean, rest[0], out=mean)
        self._do(np.multiply, rest[0], rest[0], out=rest[0])
        self._do(np.subtract, rest[1], rest[0], out=variance)
        self._do(np.maximum, variance, 0.0, out=variance)
        for moving, now in ((call.moving_mean, mean), (call.moving_variance, variance)):
            self._do(np.multiply, moving, momentum, out=moving)
            self._do(np.multiply, now, 1.0 - momentum, out=rest[0])
            self._do(np.add, moving, rest[0], out=moving)

    def _inverse(self, variance: Array, epsilon: float) -> Array:
        """Return 1 / sqrt(variance + epsilon), in a work array."""
        inverse = self.scratch(variance.shape, variance.dtype, "inverse deviation")
        self._do(np.add, variance, epsilon, out=inverse)
        self._do(np.sqrt, inverse, out=inverse)
        self._do(np.divide, 1.0, inverse, out=inverse)
        return inverse

    def _scale(self, inverse: Array, gamma: Array | None) -> Array:
        if gamma is None:
            return inverse
        scale = self.scratch(inverse.shape, inverse.dtype, "scale")
        self._do(np.multiply, inverse, gamma, out=scale)
        return scale

    def _normalize(self, call: OpCall) -> None:
        x, out = _flat(call.x), _flat(call.out)
        scale = self._scale(self._inverse(call.variance, call.epsilon), call.gamma)
        middle, scale = self._spread(call.mean, x, "mean"), self._spread(scale, x, "scale")
        shift = None if call.beta is None else self._spread(call.beta, x, "beta")
        for at in _pieces(x):
            self._do(np.subtract, x[at], middle, out=out[at])
            self._do(np.multiply, out[at], scale, out=out[at])
            if shift is not None:
                self._do(np.add, out[at], shift, out=out[at])

    def _normalize_gradient(self, call: OpCall) -> None:
        n, features = call.outer * call.inner, call.features
        dgamma, dbeta, constant = call.dgamma, call.dbeta, call.constant
        x, dy = _flat(call.x), _flat(call.dy)
        dx = None if call.dx is None else _flat(call.dx)
        inverse = self._inverse(call.variance, call.epsilon)
        scale = self._scale(inverse, call.gamma)
        pieces = list(_pieces(x))
        middle = self._spread(call.mean, x, "mean")
        total = self.scratch((2, features), x.dtype, "totals")
        if not constant or dgamma is not None or dbeta is not None:
            sums = self.scratch((2, len(pieces), features), x.dtype, "sums of pieces")
            for i, at in enumerate(pieces):
                term = self.scratch(x[at].shape, x.dtype, "centred")
                self._do(np.subtract, x[at], middle, out=term)
                self._do(np.multiply, term, dy[at], out=term)
                self._sum_features(dy[at], sums[0, i])
                self._sum_features(term, sums[1, i])
            for whole, part in zip(total, sums, strict=True):
                self._sum_features(part, whole)
            self._do(np.multiply, total[1], inverse, out=total[1])  # sum of dy times y's x
            for gradient, whole in ((dbeta, total[0]), (dgamma, total[1])):
                if gradient is not None:
                    self._store(whole, gradient, call.accumulate_gradients)
        if dx is None:
            return
        self._do(np.multiply, total[1], inverse, out=total[1])
        self._do(np.multiply, total, scale, out=total)
        self._do(np.divide, total, n, out=total)
        scale = self._spread(scale, x, "scale")
        means = [] if constant else [self._spread(total[i], x, f"mean {i}") for i in (0, 1)]
        for at in pieces:
            with self._accumulating(dx[at], call.accumulate_dx) as scaled:
                self._do(np.multiply, dy[at], scale, out=scaled)
                if constant:
                    continue
                term = self.scratch(x[at].shape, x.dtype, "centred")
                self._do(np.subtract, x[at], middle, out=term)
                self._do(np.multiply, term, means[1], out=term)
                self._do(np.add, term, means[0], out=term)
                self._do(np.subtract, scaled, term, out=scaled)

    def _layer_norm(self, call: OpCall) -> None:
        x, mean, variance, out = call.x, call.mean, call.variance, call.out
        ones = self._ones(x.shape[1], x.dtype)
        for at in _pieces(x):
            y, square = out[at], self.scratch(x[at].shape, x.dtype, "square")
            if mean is None:
                self._do(np.multiply, x[at], x[at], out=square)
            else:
                # The mean of the deviations from the mean corrects its rounding.
                rest = self.scratch((len(y),), x.dtype, "mean of what differs")
                self._do(np.dot, x[at], ones, out=mean[at])
                self._do(np.divide, mean[at], x.shape[1], out=mean[at])
                self._do(np.subtract, x[at], mean[at][:, None], out=y)
                self._do(np.dot, y, ones, out=rest)
                self._do(np.divide, rest, x.shape[1], out=rest)
                self._do(np.add, mean[at], rest, out=mean[at])
                self._do(np.subtract, x[at], mean[at][:, None], out=y)
                self._do(np.multiply, y, y, out=square)
            self._do(np.dot, square, ones, out=variance[at])
            self._do(np.divide, variance[at], x.shape[1], out=variance[at])
            inverse = self._inverse(variance[at], call.epsilon)
            self._do(np.multiply, x[at] if mean is None else y, inverse[:, None], out=y)
            if call.gamma is not None:
                self._do(np.multiply, y, call.gamma, out=y)
            if call.beta is not None:
                self._do(np.add, y, call.beta, out=y)

    def _layer_norm_gradient(self, call: OpCall) -> None:
        x, dy, dx, mean, gamma = call.x, call.dy, call.dx, call.mean, call.gamma
        features = call.features
        factors = self._ones(features, x.dtype) if gamma is None else gamma
        pieces = list(_pieces(x))
        sums = self.scratch((2, len(pieces), features), x.dtype, "sums of pieces")
        for i, at in enumerate(pieces):
            normal = self.scratch(x[at].shape, x.dtype, "normalized")
            term = self.scratch(x[at].shape, x.dtype, "term")
            inverse = self._inverse(call.variance[at], call.epsilon)[:, None]
            if mean is None:
                self._do(np.multiply, x[at], inverse, out=normal)
            else:
                self._do(np.subtract, x[at], mean[at][:, None], out=normal)
                self._do(np.multiply, normal, inverse, out=normal)
            self._do(np.multiply, dy[at], normal, out=term)
            if call.dbeta is not None:
                self._sum_features(dy[at], sums[0, i])
            if call.dgamma is not None:
                self._sum_features(term, sums[1, i])
            if dx is None:
                continue
            means = self.scratch((2, len(term)), x.dtype, "means of rows")
            self._do(np.dot, dy[at], factors, out=means[0])
            self._do(np.dot, term, factors, out=means[1])
            self._do(np.divide, means, features, out=means)
            self._do(np.multiply, normal, means[1][:, None], out=normal)
            if mean is not None:
                self._do(np.add, normal, means[0][:, None], out=normal)
            if gamma is None:
                self._do(np.subtract, dy[at], normal, out=term)
            else:
                self._do(np.multiply, dy[at], gamma, out=term)
                self._do(np.subtract, term, normal, out=term)
            with self._accumulating(dx[at], call.accumulate_dx) as target:
                self._do(np.multiply, term, inverse, out=target)
        for gradient, part in ((call.dbeta, sums[0]), (call.dgamma, sums[1])):
            if gradient is not None:
                self.column_sums(part, gradient, accumulate=call.accumulate_gradients)

    def _normal_noise(self, call: OpCall) -> None:
        x, factors, out = call.x, call.factors, call.out
        begin = call.first % 2  # x may begin within a pair
        pairs = -(-(begin + x.size) // 2)
        uniform = self._uniform(call, call.first - begin, 2 * pairs)
        normal = self.scratch((2 * pairs,), x.dtype, "normal")
        radius = self.scratch((pairs,), x.dtype, "radius")
        angle = self.scratch((pairs,), x.dtype, "angle")
        self._do(np.subtract, 1.0, uniform[0::2], out=radius, dtype=x.dtype)
        self._do(np.log, radius, out=radius)
        self._do(np.multiply, radius, -2.0, out=radius)
        self._do(np.sqrt, radius, out=radius)
        self._do(np.multiply, radius, call.stddev, out=radius)
        self._do(np.multiply, uniform[1::2], 2 * math.pi, out=angle, dtype=x.dtype)
        for place, function in enumerate((np.cos, np.sin)):
            self._do(function, angle, out=normal[place::2])
            self._do(np.multiply, normal[place::2], radius, out=normal[place::2])
        noise = normal[begin : begin + x.size].reshape(x.shape)
        if factors is None:
            self._do(np.add, x, noise, out=out)
        else:
            self._do(np.add, noise, 1.0, out=factors)
            self._do(np.multiply, x, factors, out=out)


def _flat(x: Array) -> Array:
    """Return x (outer, features, inner) unchanged or, if inner is 1, as (outer / n,
    n * features): n rows of features side by side, which makes rows long enough for NumPy.
    """
    outer, features, inner = x.shape
    if inner > 1:
        return x
    joined = math.gcd(outer, 1 << max(0, (WIDE // features).bit_length() - 1))
    return x.reshape(outer // joined, joined * features)


def _pieces(x: Array) -> Iterator[slice]:
    """Yield slices of a few rows, small enough that their data stay in the cache."""
    rows = max(1, PIECE // max(1, math.prod(x.shape[1:])))  # of a slice
    for start in range(0, len(x), rows):
        yield slice(start, min(start + rows, len(x)))
