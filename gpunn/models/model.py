"""`Model`: a graph of layers, which can be saved to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gpunn import saving
from gpunn.common.overrides import PAGE
from gpunn.layers.symbolic import SampleShape
from gpunn.structure.calls import arguments_of
from gpunn.structure.graph import Graph, restore_graph

from .fitting import FittingModel


class Model(FittingModel):
    """A model: an acyclic graph of layers between inputs and outputs.

    Each layer is called on the outputs of `gpunn.Input` or of other layers. The model consists of
    the layers between ``inputs`` and ``outputs``. A layer that is called twice is shared, and a
    model can be called like a layer. `Sequential` is a model whose graph is a chain.

    Args:
        inputs: A symbolic tensor, or a list, tuple or dictionary of them.
        outputs: Likewise; data and predictions have the same structure.
        name: Name of the model.
        trainable: Whether training updates the layers' parameters.
        dtype: ``"float32"`` or ``"float64"``; default `gpunn.config.floatx`.
        backend: ``"numpy"``, ``"compiled"``, ``"cupy"`` or ``"auto"``; default
            `gpunn.use_backend`.

    Raises:
        ValueError: if the outputs depend on an input that is not among ``inputs``, or if two
            layers have the same name.
        TypeError: without inputs and outputs.

    A residual network, whose layers add to their input:

    >>> import gpunn
    >>> from gpunn import layers
    >>> x = inputs = gpunn.Input((8,))
    >>> for _ in range(3):
    ...     x = layers.add([x, layers.Dense(8, activation="relu")(x)])
    >>> model = gpunn.Model(inputs, layers.Dense(1)(x))
    >>> model.count_params(), model.output_shape
    (225, (None, 1))
    """

    reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"build": ("call",)}

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self._graph = None
        if self.has_call:
            if inputs is not None or outputs is not None:
                raise TypeError(
                    f"{type(self).__name__} defines call, but was also given inputs or outputs. "
                    f"Pass none of them, or remove call."
                )
        elif inputs is None or outputs is None:
            raise TypeError(
                f"{type(self).__name__} needs inputs and outputs: x = gpunn.Input(shape), "
                f"y = layers.Dense(1)(x), gpunn.Model(x, y); or a method call(self, inputs)."
            )
        else:
            self._graph = Graph(inputs, outputs)
        super().__init__(trainable, name, dtype, backend)
        if self.has_call:
            self.is_graph = False
        elif not trainable:
            self.trainable = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "call" and not self.has_call:
            raise TypeError(
                f"{type(self).__name__}.call would be ignored on an object. Write a subclass of "
                f"gpunn.Model with call(self, inputs). See {PAGE}."
            )
        super().__setattr__(name, value)

    @classmethod
    def default_name(cls) -> str:
        return "functional" if cls is Model else super().default_name()

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            raise AttributeError(f"The model {self.name!r} has no graph yet: it is not built.")
        return self._graph

    @property
    def layers(self) -> list[Any]:
        if self._body is not None:  # layers held as attributes, in their order
            return list(dict.fromkeys(layer for _, layer in self.attributes_inside()))
        return [layer for layer in self.graph.layers if not layer.by_operator]

    @property
    def operations(self) -> list[Any]:
        """The layers, and the operations created by symbolic expressions such as ``a + b``."""
        return list(self.graph.layers) if self.is_graph else self.layers

    def declared_inputs(self) -> list[SampleShape] | None:
        return None if self._graph is None else [tensor.sample for tensor in self._graph.inputs]

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        if self._body is not None:
            self._graph = self._body.graph(shapes)
            if not self._trainable:  # set before there were layers
                self.trainable = False
        return self.graph

    def get_config(self) -> dict[str, Any]:
        """Return the name, dtype, layers and their connections as JSON-serializable values.

        For a model with a custom call, return its constructor arguments.
        """
        if self._body is not None:
            return arguments_of(self)
        config: dict[str, Any] = {"name": self.name, **self.graph.get_config()}
        if self.dtype_given is not None or self.built:
            config["dtype"] = self.dtype_given or self.dtype
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Model:
        """Return the model described by a `get_config` dictionary, with new initial weights."""
        config = dict(config)
        if "layers" not in config:
            return cls(**config)
        graph = {key: config.pop(key) for key in ("layers", "inputs", "outputs", "forms")}
        inputs, outputs = restore_graph(graph)
        return cls(inputs, outputs, **config)

    # -- files

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: Any = None,
        *,
        announce: bool = True,
    ) -> None:
        """Save architecture, weights and training state; see `gpunn.saving.save_model`.

        ``save_format`` is accepted for compatibility with Keras and ignored: there is one format.
        """
        saving.save_model(
            self,
            filepath,
            overwrite=overwrite,
            include_optimizer=include_optimizer,
            announce=announce,
        )

    def export(
        self, filepath: Any, format: str | None = None, verbose: Any = None, **options: Any
    ) -> None:
        """Export the model to an ONNX file (opset 17, float32) that other programs can run.

        The exported model takes raw data as this model does: it includes the preprocessing of
        numbers, and looks up strings with ``ai.onnx.ml`` (opset 2). Inputs and outputs keep the
        model's names and accept any number of rows. Values of a float64 model are rounded.

        Args:
            filepath: Path of the file.
            format: ``"onnx"`` or None; Keras's other formats are rejected.
            verbose: Accepted for compatibility with Keras and ignored.

        Raises:
            ImportError: without the package onnx (``pip install 'gpunn[onnx]'``).
            ValueError: for another format, for a model that is not built, and for layers and
                operations without an ONNX counterpart, naming all of them. Nothing is written.
        """
        from gpunn.saving.onnx.export import export_onnx

        if format not in (None, "onnx"):
            raise ValueError(f"export: format must be 'onnx'; got {format!r}.")
        if options:
            raise TypeError(f"export takes no {', '.join(options)}: any batch size can be run.")
        export_onnx(self, filepath)

    def to_json(self, **options: Any) -> str:
        """Return the layers without weights as a JSON string; see `gpunn.saving.model_to_json`."""
        return saving.model_to_json(self, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Save only the weights; see `gpunn.saving.save_weights`."""
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, **options: Any) -> None:
        """Load weights from a file of `save_weights` or `save`; see `gpunn.saving.load_weights`."""
        saving.load_weights(self, filepath, **options)
