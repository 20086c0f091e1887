"""The layer that marks the steps of sequences to be skipped."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.layers.layer import Layer
from gpunn.ops.tensor import ops


class Masking(Layer):
    """Skip the steps whose features all equal ``mask_value``, in all following layers.

    The outputs of these steps are 0. The mask, False for them, goes on with the output:
    recurrent layers keep their state there, and a loss of sequences leaves them out. A layer that
    does not support masks ends it, with a warning.

    Shapes: x ``(batch, steps, features)`` -> y of the same shape, with a mask ``(batch, steps)``.

    Args:
        mask_value: the value.

    Raises:
        ValueError: if ``mask_value`` is not a finite number.

    >>> masking = Masking()
    >>> masking.compute_mask([[[1.0, 2.0], [0.0, 0.0]]]).tolist()
    [[True, False]]
    """


    mask_value: float = field(default=0.0, check=check_number)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where any feature differs from ``mask_value``: (batch, steps)."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, x: Any) -> Any:
        return ops.where(ops.expand_dims(self.compute_mask(x), -1), x, ops.zeros_like(x))
