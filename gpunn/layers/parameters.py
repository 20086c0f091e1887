"""Parameters of layers: their declaration, and those of layers in attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag
from gpunn.core.arena import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float, named, standard
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current
from gpunn.ops.variable import Variable

from .symbolic import GraphOperation


def check_declaration(layer: Any) -> None:
    """Raise an error if a parameter of a layer cannot be declared now, inside a `call`."""
    if current() is not None and not layer._declares:
        raise TypeError(
            f"{layer.name}: a weight cannot be created in call, which may run any number of "
            f"times. Create it in build(input_shape), and keep it as an attribute."
        )


def add_parameter(layer: Any, parameter: Parameter) -> Parameter:
    """Add a parameter to those that a layer has declared; return it."""
    if parameter.name in [p.name for p in layer._parameters]:
        raise ValueError(f"{layer.name} already has a parameter named {parameter.name!r}.")
    parameter.layer = layer
    layer._parameters.append(parameter)
    return parameter


def weight_of(layer: Any, name: str, variable: Variable) -> Parameter:
    """Declare a weight with the values of a variable, which becomes an attribute of a layer."""
    first = variable.numpy()
    return layer.parameter(
        variable.shape, lambda shape, dtype: first.astype(dtype), variable.own_name or name,
        variable.trainable, integers=integers_of(variable.declared),
    )  # fmt: skip


def declared(layer: Any, name: str, shape: Sequence[int]) -> Parameter:
    """Declare a parameter of ``layer`` from its attributes ``name_initializer`` and so on."""
    kinds = ("initializer", "regularizer", "constraint")
    return layer.parameter(shape, name=name, **{k: getattr(layer, f"{name}_{k}") for k in kinds})


def integers_of(dtype: Any) -> str | None:
    """Return the name of an integer dtype, or of bool; None for a float dtype."""
    return None if is_float(standard(dtype)) else named(dtype)


def losses_of(holder: Any, added: Sequence[np.ndarray] | None) -> list[Tensor]:
    """Return the losses of a layer or model: those that were ``added``, and weight penalties."""
    if current() is not None:
        raise TypeError(
            f"{holder.name}.losses cannot be read inside a call: losses that are added there and "
            f"penalties on weights are already part of the loss of the step."
        )
    return [
        *(convert(loss.reshape(())) for loss in added or ()),
        *(convert(p.regularizer(p.numpy())) for p in holder.trainable_weights if p.regularizer),
    ]


def layers_in(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers in an attribute of a custom layer, also in lists and dictionaries, with the
    path to each."""
    if isinstance(value, GraphOperation):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for k, entry in enumerate(value):
            yield from layers_in(f"{path}/{k}", entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from layers_in(f"{path}/{key}", entry)


def _set_trainable(layer: Any, value: Any) -> None:
    layer.__dict__["_trainable"] = check_flag("trainable", value)
    for inner in layer._layers_inside if "_parameters" in vars(layer) else ():
        inner.trainable = value


trainable = property(attrgetter("_trainable"), _set_trainable)
"""Whether updates change the parameters, including those of layers inside, as in Keras."""
