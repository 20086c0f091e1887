"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.common.names import warn
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, ops

from .arguments import check_units
from .layer import Layer, formula
from .parameters import declared
from .shapes import Shape


class KernelAndBias(Layer):
    """Base class of layers with a kernel and a bias: it has the arguments for them."""

    _abstract = True

    kernel_initializer: Any = field(default="glorot_uniform", kw_only=True, placed=True)
    bias_initializer: Any = field(default="zeros", kw_only=True, placed=True)
    kernel_regularizer: Any = field(default=None, kw_only=True, placed=True)
    bias_regularizer: Any = field(default=None, kw_only=True, placed=True)
    kernel_constraint: Any = field(default=None, kw_only=True, placed=True)
    bias_constraint: Any = field(default=None, kw_only=True, placed=True)


class Dense(KernelAndBias):
    """Compute ``y = activation(x W + b)``: each output is a weighted sum of all inputs.

    Shapes: x ``(batch, ..., inputs)`` -> y ``(batch, ..., units)``. W has the shape
    ``(inputs, units)``, b ``(units,)``.

    Backward, with ``dz = dy * activation'(z)``: ``dW = x^T dz``, ``db`` = sum of dz over the
    rows, ``dx = dz W^T``. Inputs of more than two axes are treated as rows of the last axis.

    With ``connections`` the layer is not fully connected. Missing weights and their gradients
    are always 0, whatever the initializer, a file or an update gives, and they are not counted
    as parameters. The initializer's fan-in remains the number of all inputs.

    Args:
        units: number of outputs.
        activation: name or object; None is linear.
        use_bias: whether to add b.
        kernel_initializer: initializer of W (inputs, units).
        bias_initializer: initializer of b (units,).
        kernel_regularizer, bias_regularizer: penalties on W and b, see `gpunn.regularizers`.
        activity_regularizer: penalty on the output, divided by the number of samples.
        kernel_constraint, bias_constraint: constraints on W and b, applied after each
            update, see `gpunn.constraints`.
        connections: 1 (or True) where there is a weight and 0 where there is none, as an
            array or nested lists (inputs, units), or a function of that shape that returns one.

    Raises:
        ValueError: for ``connections`` of another shape or with other values, or beside a
            ``kernel_regularizer`` other than L1 and L2; when the layer is built, for an input of
            unknown length.

    >>> layer = Dense(2, kernel_initializer="ones")
    >>> layer([[1.0, 2.0, 3.0]]).tolist()
    [[6.0, 6.0]]
    >>> layer = Dense(2, kernel_initializer="ones", connections=[[1, 0], [1, 1], [0, 1]])
    >>> layer([[1.0, 2.0, 3.0]]).tolist(), layer.count_params()
    ([[3.0, 5.0]], 6)
    """

    supports_masking = True
    examples = (
        {"units": 3},
        {"units": 1, "use_bias": False},
        {"units": 4, "activation": "sigmoid"},
        {"units": 4, "activation": "tanh", "use_bias": False},
        {"units": 4, "activation": "relu", "kernel_initializer": "he_normal"},
        {"units": 4, "activation": "softmax", "bias_initializer": "normal"},
        {
            "units": 4,
            "activation": {
                "class_name": "Relu",
                "config": {"negative_slope": 0.2, "max_value": 1.5, "threshold": 0.1},
            },
        },
        {"units": 2, "use_bias": False, "activation": "silu", "learning_rate_multiplier": 0.5},
    )

    units: int = field(check=check_units)
    activation: Any = field(default=None)
    use_bias: bool = field(default=True, check=check_flag)
    activity_regularizer: Any = field(
        default=None, kw_only=True, placed=True, after="bias_regularizer"
    )
    connections: Any = field(default=None, after="bias_constraint")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bias: Parameter | None = None
        if self.connections is None:
            return
        if not callable(self.connections):
            self.connections = check_connections(self.connections, (None, self.units))
        if getattr(self.kernel_regularizer, "coefficients", (0.0, 0.0)) is None:
            raise ValueError(
                f"kernel_regularizer={self.kernel_regularizer!r} does not go with "
                f"connections: it would give missing weights a gradient. Use L1 or L2."
            )

    def build(self, input_shape: Shape) -> None:
        inputs = input_shape[-1]
        if len(input_shape) < 2 or inputs is None:
            raise ValueError(
                f"{self.name}: x must have the shape (batch, inputs), and its last axis a known "
                f"length; got {tuple(input_shape)}."
            )
        self.kernel = declared(self, "kernel", (inputs, self.units))
        if self.connections is not None:
            shape = (inputs, self.units)
            given = self.connections(shape) if callable(self.connections) else self.connections
            self.connections = self.kernel.connections = check_connections(given, shape)
            disconnected = np.flatnonzero(~self.connections.any(axis=0)).tolist()
            if disconnected:
                warn(
                    f"{self.name}: connections leaves units without any input, so their output is "
                    f"the same for every sample: {disconnected}."
                )
        if self.use_bias:
            self.bias = declared(self, "bias", (self.units,))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        kernel = self.kernel if self.connections is None else self.kernel * self.connections
        y = ops.matmul(x, kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if callable(self.connections):
            raise ValueError(
                f"{self.name}: connections is a function, which no file can hold, and the layer "
                f"is not built yet; build it first, or pass the mask itself."
            )
        if self.connections is None:
            config.pop("connections", None)
        else:
            config["connections"] = self.connections.astype(int).tolist()
        return config


def check_connections(given: Any, shape: tuple[int | None, int]) -> np.ndarray:
    """Return a mask of this shape (None: any) as an array of bool.

    >>> check_connections([[1, 0]], (None, 2)).tolist()
    [[True, False]]
    """
    try:
        mask = np.asarray(given)
        fits = mask.ndim == 2 and shape[0] in (None, mask.shape[0]) and shape[1] == mask.shape[1]
        binary = mask.dtype.kind in "biuf" and bool(np.isin(mask, (0, 1)).all())
    except ValueError:  # lists of different lengths
        fits, binary, mask = False, True, np.empty(0)
    wanted = f"({'inputs' if shape[0] is None else shape[0]}, {shape[1]})"
    if not fits:
        raise ValueError(
            f"connections must have the shape (inputs, units), here {wanted}; got "
            f"{mask.shape if mask.size else given!r}."
        )
    if not binary:
        raise ValueError(f"connections must hold 0 and 1 (or False and True) only; got {given!r}.")
    return mask.astype(bool)
