"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import registry
from ..layers import InputLayer, deserialize
from ..layers.base import Layer
from ..plan import INPUT, Node, Plan
from .model import Model


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

    def __init__(
        self,
        layers: Iterable[Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self._layers: list[Layer] = []
        super().__init__(trainable, name, dtype, backend)
        for layer in [layers] if isinstance(layers, Layer) else layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Append a layer.

        Raises:
            TypeError: for something that is not a layer.
            ValueError: for a second input or a name that is taken.
        """
        if not isinstance(layer, Layer):
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

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self.layers:
            raise ValueError("There is no layer to remove.")
        layer = self._layers.pop()
        self._reset()
        return layer

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    @property
    def batch_size(self) -> int | None:
        return getattr(self._layers[0], "batch_size", None) if self._layers else None

    def declared_input(self) -> tuple[int, ...] | None:
        if not self.layers:
            return None
        first = self.layers[0]
        return self._layers[0].given_input_shape or (first.input_shape if first.built else None)

    def make_plan(self, input_shape: tuple[int, ...]) -> Plan:
        if not self.layers:
            raise ValueError(f"The model {self.name!r} has no layers; add one first.")
        nodes: list[Node] = []
        sample = input_shape
        for i, layer in enumerate(self.layers):
            sample = layer.ensure_built(sample)
            nodes.append(Node(layer, INPUT if i == 0 else i - 1, sample))
        return Plan(nodes, input_shape)

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
            config["build_input_shape"] = [None, *self._known_plan("input_shape").input_shape]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """The model that `get_config` described, with new initial weights."""
        config = dict(config)
        shape = config.pop("build_input_shape", None)
        layers = config.pop("layers")
        if not isinstance(layers, list):
            raise ValueError(f"'layers' must be a list; got {layers!r}.")
        model = cls([deserialize(layer) for layer in layers], **config)
        if shape is not None:
            model.build(shape)
        return model
