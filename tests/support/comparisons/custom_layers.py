"""Custom layers with `call`, each with an equivalent made of built-in layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpunn
from gpunn import layers, ops


def register(cls: type) -> type:
    """Registered, so that a saved model can name it."""
    return gpunn.saving.register_serializable(package="tests")(cls)


@register
class Linear(layers.Layer):
    """y = x W + b, as Keras's guide writes it."""

    def __init__(self, units: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="random_normal",
            trainable=True,
            name="w",
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.w) + self.b


@register
class MLPBlock(layers.Layer):
    """Layers inside a layer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.linear_1 = Linear(8)
        self.linear_2 = layers.Dense(5)
        self.linear_3 = Linear(3)

    def call(self, inputs: Any) -> Any:
        x = ops.relu(self.linear_1(inputs))
        return self.linear_3(ops.relu(self.linear_2(x)))


@register
class Swish(layers.Layer):
    """A trainable slope for each feature."""

    def build(self, input_shape: Any) -> None:
        self.beta = self.add_weight((input_shape[-1],), "ones", name="beta")

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(self.beta * x)


@register
class Residual(layers.Layer):
    """x + f(x), with dropout in training."""

    def __init__(self, rate: float = 0.25, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.dropout = layers.Dropout(rate)

    def build(self, input_shape: Any) -> None:
        self.inner = layers.Dense(9, activation="tanh")
        self.outer = layers.Dense(input_shape[-1])

    def call(self, x: Any, training: bool | None = None) -> Any:
        return x + self.outer(self.dropout(self.inner(x), training=training))


@register
class Collections(layers.Layer):
    """A layer with layers in lists and dictionaries, and with layers that take lists."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = [layers.Dense(5, "tanh"), layers.Dense(5, "tanh")]
        right = [layers.Dense(2), layers.Add()]
        self.heads: dict[str, Any] = {"left": layers.Dense(2), "right": right}

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        dense, add = self.heads["right"]
        return add([self.heads["left"](x), dense(x)])


@register
class Recurrent(layers.Layer):
    """A layer that applies one inner layer three times."""

    def build(self, input_shape: Any) -> None:
        self.cell = layers.Dense(input_shape[-1], activation="tanh")

    def call(self, x: Any) -> Any:
        for _ in range(3):
            x = self.cell(x)
        return x


@register
class Nested(layers.Layer):
    """A block of blocks that contains a model."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first = Recurrent()
        self.norm = layers.BatchNormalization()
        self.chain = gpunn.Sequential([layers.Dense(6, "relu"), Collections()])

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.chain(self.norm(self.first(x), training=training))


@register
class DoubledDense(layers.Dense):
    def call(self, inputs: Any) -> Any:
        return 2 * super().call(inputs)


@register
class ReluConv(layers.Conv2D):
    def call(self, inputs: Any) -> Any:
        return ops.relu(super().call(inputs))


@register
class SameNormalization(layers.BatchNormalization):
    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(inputs, training=training)


@register
class SameDropout(layers.Dropout):
    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(inputs, training=training)


def _mlp(x: Any) -> Any:
    x = layers.Dense(5, "relu")(layers.Dense(8, "relu", kernel_initializer="random_normal")(x))
    return layers.Dense(3, kernel_initializer="random_normal")(x)


def _residual(x: Any) -> Any:
    return layers.Add()([x, layers.Dense(x.shape[-1])(layers.Dense(9, "tanh")(x))])


def _collections(x: Any) -> Any:
    x = layers.Dense(5, "tanh")(layers.Dense(5, "tanh")(x))
    return layers.Add()([layers.Dense(2)(x), layers.Dense(2)(x)])


def _recurrent(x: Any) -> Any:
    cell = layers.Dense(x.shape[-1], activation="tanh")
    return cell(cell(cell(x)))


def _nested(x: Any) -> Any:
    x = layers.BatchNormalization()(_recurrent(x))
    return _collections(layers.Dense(6, "relu")(x))


@dataclass(frozen=True)
class Pair:
    """A custom layer, and its equivalent: built-in layers applied to a symbolic tensor."""

    own: Callable[[], Any]
    built_in: Callable[[Any], Any]
    sample: tuple[int, ...] = (6,)


PAIRS = {
    "Linear": Pair(Linear, lambda x: layers.Dense(4)(x)),
    "MLPBlock": Pair(MLPBlock, _mlp),
    "Swish": Pair(Swish, lambda x: layers.Activation("silu")(x)),
    "Residual": Pair(lambda: Residual(0.0), _residual),
    "Collections": Pair(Collections, _collections),
    "Recurrent": Pair(Recurrent, _recurrent),
    "Nested": Pair(Nested, _nested),
    "DoubledDense": Pair(
        lambda: DoubledDense(3), lambda x: layers.Rescaling(2.0)(layers.Dense(3)(x))
    ),
    "ReluConv": Pair(
        lambda: ReluConv(2, 3), lambda x: layers.Conv2D(2, 3, activation="relu")(x), (5, 6, 1)
    ),
    "SameNormalization": Pair(SameNormalization, lambda x: layers.BatchNormalization()(x)),
    "SameDropout": Pair(lambda: SameDropout(0.0), lambda x: layers.Dropout(0.0)(x)),
}
