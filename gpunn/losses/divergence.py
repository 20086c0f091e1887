"""Losses on distributions and on counts: Kullback-Leibler divergence and Poisson."""

from __future__ import annotations

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.config import epsilon

from .loss import ElementLoss


class KLDivergence(ElementLoss):
    """l = sum_j t_j log(t_j / p_j) over the last axis: how far p is from the true t.

    This is D(t || p), Keras's direction, which punishes a small p where t is large. The
    other, D(p || t), is ``KLDivergence()(y_pred, y_true)``: the arguments the other way
    round (for its value; a model trained with a loss gets the gradient of the second
    argument). Both are kept within [1e-7, 1] first, so that no logarithm is infinite
    (Kullback and Leibler, 1951; the clipping is Keras's).

    >>> round(float(KLDivergence()([[0.0, 1.0]], [[0.5, 0.5]])), 5)
    0.69315
    """

    functor = "KLDivergence"
    predictions = "probabilities"
    aliases = ("kld", "KLD", "kullback_leibler_divergence")
    mean = False
    examples = ({}, {"reduction": "sum"})

    def elements(
        self, backend: Backend, y_true: Array, y_pred: Array, terms: Array, slopes: Array | None
    ) -> None:
        xp = backend.xp
        t = backend.scratch(y_pred.shape, y_pred.dtype, "t")
        p = backend.scratch(y_pred.shape, y_pred.dtype, "p")
        xp.clip(y_true, epsilon(), 1.0, out=t)
        xp.clip(y_pred, epsilon(), 1.0, out=p)
        if slopes is not None:
            inside = backend.scratch(y_pred.shape, bool, "inside")
            xp.equal(p, y_pred, out=inside)
        xp.divide(t, p, out=p)
        xp.log(p, out=terms)
        xp.multiply(terms, t, out=terms)
        if slopes is not None:
            xp.multiply(p, inside, out=slopes)
            xp.negative(slopes, out=slopes)


class Poisson(ElementLoss):
    """l = mean_j (p_j - t_j log(p_j + 1e-7)) for counts t and the rates p predicted for them.

    Up to log(t!), minus the logarithm of the probability of t under a Poisson
    distribution; dl/dp = (1 - t / (p + 1e-7)) / n. Rates must not be negative: end the
    model in an activation that gives none, such as softplus or the exponential.

    >>> round(float(Poisson()([[1.0]], [[2.0]])), 5)
    1.30685
    """

    functor = "Poisson"

    def elements(
        self, backend: Backend, y_true: Array, y_pred: Array, terms: Array, slopes: Array | None
    ) -> None:
        xp = backend.xp
        rate = backend.scratch(y_pred.shape, y_pred.dtype, "rate")
        xp.add(y_pred, epsilon(), out=rate)
        xp.log(rate, out=terms)
        xp.multiply(terms, y_true, out=terms)
        xp.subtract(y_pred, terms, out=terms)
        if slopes is not None:
            xp.divide(y_true, rate, out=slopes)
            xp.subtract(1.0, slopes, out=slopes)
