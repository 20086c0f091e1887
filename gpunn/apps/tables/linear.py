"""Linear and logistic regression with an L2 penalty: the weights for each of several penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from .networks import Rows

PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
"""Tried from the largest on: each fit starts from the weights of the one before."""
OF_RIDGE = (*PENALTIES, 0.03, 0.01, 0.003, 0.001)
"""Penalties of ridge regression, where one more costs next to nothing."""
STEPS = 100  # at most, of L-BFGS for each penalty
BLOCK = 1 << 16  # rows that are looked at together
MEMORY = 10  # pairs of steps and gradient changes that L-BFGS keeps
CLOSE = 1e-5  # it has converged when no entry of the mean gradient is larger


class _Blocks:
    """Rows in float64, `BLOCK` at a time, of an array (rows, columns) or prepared rows: all at once
    would take much memory."""

    def __init__(self, x: np.ndarray | Rows) -> None:
        self.x = x
        self.rows = len(x)
        self._only = self._block(slice(0, self.rows)) if self.rows <= BLOCK else None

    def _block(self, at: slice) -> np.ndarray:
        part = self.x[at]
        return np.asarray(part if isinstance(part, np.ndarray) else part.joined(), np.float64)

    def __iter__(self) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, self.rows, BLOCK):
            at = slice(start, min(start + BLOCK, self.rows))
            yield at, self._block(at) if self._only is None else self._only


def ridge(x: np.ndarray | Rows, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield kernel (columns, 1) and bias (1,) of ridge regression, for each penalty.

    They minimize sum (x w + b - y)^2 + penalty |w|^2. With the centred columns X it is
    w = V (S + penalty)^-1 V'X'y, from the eigenvectors V and eigenvalues S of X'X.

    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> *_, (kernel, bias) = ridge(x, y)
    >>> [round(float(n), 2) for n in (*kernel[:, 0], *bias)]  # towards 2 x + 1
    [2.0, 1.0]
    """
    blocks = _Blocks(x)
    around, middle = sum(part.sum(axis=0) for _, part in blocks) / blocks.rows, y.mean()
    squares, products = 0.0, 0.0
    for at, part in blocks:
        centred = part - around
        squares = squares + centred.T @ centred
        products = products + centred.T @ (y[at] - middle)
    values, vectors = np.linalg.eigh(squares)
    along = vectors.T @ products
    for penalty in OF_RIDGE:
        kernel = vectors @ (along / (np.maximum(values, 0.0) + penalty))
        yield kernel[:, None], np.array([middle - around @ kernel])


def logistic(
    x: np.ndarray | Rows, y: np.ndarray, classes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield kernel (columns, classes) and bias (classes,) of logistic regression from x (rows,
    columns) to class indices y (rows,), for each penalty.

    They minimize sum -log softmax(x w + b)[y] + penalty |w|^2 / 2, as scikit-learn's
    LogisticRegression with C = 1 / penalty.

    >>> kernel, bias = next(logistic(np.array([[0.0], [1.0]]), np.array([0, 1]), 2))
    >>> kernel.shape, bool(kernel[0, 1] > 0 > kernel[0, 0])
    ((1, 2), True)
    """
    blocks = _Blocks(x)
    rows, columns = blocks.rows, next(iter(blocks))[1].shape[1]
    shares = (np.bincount(y, minlength=classes) + 1.0) / (rows + classes)
    weights = np.concatenate([np.zeros(columns * classes), np.log(shares)])

    def loss(penalty: float, at: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = at[:-classes].reshape(columns, classes), at[-classes:]
        value, slope, slopes = penalty / 2 * float((kernel**2).sum()), penalty * kernel, 0.0
        for some, part in blocks:
            logits = part @ kernel + bias
            logits -= logits.max(axis=1, keepdims=True)
            logs = np.log(np.exp(logits).sum(axis=1))
            every = np.arange(len(part))
            value += float((logs - logits[every, y[some]]).sum())
            wrong = np.exp(logits - logs[:, None])
            wrong[every, y[some]] -= 1.0
            slope = slope + part.T @ wrong
            slopes = slopes + wrong.sum(axis=0)
        return value / rows, np.concatenate([slope.ravel(), slopes]) / rows

    for penalty in PENALTIES:
        weights = _minimized(partial(loss, penalty), weights)
        yield weights[:-classes].reshape(columns, classes), weights[-classes:]


def _minimized(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> np.ndarray:
    """Minimize a convex function of value and gradient by L-BFGS with a backtracking line search.

    Nocedal and Wright, "Numerical Optimization", algorithms 7.4 and 3.1.
    """
    at = start
    value, gradient = function(at)
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(STEPS):
        if np.abs(gradient).max() <= CLOSE:
            break
        direction = -_times_inverse(pairs, gradient)
        slope = float(gradient @ direction)
        rate = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        while True:
            after = at + rate * direction
            new, new_gradient = function(after)
            if new <= value + 1e-4 * rate * slope:
                break
            rate /= 2
            if rate < 1e-10:
                return at
        step, change = after - at, new_gradient - gradient
        if (curvature := float(step @ change)) > 1e-12:
            pairs = [*pairs[1 - MEMORY :], (step, change, curvature)]
        at, value, gradient = after, new, new_gradient
    return at


def _times_inverse(
    pairs: list[tuple[np.ndarray, np.ndarray, float]], gradient: np.ndarray
) -> np.ndarray:
    """Multiply by L-BFGS's approximation of the inverse Hessian: the two-loop recursion."""
    found = gradient.copy()
    factors = []
    for step, change, curvature in reversed(pairs):
        factors.append(float(step @ found) / curvature)
        found -= factors[-1] * change
    if pairs:
        step, change, curvature = pairs[-1]
        found *= curvature / float(change @ change)
    for (step, change, curvature), factor in zip(pairs, reversed(factors), strict=True):
        found += (factor - float(change @ found) / curvature) * step
    return found
