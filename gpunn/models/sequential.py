"""`Sequential`: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.layers import InputLayer
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import dtype_of
from gpunn.layers.symbolic import GraphOperation, SampleShape, SymbolicTensor
from gpunn.structure.graph import Graph, restore_layer
from gpunn.structure.structure import Structure

from .model import Model


class Sequential(Model):
    """A chain of layers.

    The shape of one sample comes from a leading `layers.Input`, from the first
    layer's ``input_shape``, or from the first data that the model sees.

    Args:
        layers: The layers in order; `add` appends more.
        trainable, name, dtype, backend: See `Model`.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((784,)), gpunn.layers.Dense(10)])
    >>> model.count_params()
    7850
    """

    is_graph = False
    refused: ClassVar[Mapping[str, str]] = {
        "call": "a chain only runs its layers; write a subclass of gpunn.Model with a call"
    }

    def __init__(
        self,
        layers: Iterable[Any] | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self._layers: list[Any] = []
        self._ends: list[SampleShape] | None = (
            None  # shapes after the last layer, if known
        )
        self._named: dict[str, Any] = {}  # the layers by the names they had when added
        self._graph = None
        Structure.__init__(self, trainable, name, dtype, backend)
        alone = isinstance(layers, (GraphOperation, SymbolicTensor))
        for layer in [layers] if alone else layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Append a layer, or a model as a layer. It is built at once if its input is known.

        Raises:
            TypeError: for something that is not a layer.
            ValueError: for a second input, a duplicate name, or a layer that does not accept
                the output of the last one.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, GraphOperation):
            hint = f" Write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(f"Sequential takes layers (gpunn.layers.Layer); got {layer!r}.{hint}")
        if isinstance(layer, InputLayer) and self._layers:
            raise ValueError("The input of this Sequential has already been configured.")
        other = self._named.get(layer.name)
        if other is not None and other.name == layer.name:
            raise ValueError(
                f"The name {layer.name!r} is taken in this model: names must differ. Pass name=."
            )
        ends = self._after(layer, self._ends, first=not self._layers)
        self._layers.append(layer)
        self._ends = ends
        self._named[layer.name] = layer
        self._reset()

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
        ends = layer.infer_shapes(shapes)
        if len(ends) != 1:
            raise ValueError(f"{layer.name!r} has {len(ends)} outputs; a chain needs one.")
        return ends

    def pop(self) -> Any:
        """Remove the last layer and return it."""
        if not self.layers:
            raise ValueError("There is no layer to remove.")
        layer = self._layers.pop()
        self._ends = None
        for number, left in enumerate(self._layers):
            self._ends = self._after(left, self._ends, first=not number)
        self._named = {other.name: other for other in self._layers}
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

    def declared_inputs(self) -> list[SampleShape] | None:
        if not self.layers:
            return None
        first = self._layers[0]
        if isinstance(first, InputLayer):
            return [first.sample]
        return _declared(self.layers[0])

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Return the graph of the layers in their order, for inputs of these shapes."""
        if not self.layers:
            raise ValueError(f"The model {self.name!r} has no layers; add one first.")
        first = self._layers[0]
        if not isinstance(first, InputLayer):
            first = InputLayer(shapes[0], dtype=dtype_of(shapes[0]), name="input_layer")
        x = start = first.output
        for layer in self.layers:
            made = layer.apply(x)
            if len(made) != 1:
                raise ValueError(f"{layer.name!r} has {len(made)} outputs; a chain needs one.")
            x = made[0]
        self._ends = [x.sample]
        self._graph = Graph(start, x)
        return self._graph

    def get_config(self) -> dict[str, Any]:
        """Return the name, dtype and layers as JSON-serializable values."""
        config: dict[str, Any] = {
            "name": self.name,
            "layers": [registry.serialize(layer) for layer in self._layers],
        }
        if self.dtype_given is not None or self.built:
            config["dtype"] = self.dtype_given or self.dtype
        if self.built:
            config["build_input_shape"] = [None, *self.graph.inputs[0].sample]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """Return the model described by a `get_config` dictionary, with new initial weights."""
        config = dict(config)
        shape = config.pop("build_input_shape", None)
        layers = config.pop("layers")
        if not isinstance(layers, list):
            raise ValueError(f"'layers' must be a list; got {layers!r}.")
        model = cls([restore_layer(layer) for layer in layers], **config)
        if shape is not None:
            model.build(shape)
        return model


def _declared(layer: Any) -> list[SampleShape] | None:
    """Return the input shapes of one sample for a chain that starts with this layer, if known."""
    if isinstance(layer, Structure):
        return layer.declared_inputs()
    known = layer.input_shape if isinstance(layer, Layer) and layer.built else None
    shape = layer.given_input_shape or known
    return None if shape is None else [shape]
