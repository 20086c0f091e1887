"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from .. import activations, initializers
from ..arena import Parameter
from ..plan import Call
from .base import Layer, Shape


class Dense(Layer):
    """y = activation(x W + b).

    Backward, with dz = dy * activation'(z): dW = x^T dz, db = sum of dz over the
    rows, dx = dz W^T. Inputs of more than two axes are taken as rows of the last.

    Args:
        units: number of outputs n.
        activation: name or object; None is linear.
        use_bias: whether to add b.
        kernel_initializer: of W (inputs, n).
        bias_initializer: of b (n,).
        learning_rate_multiplier: factor on the learning rate of W and b.

    >>> layer = Dense(2, kernel_initializer="ones")
    >>> layer([[1.0, 2.0, 3.0]]).tolist()
    [[6.0, 6.0]]
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        learning_rate_multiplier: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(units, bool) or not hasattr(units, "__index__") or units < 1:
            raise ValueError(f"units must be a positive integer; got {units!r}.")
        if not learning_rate_multiplier >= 0:
            raise ValueError(
                f"learning_rate_multiplier must be at least 0; got {learning_rate_multiplier!r}."
            )
        self.units = int(units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.learning_rate_multiplier = learning_rate_multiplier
        self.bias: Parameter | None = None

    def build(self, input_shape: Shape) -> None:
        inputs = input_shape[-1]
        if len(input_shape) < 2 or inputs is None:
            raise ValueError(
                f"{self.name}: x must have the shape (batch, inputs); got {tuple(input_shape)}."
            )
        rate = self.learning_rate_multiplier
        self.kernel = self.parameter(
            (inputs, self.units), self.kernel_initializer, "kernel", multiplier=rate
        )
        if self.use_bias:
            self.bias = self.parameter(
                (self.units,), self.bias_initializer, "bias", multiplier=rate
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, call: Call) -> None:
        backend, activation = call.backend, call.activation
        x, y = _rows(call.x), _rows(call.y)  # (rows, inputs), (rows, units)
        keeps_input = activation.saves == "input"
        z = call.array("z", y.shape) if keeps_input else y
        backend.matmul(x, self.kernel.value, z, precision=call.precision)
        bias = None if self.bias is None else self.bias.value
        if bias is not None or not isinstance(activation, activations.Linear):
            backend.bias_activation(z, bias, activation, y)

    def backward(self, call: Call) -> None:
        backend, activation = call.backend, call.activation
        dz = _rows(call.dy)
        if not isinstance(activation, activations.Linear):
            y = _rows(call.y)
            saved = call.array("z", y.shape) if activation.saves == "input" else y
            backend.activation_gradient(activation, saved, dz, dz)
        if call.trains:
            backend.matmul(
                _rows(call.x), dz, self.kernel.gradient,
                transpose_a=True, accumulate=call.adds, precision=call.precision,
            )  # fmt: skip
            if self.bias is not None:
                backend.column_sums(dz, self.bias.gradient, accumulate=call.adds)
        if call.dx is not None:
            backend.matmul(
                dz, self.kernel.value, _rows(call.dx),
                transpose_b=True, accumulate=call.accumulate, precision=call.precision,
            )  # fmt: skip


def _rows(x: Any) -> Any:
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
