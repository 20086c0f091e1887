"""Layers that compute on the host, while data are fed: what no step can do, as looking up texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.layers.layer import Layer
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import SampleShape, SymbolicTensor

__all__: list[str] = []


class HostLayer(Layer):
    """Base class: a layer whose `encode` makes numbers of data before a step sees them.

    It can be applied to inputs of a model, and to what other such layers give. `fit` and its kin
    encode whole arrays once, of streams each batch. What remains to be done in the step, as rows
    of codes, is the layer's `call`.
    """

    abstract = True
    on_host = True
    may_add_losses = False

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        """The numbers for an array as users bring it; ``argument`` names it in messages.

        Raises:
            TypeError, ValueError: for values that it does not take.
        """
        raise TypeError(f"{type(self).__name__} must define encode(x, argument).")

    @property
    def gives_on_host(self) -> bool:
        """Whether `encode` is all that it does: further such layers can read that."""
        return False

    @property
    def gives_integers(self) -> bool:
        """Whether `encode` gives integers, which what reads them in the step gets as such."""
        return False

    def infer_shapes(self, shapes: Sequence[SampleShape], given: Any = None) -> list[SampleShape]:
        found = super().infer_shapes(shapes, given)
        whole = self.gives_on_host and self.gives_integers
        return [sample_of(shape, "int32") for shape in found] if whole else found

    def call(self, x: Any) -> Any:
        return x

    def check_inputs(self, x: Any) -> list[SymbolicTensor]:
        tensors = super().check_inputs(x)
        for tensor in tensors:
            if not tensor.on_host:
                raise ValueError(
                    f"{self.name} encodes data while they are fed: it can be applied to an input "
                    f"of the model alone, and {tensor.name!r} is computed in the step. Put "
                    f"{self.name} behind gpunn.Input, in front of all other layers."
                )
        return tensors

    def run(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """Run by itself on an array, which is encoded at once."""
        codes = self.encode(args[0] if args else kwargs["x"], self.name)
        return codes if self.gives_on_host else super().run(codes, training=training)
