"""Layers that compute on the host while data are fed, learn from data, or encode each row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.common.numeric import is_missing
from gpunn.common.numeric.columns import values_of
from gpunn.core.plan import INPUT, HostPart
from gpunn.layers.layer import Layer
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import SampleShape

from .encoding import alone

ARRAY_MARKS = ("__array__", "__dlpack__", "__cuda_array_interface__")


def batches(data: Any, steps: int | None = None) -> Iterator[Any]:
    """Yield ``data`` itself if it is one array, else the batches that it yields.

    A list is one array if it holds numbers, strings or lists of them. It is batches if it holds
    arrays.

    Raises:
        TypeError: for a dictionary, or for something that cannot be iterated.

    >>> [list(batches(given)) for given in ([1, 2], iter([[1], [2]]))]
    [[[1, 2]], [[1], [2]]]
    """
    if isinstance(data, dict):
        raise TypeError(f"adapt takes one array or column; got a dictionary, {list(data)}.")
    is_list = isinstance(data, (list, tuple, range))
    several = is_list and len(data) > 0 and all(len(_shape(entry)) > 0 for entry in data)
    if any(hasattr(data, mark) for mark in ARRAY_MARKS) or (is_list and not several):
        yield data
        return
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        by_number = hasattr(data, "__len__") and hasattr(data, "__getitem__")
        if isinstance(data, (str, bytes)) or not by_number:
            raise TypeError(f"adapt takes an array, a column or batches of them; got {data!r}.")
        data = map(data.__getitem__, range(len(data)))
    for batch in itertools.islice(data, steps):
        yield batch[0] if isinstance(batch, tuple) else batch


def _shape(entry: Any) -> Any:
    shape = getattr(entry, "shape", ())
    return () if shape is None else shape


def numbers(batch: Any, name: str) -> np.ndarray:
    """Return a batch as a float64 array of finite numbers.

    Raises:
        TypeError: for strings and other objects; the first is named.
        ValueError: for no rows, and for a value that is missing or not finite.
    """
    array = np.asarray(batch)
    if array.dtype.kind not in "biuf":
        array = from_objects(array, lambda value, place: (
            f"{name}.adapt: the data must be real numbers; at {place} there is {value!r}. Use "
            f"StringLookup for strings."
        ))
    if array.ndim == 0 or not array.size:
        raise ValueError(f"{name}.adapt: there are no values; the data's shape is {array.shape}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(
            f"{name}.adapt: the data hold {array[tuple(at)]} at {at}; every value must be finite. "
            f"Remove such rows, or fill in the values."
        )
    return array


def from_objects(array: np.ndarray, message: Callable[[Any, list[int]], str]) -> np.ndarray:
    """Return objects as float64, NaN for missing ones; the first that is no number, and its place,
    make the message of a TypeError."""
    found = np.empty(array.shape)
    for at, value in np.ndenumerate(array):
        if is_missing(value):
            found[at] = np.nan
        elif isinstance(value, (bool, int, float, np.number, np.bool_)):
            found[at] = value
        else:
            raise TypeError(message(value, list(at)))
    return found


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
