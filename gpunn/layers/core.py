"""Layers without parameters: the input, shapes, scaling, activation, dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import activations
from ..optimizers.base import fraction, number
from ..plan import Call
from ..random import check_seed, draw_seed
from .base import Layer, check_shape


class InputLayer(Layer):
    """The shape of one input sample. Made by `Input`; does nothing when run."""

    reshapes = True

    def __init__(self, shape: Sequence[int], dtype: Any = None, name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name, input_shape=check_shape(shape, "shape"))
        self.shape = self.given_input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["shape"] = list(config.pop("input_shape"))
        del config["trainable"]
        return config


def Input(
    shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
) -> InputLayer:
    """The input of a Sequential model: the shape of one sample, without the batch axis.

    Args:
        shape: of one sample.
        batch_size: accepted as in Keras; any batch size works.
        dtype: ``"float32"``, ``"float64"`` or None.
        name: of the layer.
        batch_shape: ``(batch size or None, *shape)``, instead of ``shape``.

    >>> Input((28, 28)).shape
    (28, 28)
    """
    if (shape is None) == (batch_shape is None):
        raise ValueError("Input needs either shape or batch_shape.")
    if shape is None:
        assert batch_shape is not None
        shape = [n for n in batch_shape[1:] if n is not None]
    return InputLayer(shape, dtype, name)


class Flatten(Layer):
    """(batch, a, b, ...) becomes (batch, a b ...). A view: nothing is copied.

    >>> Flatten()([[[1, 2], [3, 4]]]).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    reshapes = True

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last"):
            raise ValueError(
                f"data_format must be None or 'channels_last'; got {data_format!r}. Move the "
                f"channels to the last axis of the data."
            )
        self.data_format = data_format

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(input_shape),)


class Rescaling(Layer):
    """y = x * scale + offset, saved with the model.

    As the first layer it costs nothing: the gather of a batch applies it while it
    converts, so that a data set of bytes stays bytes on the device.

    >>> Rescaling(1 / 255)([[0, 255]]).tolist()
    [[0.0, 1.0]]
    """

    folds_into_input = True

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = number("scale", scale)
        self.offset = number("offset", offset)

    def is_view(self, call: Call) -> bool:
        return call.folded

    def forward(self, call: Call) -> None:
        call.backend.affine(call.x, self.scale, self.offset, call.y)

    def backward(self, call: Call) -> None:
        call.backend.affine(call.dy, self.scale, 0.0, call.dx, accumulate=call.accumulate)


class Activation(Layer):
    """y = f(x), with f by name or object.

    >>> Activation("relu")([[-1.0, 2.0]]).tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def is_view(self, call: Call) -> bool:
        return call.activation == activations.linear

    def forward(self, call: Call) -> None:
        call.backend.bias_activation(call.x, None, call.activation, call.y)

    def backward(self, call: Call) -> None:
        saved = call.x if call.activation.saves == "input" else call.y
        call.backend.activation_gradient(
            call.activation, saved, call.dy, call.dx, accumulate=call.accumulate
        )


class Dropout(Layer):
    """In training, sets a share of the inputs to 0 and scales the rest by 1 / (1 - rate).

    Which ones follows from the seed, the step and the position alone (Philox
    4x64-10), the same on every backend (Srivastava et al., 2014).

    Args:
        rate: the share, from 0 to 1.
        noise_shape: not supported, only None.
        seed: key of the random stream; the model's when None.

    >>> Dropout(0.5)([[1.0, 2.0]]).tolist()  # outside training: the identity
    [[1.0, 2.0]]
    """

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if noise_shape is not None:
            raise ValueError(f"noise_shape={noise_shape!r} is not supported; leave it out.")
        self.rate = fraction("rate", rate)
        self.noise_shape = None
        self.seed = check_seed(seed)

    def stream_seed(self, model_seed: int) -> int:
        return model_seed if self.seed is None else self.seed

    def is_view(self, call: Call) -> bool:
        return not call.training or self.rate == 0.0

    def forward(self, call: Call) -> None:
        mask = call.array("mask", call.x.shape, bool)
        assert call.control is not None
        call.backend.dropout(call.x, self.rate, call.seed, call.stream, call.control, call.y, mask)

    def backward(self, call: Call) -> None:
        mask = call.array("mask", call.x.shape, bool)
        call.backend.dropout_gradient(call.dy, self.rate, mask, call.dx, accumulate=call.accumulate)

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Run by itself; calls in training differ, as the steps of a model do."""
        if self.seed is None:
            self.seed = draw_seed()
        return super().__call__(x, training)
