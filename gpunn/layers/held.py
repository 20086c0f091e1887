"""The contents of a layer: the parameters that it declares, and the layers in its attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.common.arguments import check_flag
from gpunn.common.config import resolve_dtype
from gpunn.core.arena import Arena, Parameter
from gpunn.core.holder import ParameterHolder
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float, named, standard
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current
from gpunn.ops.variable import Variable

from .symbolic import GraphOperation


class Holder(ParameterHolder):
    """The part of `Layer` that manages its parameters."""

    dtype: Any
    built: bool
    has_call: bool
    learning_rate_multiplier: float | str
    _parameters: list[Parameter]
    _added: list[np.ndarray] | None = None
    """The losses that its last call on arrays added; None before the first."""
    _may_add = False
    """Whether its call adds to the loss, according to its last trace."""
    _declares = False
    """True while `build` runs, which declares parameters."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a variable becomes a weight, as in Keras."""
        if isinstance(value, Variable) and "_parameters" in vars(self):
            first = value.numpy()
            value = self.parameter(
                value.shape, lambda shape, dtype: first.astype(dtype), value.own_name or name,
                value.trainable, integers=integers_of(value.declared),
            )  # fmt: skip
        super().__setattr__(name, value)

    def add_weight(
        self,
        shape: Sequence[int] | int = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Parameter:
        """Declare a weight: `parameter` with Keras's name and arguments. Floats have the layer's
        ``dtype``. Integers and booleans are read unconverted and are not trained."""
        return self.parameter(
            [shape] if isinstance(shape, int) else shape,
            "glorot_uniform" if initializer is None else initializer,
            name, trainable, regularizer=regularizer, constraint=constraint,
            integers=None if dtype is None else integers_of(dtype),
        )  # fmt: skip

    def parameter(
        self,
        shape: Sequence[int],
        initializer: Any = "glorot_uniform",
        name: str | None = None,
        trained: bool = True,
        multiplier: float = 1.0,
        decay: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        integers: str | None = None,
    ) -> Parameter:
        """Declare a parameter; its values exist once the layer is in an arena.

        Raises:
            TypeError: inside a `call`, which may run any number of times.

        >>> from gpunn.layers import Layer
        >>> Layer(name="mine").parameter((2, 3), "zeros", name="kernel").path
        'mine/kernel'
        """
        from gpunn import constraints, initializers, regularizers

        if current() is not None and not self._declares:
            raise TypeError(
                f"{self.name}: a weight cannot be created in call, which may run any number of "
                f"times. Create it in build(input_shape), and keep it as an attribute."
            )
        parameter = Parameter(
            shape,
            initializers.get(initializer),
            name or f"parameter_{len(self._parameters)}",
            trained and integers is None,
            multiplier,
            decay,
            regularizers.get(regularizer),
            constraints.get(constraint),
            integers,
        )
        if parameter.name in [p.name for p in self._parameters]:
            raise ValueError(f"{self.name} already has a parameter named {parameter.name!r}.")
        parameter.layer = self
        self._parameters.append(parameter)
        return parameter

    @property
    def rate_factor(self) -> float:
        """The learning rate multiplier as a number."""
        given = self.learning_rate_multiplier
        if not isinstance(given, str):
            return given
        from gpunn.initializers import fans

        kernel = next((p for p in self._parameters if len(p.shape) > 1), None)
        return 1.0 if kernel is None else float(fans(kernel.shape)[0] ** -0.5)

    @property
    def own_parameters(self) -> list[Parameter]:
        """The parameters that it has declared itself, in Keras's order: in order of declaration,
        non-trainable ones last."""
        return sorted(self._parameters, key=lambda p: not p.trained)

    @property
    def layers_inside(self) -> list[Any]:
        """The layers in the attributes of a layer with a `call`."""
        return list(dict.fromkeys(inner for _, inner in self.attributes_inside()))

    def attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers inside, with the attributes that hold them."""
        for name, value in vars(self).items() if self.has_call else ():
            yield from layers_in(name, value)

    def with_layers_inside(self) -> list[Any]:
        """Return the layer and all layers in it, at any depth."""
        inside = (inner.with_layers_inside() for inner in self.layers_inside)
        return [self, *chain.from_iterable(inside)]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their paths in this layer, see `parameters_in`."""
        return parameters_in(self)

    def name_parameters(self, path: str = "") -> None:
        """Set the paths of the parameters of layers inside, from the names of the layers."""
        name_parameters(self, path)

    @property
    def weights(self) -> list[Parameter]:
        """All parameters in the order of their declaration."""
        return [p for _, p in self.named_parameters()] if self.has_call else self.own_parameters

    parameters = variables = weights

    @property
    def losses(self) -> list[Tensor]:
        """The sum of the losses that its last call on arrays added, and the penalties on its
        trainable weights.

        Raises:
            TypeError: inside a call, where losses are part of the step's loss.
            ValueError: if it adds a loss, but was only called by a model so far.
        """
        if self._may_add and self._added is None:
            raise ValueError(
                f"{self.name}.losses: added losses are only known for calls on arrays, "
                f"{self.name}(x). For a model, read model.losses after model(x)."
            )
        return losses_of(self, self._added)

    def require_values(self, method: str) -> None:
        if not self.built:
            raise ValueError(
                f"{method}: {self.name} is not built yet: its input shape is not known."
            )
        self.own_arena()

    def own_arena(self) -> Arena:
        """Return the arena that holds the parameters: the model's, or a small separate one."""
        arena = next((p.arena for p in self.weights), None)
        if arena is not None:
            return arena
        kept = next((p.dtype for p in self.weights), None)  # of a copy
        return Arena(get_backend(), resolve_dtype(self.dtype or kept), self.weights)


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


def parameters_in(holder: Any) -> Iterator[tuple[str, Parameter]]:
    """Yield all parameters of a layer or model with their paths in it: its own by name, then those
    of layers in it, prefixed with the attribute that holds the layer (``"hidden/0/kernel"``)."""
    seen = set[int]()
    for p in holder.own_parameters:
        seen.add(id(p))
        yield p.name, p
    for path, inner in holder.attributes_inside():
        for name, p in inner.named_parameters():
            if id(p) not in seen:
                seen.add(id(p))
                yield f"{path}/{name}", p


def name_parameters(holder: Any, path: str = "") -> None:
    """Set the paths of the parameters of layers in a layer or model, from their names."""
    for inner in holder.layers_inside:
        for p in inner.own_parameters:
            p.within = f"{path}{holder.name}/{inner.name}/{p.name}"
        inner.name_parameters(f"{path}{holder.name}/")


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


def _trainable(layer: Any) -> bool:
    kept: bool = layer._trainable
    return kept


def _set_trainable(layer: Any, value: Any) -> None:
    layer.__dict__["_trainable"] = check_flag("trainable", value)
    for inner in layer.layers_inside if "_parameters" in vars(layer) else ():
        inner.trainable = value


trainable = property(_trainable, _set_trainable)
"""Whether updates change the parameters, including those of layers inside, as in Keras."""
