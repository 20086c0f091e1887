"""Linear and logistic regression with an L2 penalty: the weights for each of several penalties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PENALTIES = (1000.0, 100.0, 10.0, 1.0, 0.1)
"""Tried from the largest on: each fit starts from the weights of the one before."""
STEPS = 100  # at most, of L-BFGS for each penalty
MEMORY = 10  # pairs of steps and gradient changes that L-BFGS keeps
CLOSE = 1e-5  # it has converged when no entry of the mean gradient is larger


def ridge(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield kernel (columns, 1) and bias (1,) of ridge regression, for each penalty.

    They minimize sum (x w + b - y)^2 + penalty |w|^2. With the centred columns X it is
    w = V (S + penalty)^-1 V'X'y, from the eigenvectors V and eigenvalues S of X'X.

    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> *_, (kernel, bias) = ridge(x, y)
    >>> [round(float(n), 2) for n in (*kernel[:, 0], *bias)]  # towards 2 x + 1
    [1.9, 1.1]
    """
    x = np.asarray(x, np.float64)
    around, middle = x.mean(axis=0), y.mean()
    x = x - around
    values, vectors = np.linalg.eigh(x.T @ x)
    along = vectors.T @ (x.T @ (y - middle))
    for penalty in PENALTIES:
        kernel = vectors @ (along / (np.maximum(values, 0.0) + penalty))
        yield kernel[:, None], np.array([middle - around @ kernel])


def logistic(x: np.ndarray, y: np.ndarray, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield kernel (columns, classes) and bias (classes,) of logistic regression, for each penalty.

    They minimize sum -log softmax(x w + b)[y] + penalty |w|^2 / 2, as scikit-learn's
    LogisticRegression with C = 1 / penalty.

    Args:
        x: (rows, columns).
        y: (rows,), class indices.
        classes: number of classes.

    >>> kernel, bias = next(logistic(np.array([[0.0], [1.0]]), np.array([0, 1]), 2))
    >>> kernel.shape, bool(kernel[0, 1] > 0 > kernel[0, 0])
    ((1, 2), True)
    """
    x = np.asarray(x, np.float64)
    rows, columns = x.shape
    truth = np.zeros((rows, classes))
    truth[np.arange(rows), y] = 1.0
    shares = (truth.sum(axis=0) + 1.0) / (rows + classes)
    weights = np.concatenate([np.zeros(columns * classes), np.log(shares)])

    def loss(at: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        kernel, bias = at[:-classes].reshape(columns, classes), at[-classes:]
        logits = x @ kernel + bias
        logits -= logits.max(axis=1, keepdims=True)
        logs = np.log(np.exp(logits).sum(axis=1))
        value = (logs - logits[np.arange(rows), y]).sum() + penalty / 2 * (kernel**2).sum()
        wrong = np.exp(logits - logs[:, None]) - truth
        gradient = np.concatenate([(x.T @ wrong + penalty * kernel).ravel(), wrong.sum(axis=0)])
        return value / rows, gradient / rows

    for penalty in PENALTIES:
        weights = _minimized(lambda at, p=penalty: loss(at, p), weights)
        yield weights[:-classes].reshape(columns, classes), weights[-classes:]


def _minimized(function: object, start: np.ndarray) -> np.ndarray:
    """Minimize a convex function of value and gradient by L-BFGS with a backtracking line search.

    Nocedal and Wright, "Numerical Optimization", algorithms 7.4 and 3.1.
    """
    at = start
    value, gradient = function(at)  # type: ignore[operator]
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(STEPS):
        if np.abs(gradient).max() <= CLOSE:
            break
        direction = -_times_inverse(pairs, gradient)
        slope = float(gradient @ direction)
        rate = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        while True:
            after = at + rate * direction
            new, new_gradient = function(after)  # type: ignore[operator]
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
