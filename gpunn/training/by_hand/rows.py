"""The data of steps that a model defines itself: arrays in any structure, or batches of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.shared.order import Order
from gpunn.common.config import floatx
from gpunn.common.nested import found_in, replaced
from gpunn.feeding import data
from gpunn.feeding.arrays import as_array, stored_dtype
from gpunn.feeding.batches import Batches
from gpunn.feeding.classes import (
    BOTH_WEIGHTS,
    are_classes,
    balanced,
    check_class_weight,
    nearest_classes,
    weights_of,
)
from gpunn.feeding.rows import Rows, name_of, sent
from gpunn.feeding.streaming import Chunks
from gpunn.ops.dtypes import from_host


@dataclass(eq=False)
class OwnRows(Rows):
    """Rows on the host, in the structure in which a step gets them.

    Attributes:
        form: ``x``, ``(x, y)`` or ``(x, y, weight)``, with names instead of arrays.
    """

    form: Any = None
    _placed: list[Any] | None = None
    _is_placed = False
    _chunks: Chunks | None = field(default=None, init=False)

    def __len__(self) -> int:
        first = next(iter(self.arrays.values()))
        return len(first) if first.ndim else 1

    @property
    def names(self) -> list[str]:
        """The names of the arrays that a step gets, in their order."""
        return list(found_in(self.form, str))

    def batch(self, rows: Any) -> Any:
        """Return these rows as a step gets them."""
        return replaced(lambda name: _converted(self.arrays[name][rows]), self.form)

    def whole(self) -> Any:
        """Return all rows as a step gets them; some may be numbers instead."""

        def converted(name: str) -> Any:
            array = self.arrays[name]
            return _converted(array) if array.ndim else array

        return replaced(converted, self.form)

    def first_x(self) -> Any:
        """Return a row in the form of what a step gets as ``x``, which holds no data."""

        def empty(name: str) -> np.ndarray:
            array = self.arrays[name]
            return np.zeros((1, *array.shape[1:]), array.dtype)

        return replaced(empty, self.form[0] if isinstance(self.form, tuple) else self.form)

    def unweighted(self) -> OwnRows:
        """Return the rows without weights."""
        arrays = {name: a for name, a in self.arrays.items() if name != "weights"}
        return replace(self, arrays=arrays, form=self.form[:2])

    def _rows(self, rows: Any) -> OwnRows:
        return replace(self, arrays={name: array[rows] for name, array in self.arrays.items()})

    def placed(self, backend: Backend) -> list[Any] | None:
        """Return the arrays where steps on a backend gather their rows, written once in a fit; None
        if they do not fit there, so that they are streamed."""
        if not self._is_placed:
            self._is_placed = True
            given = {name: self.arrays[name] for name in self.names}
            stored = {name: stored_dtype(a, floatx()) for name, a in given.items()}
            arguments = {name: name.replace("weights", "sample_weight") for name in given}
            found = sent(backend, given, stored, (), "fit", arguments)
            if found is not None:
                self._placed, self.copies = [*found[0].values()], found[1]
                if self.copies is not None:
                    self.copies.readers.add(self)
        return self._placed

    def streamed(self, backend: Backend, order: Order, size: int) -> Chunks:
        """Return the chunks in which these rows are sent to a backend, in whole batches."""
        if self._chunks is None or self._chunks.batch_size < size:  # the first may be the last one
            self.settle()
            sources = Rows({name: self.arrays[name] for name in self.names}, backend)
            self._chunks = Chunks(sources, order, size, floatx())
        return self._chunks

    def settle(self) -> None:
        """Wait until what is being sent has arrived."""
        if self._chunks is not None:
            self._chunks.settle()

    @property
    def has_large_copies(self) -> bool:
        """Whether there are copies that the next fit does not refill, but make anew."""
        if self._chunks is not None:
            return True
        given = (self.arrays[name] for name in self.names)
        pairs = zip(self._placed or (), given, strict=False)
        return self.copies is None and any(there is not own for there, own in pairs)


def source_of(
    x: Any, y: Any, weight: Any, by_class: Any, argument: str = "x"
) -> OwnRows | Batches:
    """Return the data that these arguments of a method give.

    Raises:
        ValueError, TypeError: for data that are not numbers, or differ in their rows.
    """
    if not data.is_array(x) and not _is_arrays(x):
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(
                f"{argument} yields batches, which bring their own {extra}; leave it out."
            )
        if by_class is not None:
            check_class_weight(by_class, is_whole=False)
        return Batches(x, argument, partial(_of_batch, by_class))
    if by_class is not None:
        if weight is not None:
            raise ValueError(BOTH_WEIGHTS)
        weight = weights_by_class(by_class, y)
    parts = {"x": x, "y": y, "sample_weight": weight}
    given = {name: arrays_of(part, name) for name, part in parts.items() if part is not None}
    if not given:
        raise ValueError(f"{argument} is None: there are no data.")
    lengths = {name: [len(a) for a in found_in(part, np.ndarray)] for name, part in given.items()}
    rows = next(iter(lengths.values()))[0]
    for name, found in lengths.items():
        if any(n != rows for n in found):
            raise ValueError(
                f"{name} has {', '.join(map(str, found))} rows and {argument} {rows}; "
                f"their numbers of rows must be equal."
            )
    if not rows:
        raise ValueError(f"{argument} has no rows.")
    arrays: dict[str, Any] = {}
    forms = [_named(part, name, arrays) for name, part in given.items()]
    alone = len(forms) == 1 and not isinstance(forms[0], (list, tuple))  # as in Keras
    return OwnRows(arrays, form=forms[0] if alone else tuple(forms))


def _named(part: Any, argument: str, arrays: dict[str, Any]) -> Any:
    """Add the arrays of a part by their names, and return the part with names instead of them."""
    kind = "weights" if argument == "sample_weight" else argument

    def named(array: Any) -> str:
        name = name_of(kind, sum(known.split("_")[0] == kind for known in arrays))
        arrays[name] = array
        return name

    return replaced(named, part, lambda a: hasattr(a, "shape"))


def _of_batch(class_weight: Any, given: Any, where: str) -> OwnRows:
    """Return a batch of a stream; rows of classes without a ``class_weight`` weigh 1."""
    if class_weight is not None:
        parts = given if isinstance(given, (tuple, list)) else (given,)
        x, y, weight = (*parts, None, None)[:3]
        if weight is not None:
            raise ValueError(where + BOTH_WEIGHTS)
        given = x, y, weights_by_class(class_weight, y, where)
    if isinstance(given, list):
        given = tuple(given)
    arrays: dict[str, Any] = {}

    def is_leaf(a: Any) -> bool:
        return hasattr(a, "shape") or np.isscalar(a)

    def converted(a: Any) -> Any:
        return _array(a, "a batch") if np.ndim(a) else np.asarray(a)

    form = replaced(lambda a: _named(converted(a), "x", arrays), given, is_leaf)
    return OwnRows(arrays, form=form)


def _is_arrays(x: Any) -> bool:
    """Whether this is a structure of arrays, one for each of several inputs."""
    if isinstance(x, Mapping):
        return True
    several = isinstance(x, (list, tuple)) and len(x) > 0
    return bool(several and all(hasattr(a, "shape") and len(a.shape) for a in x))


def arrays_of(x: Any, argument: str) -> Any:
    """Return arrays in the structure of ``x``."""
    holds_groups = isinstance(x, (list, tuple)) and any(isinstance(a, Mapping) for a in x)
    if holds_groups or _is_arrays(x):
        return replaced(lambda a: _array(a, argument), x, lambda a: hasattr(a, "shape"))
    return _array(x, argument)


def _array(x: Any, argument: str) -> np.ndarray:
    """Return an array of numbers, in its own dtype, that `_converted` can convert."""
    array: np.ndarray = as_array(x, argument, get_backend("numpy"))
    if array.ndim == 0:
        raise ValueError(f"{argument} must have a batch axis; got the single value {x!r}.")
    if array.dtype.kind in "iu":
        from_host(array, "int32")  # which raises an error for larger ones
    return array


def _converted(array: np.ndarray) -> np.ndarray:
    """Return an array in the dtype that tensors of such numbers have."""
    if array.dtype.kind == "f":
        return np.asarray(array, floatx())
    return np.asarray(array, bool if array.dtype == bool else np.int32)


def weights_by_class(class_weight: Any, y: Any, where: str = "") -> np.ndarray:
    """Return the weight of each row by its class."""
    name = f"{where}class_weight"
    is_balanced = check_class_weight(class_weight, True, name)
    if y is None or isinstance(y, Mapping):
        raise ValueError(f"{name} needs y, the classes of one output.")
    labels = np.asarray(y)
    if is_balanced and not are_classes(labels):
        raise ValueError(
            f"{name}='balanced' needs one class per row, but y holds other numbers. Use "
            f"sample_weight."
        )
    if labels.ndim > 2:  # of several steps, the first one's
        labels = labels.reshape(len(labels), -1, labels.shape[-1])[:, 0]
    labels = nearest_classes(labels)
    weights = balanced(labels) if is_balanced else class_weight
    return weights_of(labels, weights, 0, name).astype(floatx())
