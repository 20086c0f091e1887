"""Losses on distributions and on counts: Kullback-Leibler divergence and Poisson."""

from __future__ import annotations

from gpunn.common.config import epsilon
from gpunn.ops.tensor import Tensor, ops

from .elements import ElementLoss


class KLDivergence(ElementLoss):
    """``l = sum_j t_j log(t_j / p_j)`` over the last axis: how far p is from the true t.

    This is D(t || p), as in Keras, which penalizes a small p where t is large.
    ``KLDivergence()(y_pred, y_true)``, with the arguments swapped, gives the value of
    D(p || t); training uses the gradient with respect to the second argument. Both are
    clipped to [1e-7, 1] first, so that no logarithm is infinite (Kullback and Leibler,
    1951; the clipping is Keras's).

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import KLDivergence
    >>> round(float(KLDivergence()([[0.0, 1.0]], [[0.5, 0.5]])), 5)
    0.69315
    """

    functor = "KLDivergence"
    predictions = "probabilities"
    aliases = ("kld", "KLD", "kullback_leibler_divergence")
    mean = False
    examples = ({}, {"reduction": "sum"})

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        q = ops.clip(t, epsilon(), 1.0)
        return q * ops.log(q / ops.clip(y, epsilon(), 1.0))

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        p = ops.clip(y, epsilon(), 1.0)
        return ops.where(p == y, -(ops.clip(t, epsilon(), 1.0) / p), 0.0)


class Poisson(ElementLoss):
    """``l = mean_j (p_j - t_j log(p_j + 1e-7))`` for counts t and the rates p predicted for them.

    Up to log(t!), this is the negative log-likelihood of t under a Poisson
    distribution, as in Keras; ``dl/dp = (1 - t / (p + 1e-7)) / n``. Rates must not be negative:
    end the model with a non-negative activation, such as softplus or the exponential.

    Shapes, arguments and errors: as for `MeanSquaredError`.

    >>> from gpunn.losses import Poisson
    >>> round(float(Poisson()([[1.0]], [[2.0]])), 5)  # 2 - log 2
    1.30685
    """

    functor = "Poisson"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return y - t * ops.log(y + epsilon())

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        return 1.0 - t / (y + epsilon())
