"""A layer that defines its passes on arrays."""

from __future__ import annotations

from typing import Any

import gpunn
from gpunn import layers


class Cubed(layers.Layer):
    """y = x^3, with a weight that it does not use."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.parameter((1,), gpunn.initializers.Ones(), "factor")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def forward(self, call: Any) -> None:
        call.backend.xp.power(call.x, 3, out=call.y)

    def backward(self, call: Any) -> None:
        call.backend.xp.multiply(call.dy, 3 * call.x**2, out=call.dx)
