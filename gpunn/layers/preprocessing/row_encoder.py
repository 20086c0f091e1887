"""Common part of layers that turn one value of each row, such as a text, into several numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.numeric import is_missing
from gpunn.common.numeric.columns import values_of
from gpunn.layers.symbolic import SampleShape

from .on_host import HostLayer

__all__: list[str] = []


class RowEncoder(HostLayer):
    """Base class of layers that encode one value of each row as a row of numbers."""

    _abstract = True

    @property
    def width(self) -> int:
        """The number of numbers for each value."""
        raise TypeError(f"{type(self).__name__} must define width.")

    def rows_of(self, values: list[Any], argument: str) -> np.ndarray:
        """Return the rows of values, of which missing ones are None.

        Raises:
            TypeError, ValueError: for values that are not supported.
        """
        raise TypeError(f"{type(self).__name__} must define rows_of(values, argument).")

    _gives_on_host = True

    def _encoded_shapes(self, shapes: Sequence[SampleShape], found: Any) -> list[SampleShape]:
        if math.prod(shapes[0]) != 1:
            raise ValueError(
                f"{self.name} takes one value of each row, such as of an input of shape (1,); got "
                f"the shape {tuple(shapes[0])}. Give each column its own input."
            )
        return [(self.width,)]

    @property
    def output_shape(self) -> Any:
        return (*super().output_shape[:-1], self.width)  # `call` passes on what is encoded

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.width)

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        return self.rows_of(self._values(x, argument), argument)

    def _values(self, x: Any, argument: str) -> list[Any]:
        """Return the values of a column as a list, with None for missing ones."""
        gaps = np.ma.getmaskarray(x) if isinstance(x, np.ma.MaskedArray) else None
        x = values_of(x)
        array = np.asarray(x, object) if isinstance(x, (list, tuple)) else np.asarray(x)
        if array.ndim == 0 or array.size != len(array):
            raise ValueError(
                f"{argument} has the shape {array.shape}; {self.name} takes a column: one value of "
                f"each row."
            )
        if array.dtype.kind == "M":  # in nanoseconds, NumPy makes integers of them
            array = array.astype("datetime64[s]")
        if gaps is not None:
            array = np.where(gaps, np.asarray(None, object), array.astype(object))
        found = []
        for value in array.reshape(-1).tolist():
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            if isinstance(value, np.datetime64) and not is_missing(value):
                value = value.astype("datetime64[s]").item()
            found.append(None if is_missing(value) else value)
        return found
