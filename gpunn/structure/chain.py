"""A chain: layers in their order, each of which reads the output of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.layers import InputLayer
from gpunn.layers.applying import infer_shapes, symbolic_outputs
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import dtype_of
from gpunn.layers.symbolic import SampleShape

from .graph import Graph
from .nested import NestedModel


class Chain:
    """The layers of a `Sequential`; a `gpunn.structure.builder.Source`."""

    def __init__(self) -> None:
        self.all: list[Any] = []  # with the input layer, if there is one
        self._ends: list[SampleShape] | None = None  # shapes after the last layer, if known
        self._named: dict[str, Any] = {}  # the layers by the names they had when added

    @property
    def layers(self) -> list[Any]:
        """The layers after the input."""
        return [layer for layer in self.all if not isinstance(layer, InputLayer)]

    def add(self, layer: Any) -> None:
        """Append a layer; see `Sequential.add`."""
        if isinstance(layer, InputLayer) and self.all:
            raise ValueError("The input of this Sequential has already been configured.")
        other = self._named.get(layer.name)
        if other is not None and other.name == layer.name:
            raise ValueError(
                f"The name {layer.name!r} is taken in this model: names must differ. Pass name=."
            )
        ends = self._after(layer, self._ends, first=not self.all)
        self.all.append(layer)
        self._ends = ends
        self._named[layer.name] = layer

    def pop(self) -> Any:
        """Remove the last layer and return it."""
        layer = self.all.pop()
        self._ends = None
        for number, left in enumerate(self.all):
            self._ends = self._after(left, self._ends, first=not number)
        self._named = {other.name: other for other in self.all}
        return layer

    @staticmethod
    def _after(
        layer: Any, shapes: list[SampleShape] | None, first: bool
    ) -> list[SampleShape] | None:
        """Return the output shapes of a layer for these input shapes; None if not known yet."""
        if isinstance(layer, InputLayer):
            return [layer.sample]
        if first:
            shapes = _declared(layer)
        if shapes is None:
            return None
        ends = infer_shapes(layer, shapes)
        if len(ends) != 1:
            raise ValueError(f"{layer.name!r} has {len(ends)} outputs; a chain needs one.")
        return ends

    def declared_inputs(self) -> list[SampleShape] | None:
        """Return the shape that the first layer declares, if it does."""
        if not self.layers:
            return None
        first = self.all[0]
        if isinstance(first, InputLayer):
            return [first.sample]
        return _declared(first)

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Apply the layers one after the other to an input of this shape."""
        if not self.layers:
            raise ValueError("This Sequential has no layers; add one first.")
        first = self.all[0]
        if not isinstance(first, InputLayer):
            first = InputLayer(shapes[0], dtype=dtype_of(shapes[0]), name="input_layer")
        x = start = first.output
        for layer in self.layers:
            made = symbolic_outputs(layer, x)
            if len(made) != 1:
                raise ValueError(f"{layer.name!r} has {len(made)} outputs; a chain needs one.")
            x = made[0]
        self._ends = [x.sample]
        return Graph(start, x)


def _declared(layer: Any) -> list[SampleShape] | None:
    """Return the input shapes of one sample for a chain that starts with this layer, if known."""
    if isinstance(layer, NestedModel):
        return layer._builder.declared_inputs()
    known = layer.input_shape if isinstance(layer, Layer) and layer.built else None
    shape = layer._given_input_shape or known
    return None if shape is None else [shape]
