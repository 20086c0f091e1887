"""Models that an earlier version pickled; see tests/saving/test_earlier_files.py."""

from __future__ import annotations

from typing import Any

import gpunn
from gpunn import layers


class Custom(gpunn.Model):
    """A model with a custom call, whose layers are in attributes and in a list."""

    def __init__(self, width: int = 5) -> None:
        super().__init__(name="custom")
        self.width = width
        self.hidden = [layers.Dense(width, "relu"), layers.Dense(width, "tanh")]
        self.out = layers.Dense(3, "softmax")

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


def nested() -> gpunn.Model:
    inner = gpunn.Sequential([layers.Dense(4, "relu"), layers.Dense(4)])
    x = gpunn.Input((4,))
    return gpunn.Model(x, layers.Dense(3, "softmax")(inner(x)))


def deferred() -> gpunn.Model:
    """A model that the first data build."""
    return gpunn.Sequential([layers.Dense(4, "relu"), layers.Dense(3, "softmax")])


def compiled(model: gpunn.Model) -> gpunn.Model:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


MAKERS = {"custom": Custom, "nested": nested, "deferred": deferred}
