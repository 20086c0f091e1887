"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import registry
from ..layers import InputLayer
from ..layers.base import Layer
from ..layers.operation import Operation, Sample, SymbolicTensor
from .graph import Graph, restore_layer
from .model import Model
from .structure import Structure


class Sequential(Model):
    """A chain of layers.

    The shape of one sample comes from a leading `layers.Input`, from the first
    layer's ``input_shape``, or from the first data that the model sees.

    Args:
        layers: in their order; more with `add`.
        trainable, name, dtype, backend: see `Model`.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((784,)), gpunn.layers.Dense(10)])
    >>> model.count_params()
    7850
    """

    is_graph = False

    def __init__(
        self,
        layers: Iterable[Any] | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self._layers: list[Any] = []
        self._graph: Graph | None = None
        Structure.__init__(self, trainable, name, dtype, backend)
        alone = isinstance(layers, (Operation, SymbolicTensor))
        for layer in [layers] if alone else layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Append a layer, or a model as a layer.

        Raises:
            TypeError: for something that is not a layer.
            ValueError: for a second input or a name that is taken.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, Operation):
            hint = f" Write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(f"Sequential takes layers (gpunn.layers.Layer); got {layer!r}.{hint}")
        if isinstance(layer, InputLayer) and self._layers:
            raise ValueError("The input of this Sequential has already been configured.")
        if layer.name in [other.name for other in self._layers]:
            raise ValueError(
                f"The name {layer.name!r} is taken in this model: names must differ. Pass name=."
            )
        self._layers.append(layer)
        self._reset()

    def pop(self) -> Any:
        """Remove the last layer and return it."""
        if not self.layers:
            raise ValueError("There is no layer to remove.")
        layer = self._layers.pop()
        self._reset()
        return layer

    @property
    def layers(self) -> list[Any]:
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    def _reset(self) -> None:
        super()._reset()
        if self._graph is not None:
            for application in self._graph.applications:
                application.layer.applications.remove(application)
        self._graph = None

    @property
    def graph(self) -> Graph:
        self._known_plan("graph")
        assert self._graph is not None
        return self._graph

    def declared_inputs(self) -> list[Sample] | None:
        if not self.layers:
            return None
        first, second = self._layers[0], self.layers[0]
        if isinstance(first, Structure):
            return first.declared_inputs()
        known = second.input_shape if isinstance(second, Layer) and second.built else None
        shape = first.given_input_shape or known
        return None if shape is None else [shape]

    def graph_for(self, shapes: Sequence[Sample]) -> Graph:
        if not self.layers:
            raise ValueError(f"The model {self.name!r} has no layers; add one first.")
        first = self._layers[0]
        if not isinstance(first, InputLayer):
            first = InputLayer(shapes[0], name="input_layer")
        x = start = first.output
        for layer in self.layers:
            made = layer.apply(x)
            if len(made) != 1:
                raise ValueError(f"{layer.name!r} has {len(made)} outputs; a chain needs one.")
            x = made[0]
        self._graph = Graph(start, x)
        return self._graph

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and layers, as values that JSON can hold."""
        config: dict[str, Any] = {
            "name": self.name,
            "layers": [registry.serialize(layer) for layer in self._layers],
        }
        if self.dtype_given is not None:
            config["dtype"] = self.dtype_given
        elif self.built:
            config["dtype"] = self.dtype
        if self.built:
            config["build_input_shape"] = [None, *self._known_plan("input_shape").input_shapes[0]]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """The model that `get_config` described, with new initial weights."""
        config = dict(config)
        shape = config.pop("build_input_shape", None)
        layers = config.pop("layers")
        if not isinstance(layers, list):
            raise ValueError(f"'layers' must be a list; got {layers!r}.")
        model = cls([restore_layer(layer) for layer in layers], **config)
        if shape is not None:
            model.build(shape)
        return model
