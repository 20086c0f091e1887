"""The base class of layers and models: access to their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.holds import Access

from .arena import Parameter


class ParameterHolder:
    """The methods of both layers and models for their parameters."""

    name: str

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, in the order of their declaration."""
        raise TypeError(f"{type(self).__name__} must define weights.")

    def _require_values(self, method: str) -> None:
        """Make sure that the parameters have values, or raise an error that names ``method``."""
        raise TypeError(f"{type(self).__name__} must define _require_values(method).")

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that updates change."""
        return [p for p in self.weights if p.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """State, and the parameters of frozen layers."""
        return [p for p in self.weights if not p.trainable]

    # Keras has all of these.
    parameters = variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def count_params(self) -> int:
        """Return the number of values in all parameters; masked kernels count their connections.

        Raises:
            ValueError: if the input shape is not known yet.
        """
        self._require_values("count_params")
        return sum(p.count for p in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters as NumPy arrays."""
        self._require_values("get_weights")
        return self._access().read(lambda: [p.numpy() for p in self.weights])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters.

        Raises:
            ValueError: if their number or a shape differs; then nothing is changed.
        """
        self._require_values("set_weights")
        arrays = [np.asarray(w) for w in weights]
        if len(arrays) != len(self.weights):
            raise ValueError(
                f"{self.name} has {len(self.weights)} weight arrays; got {len(arrays)}."
            )
        for parameter, array in zip(self.weights, arrays, strict=True):
            parameter.check(array)
        with self._access().writing():
            for parameter, array in zip(self.weights, arrays, strict=True):
                parameter.assign(array)

    def _access(self) -> Access:
        """Return the access to the parameters' arrays: all are in one arena, if there are any."""
        arena = next((p.arena for p in self.weights if p.arena is not None), None)
        return Access() if arena is None else arena.access
