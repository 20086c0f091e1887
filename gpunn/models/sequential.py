"""`Sequential`: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.layers import InputLayer
from gpunn.layers.symbolic import GraphOperation, SymbolicTensor
from gpunn.structure.chain import Chain
from gpunn.structure.graph import restore_layer

from .model import Model


class Sequential(Model):
    """A chain of layers: each reads the output of the one before it.

    The shape of one sample comes from a leading `gpunn.layers.Input`, from the first
    layer's ``input_shape``, or from the first data that the model sees.

    Args:
        layers: The layers in order; `add` appends more.
        trainable, name, dtype, backend: See `gpunn.Model`.

    Raises:
        TypeError, ValueError: as `add`.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((784,)), gpunn.layers.Dense(10)])
    >>> model.count_params()
    7850
    """

    _refused: ClassVar[Mapping[str, str]] = {
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
        self._create(Chain(), name, trainable, dtype, backend)
        alone = isinstance(layers, (GraphOperation, SymbolicTensor))
        for layer in [layers] if alone else layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Any) -> None:
        """Append a layer, or a model as a layer. It is built at once if its input is known.

        Args:
            layer: The layer or model, or the symbolic tensor of `gpunn.Input`.

        Raises:
            TypeError: for something that is not a layer.
            ValueError: for a second input, a duplicate name, or a layer that does not accept
                the output of the last one.

        >>> import gpunn
        >>> model = gpunn.Sequential()
        >>> model.add(gpunn.Input((3,)))
        >>> model.add(gpunn.layers.Dense(2))
        >>> model.output_shape
        (None, 2)
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, GraphOperation):
            hint = f" Write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(f"Sequential takes layers (gpunn.layers.Layer); got {layer!r}.{hint}")
        self._builder.source.add(layer)
        self._layers_changed()

    def pop(self) -> Any:
        """Remove the last layer and return it.

        Raises:
            ValueError: if there is no layer.

        >>> import gpunn
        >>> layers = [gpunn.layers.Dense(2), gpunn.layers.Dense(1)]
        >>> model = gpunn.Sequential([gpunn.Input((3,)), *layers])
        >>> model.pop() is layers[1], model.output_shape
        (True, (None, 2))
        """
        if not self.layers:
            raise ValueError("There is no layer to remove.")
        layer = self._builder.source.pop()
        self._layers_changed()
        return layer

    def _layers_changed(self) -> None:
        self._builder.reset()
        self._training.reset()

    @registry.sharing
    def get_config(self) -> dict[str, Any]:
        """Return the name, dtype and layers as JSON-serializable values.

        >>> import gpunn
        >>> config = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)]).get_config()
        >>> [layer["class_name"] for layer in config["layers"]]
        ['InputLayer', 'Dense']
        """
        config: dict[str, Any] = {
            "name": self.name,
            "layers": [registry.serialize(layer) for layer in self._builder.source.all],
        }
        if self._dtype_given is not None or self.built:
            config["dtype"] = self._dtype_given or self.dtype
        if self.built:
            config["build_input_shape"] = [None, *self._graph.inputs[0].sample]
        return config

    @classmethod
    def _of_config(cls, config: dict[str, Any]) -> Any:
        shape = config.pop("build_input_shape", None)
        layers = config.pop("layers")
        if not isinstance(layers, list):
            raise ValueError(f"'layers' must be a list; got {layers!r}.")
        model = cls([restore_layer(layer) for layer in layers], **config)
        if shape is not None:
            model.build(shape)
        return model
