"""The public structure of a model: inputs, outputs, layers and weights by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.common.names import closest
from gpunn.layers.symbolic import SymbolicTensor

from .buildable import BuildableModel
from .data_held import data_held
from .summary import summary_html, summary_text


class Structure(BuildableModel):
    """`BuildableModel` with introspection; `CompilableModel` adds training."""

    abstract = True  # not an entry to look up

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs; raises AttributeError before they are known."""
        return list(self._known_graph("inputs").inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs; raises AttributeError before they are known."""
        return list(self._known_graph("outputs").outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs in their given structure."""
        return self.graph.input_form.pack(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic outputs in their given structure."""
        return self.graph.output_form.pack(self.outputs)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in dictionaries of data."""
        return self._known_graph("input_names").input_names

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in logs and in dictionaries of data."""
        return self._known_graph("output_names").output_names

    @property
    def input_shape(self) -> Any:
        """(None, ...) with the shape of one sample, or several shapes in the structure of the
        inputs; raises AttributeError before it is known."""
        graph = self._known_graph("input_shape")
        return graph.input_form.pack([t.shape for t in graph.inputs])

    @property
    def output_shape(self) -> Any:
        """(None, ...) with the shape of one prediction, or several shapes; raises
        AttributeError before it is known."""
        graph = self._known_graph("output_shape")
        return graph.output_form.pack([t.shape for t in graph.outputs])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs (batch or None, ...) for inputs of that shape."""
        self._build(self._samples(input_shape))
        first = next(iter(input_shape.values())) if isinstance(input_shape, Mapping) else None
        nested = first or (input_shape[0] if isinstance(input_shape[0], (tuple, list)) else None)
        batch = nested[0] if nested else input_shape[0]
        shapes = self._known_plan("output_shape").output_shapes
        return self.graph.output_form.pack([(batch, *shape) for shape in shapes])

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or index.

        Raises:
            ValueError: if there is none; the message suggests the closest name.
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
                f"No layer named {name!r}.{closest(str(name), names)} Layers: {', '.join(names)}."
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
        """Print layers, output shapes and parameter counts.

        Args:
            line_length: Width in columns, 80 by default.
            print_fn: Function called with the text instead of ``print``.
            expand_nested: Whether to show the layers of models used as layers.
            show_trainable: Whether to add a column that shows which layers are trained.
        """
        text = summary_text(self, line_length or 80, show_trainable, expand_nested)
        (print_fn or print)(text)

    def _repr_html_(self) -> str:
        """Return the view in a notebook: layers, shapes, parameters and a drawing."""
        return summary_html(self)

    def data_held(self) -> dict[str, str]:
        """Describe the data values that the model, and so its file, contains besides its weights.

        These are vocabularies, boundaries, means and variances of preprocessing layers, and
        entries of `trained_on` such as class names, described in words by their path.

        >>> import gpunn
        >>> lookup = gpunn.layers.StringLookup(vocabulary=["oak", "elm"], name="tree")
        >>> gpunn.Sequential([gpunn.Input((1,), dtype="string"), lookup]).data_held()
        {'tree/vocabulary': "2 categories: 'oak', 'elm'"}
        """
        return data_held(self)

    def weights_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters by their path, ``"dense/kernel"``."""
        self.require_values("weights_dict")
        parameters = self._known_plan("weights").parameters
        read = self._access().read
        return read(lambda: {path: p.numpy() for path, p in parameters.items()})

    def load_weights_dict(self, weights: Mapping[str, Any]) -> None:
        """Set all parameters by their path.

        Raises:
            ValueError: naming a missing or surplus path, or a different shape.
        """
        self.require_values("load_weights_dict")
        paths = self._known_plan("weights").parameters
        for path in paths:
            if path not in weights:
                raise ValueError(f"Weights: {path!r} is missing.")
        for path in weights:
            if path not in paths:
                raise ValueError(
                    f"Weights: {path!r} is not in the model.{closest(path, list(paths))}"
                )
        self.set_weights([weights[path] for path in paths])

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last training step by path, without frozen parameters."""
        self.require_values("gradients")
        parameters = self._known_plan("gradients").parameters
        return {
            path: self.backend.read(p.gradient) for path, p in parameters.items() if p.trainable
        }
