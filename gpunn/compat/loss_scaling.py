"""`LossScaleOptimizer` of Keras, for scripts that are written for half precision."""

from __future__ import annotations

from typing import Any

from gpunn import optimizers
from gpunn.common.names import warn
from gpunn.common.signatures import signature


def LossScaleOptimizer(
    inner_optimizer: Any,
    initial_scale: float = 2.0**15,
    dynamic_growth_steps: int = 2000,
    name: str | None = None,
    **kwargs: Any,
) -> Any:
    """Return ``inner_optimizer`` itself, with a warning: gpunn trains in float32.

    Keras scales the loss up so that gradients of float16 do not underflow, and leaves out steps
    whose gradients are not finite. Gradients of float32 need no scale, and no step is left out: for
    a loss that may become infinite, use `gpunn.callbacks.TerminateOnNaN`. ``loss_scale_factor`` of
    any optimizer is a constant scale.

    Args:
        inner_optimizer: an optimizer, its name or its configuration; its ``loss_scale_factor``
            becomes None, as in Keras.
        initial_scale, dynamic_growth_steps, name: accepted as in Keras.

    Raises:
        ValueError: for ``dynamic=False``, or other arguments of optimizers, as in Keras.
        TypeError: for arguments that Keras lacks.

    >>> import warnings
    >>> from gpunn.optimizers import Adam, LossScaleOptimizer
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     LossScaleOptimizer(Adam(0.5)).learning_rate
    0.5
    """
    if not kwargs.pop("dynamic", True):
        raise ValueError(
            "LossScaleOptimizer has no dynamic=False: set `loss_scale_factor` on the "
            "`inner_optimizer` instead."
        )
    known = signature(optimizers.Optimizer).parameters
    for argument, value in kwargs.items():
        if argument not in known:
            raise TypeError(f"LossScaleOptimizer has no argument {argument!r}.")
        if value != known[argument].default:
            raise ValueError(f"Set {argument}={value!r} on the `inner_optimizer` instead.")
    inner = optimizers.get(inner_optimizer)
    inner.loss_scale_factor = None
    warn(
        f"LossScaleOptimizer: gpunn trains in float32, so {inner.name} trains without a scale of "
        f"the loss, and steps whose gradients are not finite are not left out."
    )
    return inner
