"""Running means of gradients and their bias correction, for several optimizers."""

from __future__ import annotations

from typing import Any, cast

from gpunn import ops
from gpunn.common.arguments import check_below_one, check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .optimizer import Optimizer


class _TwoMeans(Optimizer):
    """Base class of optimizers that keep two decaying means of the gradient."""

    parameter_names = cast("tuple[str, ...]", ("beta_1", "beta_2", "epsilon", "weight_decay"))

    learning_rate: Any = 0.001
    beta_1: float = field(default=0.9, check=check_below_one)
    beta_2: float = field(default=0.999, check=check_below_one)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = None


def averaged(mean: Tensor, x: Tensor, keep: Tensor | float) -> Tensor:
    """keep mean + (1 - keep) x."""
    return keep * mean + (1 - keep) * x


def one_minus_power(beta: Tensor | float, t: Tensor) -> Tensor:
    """1 - beta^t, accurate even if beta^t is so near 1 that the difference would lose digits."""
    return -ops.expm1(t * ops.log1p(-(1 - beta)))
