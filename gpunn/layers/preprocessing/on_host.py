"""Layers that compute on the host while data are fed, such as string lookups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.core.plan import INPUT, HostPart
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import SampleShape

from .encoding import alone

__all__: list[str] = []


class HostLayer(Layer):
    """Base class of layers whose `encode` converts data to numbers before a step reads them.

    Such a layer can be applied to inputs of a model and to outputs of other such layers. `fit` and
    similar methods encode whole arrays once, and streams batch by batch. `call` computes the rest
    in the step, such as rows from codes.
    """

    _abstract = True
    _on_host = True

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        """Return the numbers for an array of user data; ``argument`` names it in messages.

        Raises:
            TypeError, ValueError: for values that are not supported.
        """
        raise TypeError(f"{type(self).__name__} must define encode(x, argument).")

    @property
    def _gives_on_host(self) -> bool:
        """Whether the layer only encodes: further layers of this kind can read its output."""
        return getattr(self, "output_mode", None) == "int"

    @property
    def gives_integers(self) -> bool:
        """Whether `encode` gives integers, which the step reads as integers."""
        return False

    @property
    def _host_part(self) -> HostPart | None:
        return HostPart([(self, INPUT)], [0])

    def _encoded_shapes(self, shapes: Sequence[SampleShape], found: Any) -> list[SampleShape]:
        """Return the shapes of the outputs for inputs of ``shapes``; ``found`` are those that
        `call` would give for them."""
        whole = self._gives_on_host and self.gives_integers
        return [sample_of(shape, "int32") for shape in found] if whole else found

    def call(self, x: Any) -> Any:
        return x

    def _run(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """Run the layer by itself on an array, which is encoded first."""
        codes = self.encode(args[0] if args else kwargs["x"], self.name)
        if self._gives_on_host:
            asked = getattr(self, "_whole", None) or "int64"
            return codes.astype(asked) if self.gives_integers else codes
        run = partial(super()._run, training=training)
        return run(codes[None])[0] if alone(self, codes) else run(codes)
