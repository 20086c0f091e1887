"""Everything that gpunn registers, made with the example arguments of each class.

Tests that walk the registry build their objects with it.
"""

from __future__ import annotations

import math
from typing import Any

import gpunn
from gpunn.common import registry

Arguments = dict[str, Any]

# The kinds that a file can hold: callbacks are not stored, and a model consists of these.
KINDS = (
    "layer", "activation", "loss", "optimizer", "metric", "initializer", "schedule",
    "regularizer", "constraint",
)  # fmt: skip
OF_VALUES = ("Mean", "Sum")
"""Metrics that are updated with values instead of targets and predictions."""
CELLS = ("SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells")
"""Layers that are applied to one step of sequences and to states, in the layer `RNN`."""

COLORS = ("RandomColorDegeneration", "RandomColorJitter", "RandomGrayscale", "RandomHue",
          "RandomSaturation")  # fmt: skip
"""Layers whose images have three channels."""


class OnItself(gpunn.layers.Layer):
    """A layer that takes query and value, applied to one sequence as both."""

    def __init__(self, attention: Any) -> None:
        super().__init__(name=f"on_itself_{attention.name}")
        self.attention = attention

    def call(self, x: Any) -> Any:
        return self.attention(x, x)


def alone(layer: Any) -> Any:
    """A layer as one that takes a single tensor, or a list of them."""
    return OnItself(layer) if hasattr(layer, "query_dense") else layer


def takes_images(layer: Any) -> bool:
    """Whether its samples are images, or sequences of pixels, with channels first or last."""
    return getattr(layer, "data_format", None) is not None or has_one_axis(layer)


def has_one_axis(layer: Any) -> bool:
    """Whether its images have one axis, (steps, channels)."""
    return type(layer).__name__.removesuffix("Transpose").endswith("1D")


def has_three_axes(layer: Any) -> bool:
    """Whether its samples are volumes, (depth, height, width, channels)."""
    return type(layer).__name__.removesuffix("Transpose").endswith("3D")


def images_for(layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of images (batch, height, width, channels), or a row of each if it has one axis; of
    two steps of them if the layer is recurrent; for volumes with an axis of length 2 more, or 1."""
    if type(layer).__name__ in COLORS:
        first = layer.data_format == "channels_first"
        return (shape[0], 3, *shape[1::2]) if first else (*shape[:2], shape[3], 3)
    steps = (2,) if hasattr(layer, "return_sequences") else ()
    if has_three_axes(layer):
        return (shape[0], *steps, *shape[1:3], 1 if steps else 2, *shape[3:])
    return (shape[0], *steps, *shape[2 if has_one_axis(layer) else 1 :])


def fitting(layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with as many axes as the layer expects: the last ones merged, or some of 1 added."""
    axes = getattr(layer.input_spec, "ndim", None) or len(shape)
    if axes < len(shape):
        return (*shape[: axes - 1], math.prod(shape[axes - 1 :]))
    return (*shape, *(1,) * (axes - len(shape)))


def takes_steps(layer: Any) -> bool:
    """Whether its samples are sequences (steps, features)."""
    attends = isinstance(layer, (gpunn.layers.Attention, OnItself))
    around = type(layer).__name__ in ("TimeDistributed", "Masking")
    return attends or around or hasattr(layer, "return_sequences")


def in_a_chain(layer: Any, inputs: int) -> list[Any]:
    """The layer in a chain whose samples are rows of ``inputs`` values, a multiple of 6."""
    if isinstance(layer, gpunn.layers.Embedding):  # of codes from 0 to 2
        return [gpunn.layers.Discretization([-0.3, 0.3]), layer, gpunn.layers.Flatten()]
    if isinstance(layer, gpunn.layers.HashedCrossing):
        x = gpunn.Input((inputs,))
        codes = gpunn.ops.cast(gpunn.layers.Discretization([-0.3, 0.3])(x), "int32")
        return [gpunn.Model(x, layer([codes[:, :1], codes[:, 1:2]]))]
    if layer.takes_list:
        x = gpunn.Input((inputs,))
        steps = gpunn.layers.Reshape((3, -1))(x) if takes_steps(layer) else x
        y = layer([steps, gpunn.layers.Activation("tanh")(steps)])
        return [gpunn.Model(x, gpunn.layers.Flatten()(y) if takes_steps(layer) else y)]
    if hasattr(layer, "query_dense"):
        x = gpunn.Input((inputs,))
        steps = gpunn.layers.Reshape((3, -1))(x)
        return [gpunn.Model(x, gpunn.layers.Flatten()(layer(steps, steps)))]
    if type(layer).__name__ in CELLS:
        layer = gpunn.layers.RNN(layer, name="recurrent")
    if takes_images(layer):
        sample = images_for(layer, (0, 2, 3, -1))[1:]
        return [gpunn.layers.Reshape(sample), layer, gpunn.layers.Flatten()]
    if takes_steps(layer):
        masks = type(layer).__name__ == "Masking"  # which the next layer has to take
        after = gpunn.layers.GRU(4, name="after") if masks else gpunn.layers.Flatten()
        return [gpunn.layers.Reshape((3, -1)), layer, after]
    axes = getattr(layer.input_spec, "ndim", None)
    if axes is not None and axes > 2:
        sample = (*(3, 2, 1)[: axes - 2], -1)
        return [gpunn.layers.Reshape(sample), layer, gpunn.layers.Flatten()]
    return [layer] if axes is None else [layer, gpunn.layers.Flatten()]


def names(kind: str) -> list[str]:
    """What gpunn itself registers of a kind (other tests register custom classes)."""
    return sorted(
        name
        for name, cls in registry.entries(kind).items()
        if cls.__module__.split(".")[0] == "gpunn" and ">" not in name
    )


def examples(kind: str, name: str) -> list[Arguments]:
    """What the class itself defines, not one of its base classes."""
    own = vars(registry.entries(kind)[name]).get("examples", ({},))
    return [dict(arguments) for arguments in own]


OF_SEQUENCES = ("CTC",)
"""Losses whose targets are sequences of another length than the predictions: `test_ctc.py`."""


def cases(kind: str, *left_out: str, sequences: bool = False) -> list[Any]:
    """(name, arguments) of every example of a kind."""
    return [
        (name, arguments)
        for name in names(kind)
        if name not in left_out and (sequences or name not in OF_SEQUENCES)
        for arguments in examples(kind, name)
    ]


def label(value: Any) -> str:
    """A readable test id."""
    if isinstance(value, dict):
        return (
            ",".join(
                f"{k}={v['class_name'] if k == 'activation' and isinstance(v, dict) else v}"
                for k, v in value.items()
            )
            or "-"
        )
    return str(value)


def make(kind: str, name: str, arguments: Arguments) -> Any:
    """A new object of a case."""
    return registry.entries(kind)[name](**arguments)
