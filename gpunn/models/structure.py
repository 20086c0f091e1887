"""What a model is made of: layers, plan, parameters, and how to look at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import registry
from ..arena import Arena, Parameter, ParameterHolder
from ..backends import get_backend
from ..backends.base import Backend
from ..config import resolve_dtype
from ..layers.base import Layer, check_shape, unique_name
from ..plan import Plan
from ..random import draw_seed
from .summary import summary_text


class Structure(ParameterHolder, registry.Entry):
    """The part of a `Model` that is about layers and parameters; arguments as there."""

    kind = "model"

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self.name = name or unique_name(registry.snake_case(type(self).__name__))
        self.dtype_given = None if dtype is None else resolve_dtype(dtype)
        self._backend = get_backend(backend)  # for good, whatever is chosen later
        self._trainable = bool(trainable)
        self._seed = draw_seed()  # key of the order and of dropout; compile draws a new one
        self._reset()

    def _reset(self) -> None:
        """Forget what was bound to arrays: the layers have changed."""
        self._plan: Plan | None = None
        self._arena: Arena | None = None

    @property
    def layers(self) -> list[Layer]:
        """The layers in their order, without the input."""
        raise TypeError(f"{type(self).__name__} must define layers.")

    def make_plan(self, input_shape: tuple[int, ...]) -> Plan:
        """The plan for samples of this shape."""
        raise TypeError(f"{type(self).__name__} must define make_plan(input_shape).")

    def declared_input(self) -> tuple[int, ...] | None:
        """The shape of one sample if the layers say it, else None."""
        raise TypeError(f"{type(self).__name__} must define declared_input().")

    @property
    def plan(self) -> Plan | None:
        """What runs in which order; None as long as the input shape is not known."""
        if self._plan is None and (shape := self.declared_input()) is not None:
            self._build(shape)
        return self._plan

    @property
    def arena(self) -> Arena | None:
        """Where the parameters lie; None as long as the input shape is not known."""
        return self._arena if self.plan else None

    def build(self, input_shape: Any = None) -> None:
        """Make the parameters. ``input_shape`` is (batch or None, ...), as in Keras."""
        if input_shape is None:
            self.require_values("build")
        else:
            self._build(check_shape(tuple(input_shape)[1:]))

    def _build(self, sample_shape: tuple[int, ...]) -> None:
        known = self._plan.input_shape if self._plan else self.declared_input()
        if known not in (None, sample_shape):
            raise ValueError(
                f"The model {self.name!r} takes samples of shape {known}; got {sample_shape}."
            )
        if self._plan is None:
            self._plan = self.make_plan(sample_shape)
            self._take_parameters()

    def _take_parameters(self) -> bool:
        """Move parameters that lie elsewhere into this model's arena; True if some did.

        A layer may stand in several models: each takes it back before it computes.
        """
        assert self._plan is not None
        arena = self._arena
        if arena is not None and all([p.arena is arena for p in arena.parameters]):
            return False
        # A layer that stands in the plan more than once has its parameters once.
        unique = {id(p): p for node in self._plan.nodes for p in node.layer.parameters}
        self._arena = Arena(self._backend, self.dtype, unique.values())
        return True

    @property
    def built(self) -> bool:
        """Whether the parameters exist."""
        return self.plan is not None

    @property
    def dtype(self) -> str:
        """Dtype of parameters and computation.

        Raises:
            ValueError: if layers of the model ask for different ones.
        """
        asked = {layer.dtype: layer.name for layer in self.layers if layer.dtype is not None}
        if self.dtype_given is not None:
            asked[self.dtype_given] = self.name
        if len(asked) > 1:
            names = ", ".join(f"{name!r} {dtype}" for dtype, name in asked.items())
            raise ValueError(f"All layers of a model have one dtype; asked for: {names}.")
        return next(iter(asked), None) or resolve_dtype(None)

    @property
    def backend(self) -> Backend:
        """The backend the model runs on."""
        return self._backend

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the shape of one sample; an AttributeError before it is known."""
        return (self.batch_size, *self._known_plan("input_shape").input_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the shape of one prediction; an AttributeError before it is known."""
        return (self.batch_size, *self._known_plan("output_shape").output_shape)

    @property
    def batch_size(self) -> int | None:
        """The batch size that the input was declared with, None for any. For show only."""
        return None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The output's shape (batch or None, ...) for inputs of that shape."""
        self._build(check_shape(tuple(input_shape)[1:]))
        return (input_shape[0], *self._known_plan("output_shape").output_shape)

    def _known_plan(self, attribute: str) -> Plan:
        if self.plan is None:
            raise AttributeError(
                f"The model {self.name!r} has no {attribute} yet: it is not built."
            )
        return self.plan

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.layers:
            layer.trainable = value

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, kernel before bias."""
        _ = self.plan  # parameters exist once it does
        unique = {id(p): p for layer in self.layers for p in layer.parameters}
        return list(unique.values())

    parameters = variables = weights

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or position.

        Raises:
            ValueError: if there is none; the closest name is suggested.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer needs either name or index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"index {index} is out of range: {len(self.layers)} layers.")
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(
                f"No layer named {name!r}.{registry.closest(str(name), names)} "
                f"Layers: {', '.join(names)}."
            )
        return self.layers[names.index(name)]

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print layers, output shapes and numbers of parameters.

        Args:
            line_length: columns, 80 by default.
            print_fn: called with the text instead of ``print``.
            show_trainable: add a column that says which layers are trained.
        """
        (print_fn or print)(summary_text(self, line_length or 80, show_trainable))

    def require_values(self, method: str) -> None:
        if self.plan is None:
            raise ValueError(
                f"{method}: the model {self.name!r} is not built, its input shape is not known. "
                f"Begin it with layers.Input(shape), or call build((None, ...)) or fit first."
            )

    # -- weights

    def weights_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters by their path, ``"dense/kernel"``."""
        self.require_values("weights_dict")
        return {p.path: p.numpy() for p in self.weights}

    def load_weights_dict(self, weights: Mapping[str, Any]) -> None:
        """Set all parameters by their path.

        Raises:
            ValueError: naming a missing or surplus path, or a shape that differs.
        """
        self.require_values("load_weights_dict")
        paths = [p.path for p in self.weights]
        for path in paths:
            if path not in weights:
                raise ValueError(f"Weights: {path!r} is missing.")
        for path in weights:
            if path not in paths:
                raise ValueError(
                    f"Weights: {path!r} is not in the model.{registry.closest(path, paths)}"
                )
        self.set_weights([weights[path] for path in paths])

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients of the last training step by path; frozen parameters are left out."""
        self.require_values("gradients")
        return {p.path: self.backend.read(p.gradient) for p in self.weights if p.trainable}
