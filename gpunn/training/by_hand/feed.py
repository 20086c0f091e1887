"""The batches of `fit`, `evaluate` and `predict` for steps that a model defines itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.shared.order import Order
from gpunn.common.config import floatx
from gpunn.common.nested import found_in, replaced
from gpunn.feeding import data
from gpunn.feeding.arrays import as_array, stored_dtype
from gpunn.feeding.batches import check_ends, items_of_pass
from gpunn.feeding.classes import are_classes, balanced, check_class_weight
from gpunn.feeding.rows import Copies, sent
from gpunn.ops.narrow import from_host
from gpunn.training.fitting import rows_of_a_batch


class Feed:
    """Batches as a step gets them: ``x``, ``(x, y)`` or ``(x, y, weight)``, of NumPy arrays.

    Args:
        x, y, weight: arrays in any structure; or something that yields batches, as ``x`` alone.
        size: rows of a batch; None for those that give ``limit`` batches, or 32 without it.
        seed: of the order of rows; None keeps the order.
        limit: batches of an epoch; None for all.
        argument, option: the names of ``x`` and ``limit`` in messages.
        by_class: the weight of each class; rows of classes without one weigh 1.

    Raises:
        ValueError, TypeError: for data that are not numbers, or differ in their rows.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        size: int | None = None,
        seed: int | None = None,
        limit: int | None = None,
        argument: str = "x",
        option: str = "steps",
        by_class: Any = None,
    ) -> None:
        self._seed, self.limit, self._by_class = seed, limit, by_class
        self.passes = self._position = 0  # passes begun so far; rows used in the current one
        self._iterator: Iterator[Any] | None = None
        self.exhausted = False
        self._source: Any = None
        self._is_placed = False
        self._placed: list[Any] | None = None
        self._copies: Copies | None = None
        if not data.is_array(x) and not _is_arrays(x):
            if y is not None or weight is not None:
                extra = "y" if y is not None else "sample_weight"
                raise ValueError(
                    f"{argument} yields batches, which bring their own {extra}; leave it out."
                )
            check_ends(x, limit, argument, option)
            if by_class is not None:
                check_class_weight(by_class, is_whole=False)
            self._source = x
            return
        weight = weights_by_class(by_class, y, weight)
        parts = {"x": x, "y": y, "sample_weight": weight}
        given = {name: arrays_of(part, name) for name, part in parts.items() if part is not None}
        if not given:
            raise ValueError(f"{argument} is None: there are no data.")
        lengths = {name: [len(a) for a in found_in(part, np.ndarray)]
                   for name, part in given.items()}
        self.rows = next(iter(lengths.values()))[0]
        for name, found in lengths.items():
            if any(n != self.rows for n in found):
                raise ValueError(
                    f"{name} has {', '.join(map(str, found))} rows and {argument} {self.rows}; "
                    f"their numbers of rows must be equal."
                )
        if not self.rows:
            raise ValueError(f"{argument} has no rows.")
        self.size = rows_of_a_batch(size, range(self.rows), limit)
        self._given, self._parts = given, list(given.values())
        self.order = Order(self.rows, self._seed)

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays whose rows the batches have, in the order of a batch's."""
        return list(found_in(self._parts, np.ndarray))

    def placed(self, backend: Backend) -> list[Any] | None:
        """Return the arrays where steps on a backend gather their rows, written once in a fit; None
        if they do not fit there, so that each batch is sent."""
        if not self._is_placed:
            self._is_placed = True
            given = {str(k): array for k, array in enumerate(self.arrays)}
            stored = {name: stored_dtype(a, floatx()) for name, a in given.items()}
            names = [n for n, part in self._given.items() for _ in found_in(part, np.ndarray)]
            arguments = dict(zip(given, names, strict=True))
            found = sent(backend, given, stored, (), "fit", arguments)
            if found is not None:
                self._placed, self._copies = [*found[0].values()], found[1]
                if self._copies is not None:
                    self._copies.readers.add(self)
        return self._placed

    @property
    def has_large_copies(self) -> bool:
        """Whether there are copies that the next fit does not refill, but make anew."""
        pairs = zip(self._placed or (), self.arrays, strict=False)
        return self._copies is None and any(there is not given for there, given in pairs)

    @property
    def is_stream(self) -> bool:
        return self._source is not None

    def steps(self) -> int | None:
        """The batches of an epoch; None if that is not known."""
        if not self.is_stream:
            most = math.ceil(self.rows / self.size)
            return most if self.limit is None else min(most, self.limit)
        try:
            return self.limit or len(self._source)
        except TypeError:
            return None

    @property
    def once(self) -> bool:
        """Whether the batches can be read only once."""
        return self.is_stream and hasattr(self._source, "__next__")

    def restart(self) -> None:
        """Begin the next epoch with the first batch, if the source can be read again."""
        self._position = 0
        if not self.once:
            self._iterator = None

    def epoch(self) -> Iterator[Any]:
        """Yield the batches of the next epoch: at most one pass."""
        if self.is_stream:
            yield from self._of_stream()
            return
        for number, position, steps, size in self.pieces():
            order = self.order.indices(number)
            for at in range(position, position + steps * size, size):
                yield self.batch(order[at : at + size])

    def _of_stream(self) -> Iterator[Any]:
        self._tell("on_epoch_begin")
        count = 0
        while self.limit is None or count < self.limit:
            begins = self._iterator is None
            if self._iterator is None:
                self._iterator = items_of_pass(self._source, self.passes, self._seed)
                self.passes += 1
            batch = next(self._iterator, None)
            if batch is None:
                self._iterator, self.exhausted = None, self.once
                if count or begins or self.exhausted:
                    break
                continue  # the last epoch used the last batch: begin from the start
            yield _batch(batch if self._by_class is None else self._weighted(batch))
            count += 1
        self._tell("on_epoch_end")

    def _weighted(self, batch: Any) -> Any:
        """Return a batch of a stream with the weights of its rows' classes."""
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        x, y, weight = (*parts, None, None)[:3]
        return x, y, weights_by_class(self._by_class, y, weight)

    def _tell(self, event: str) -> None:
        if hasattr(self._source, event):
            getattr(self._source, event)()

    def batch(self, rows: Any) -> Any:
        """Return the batch of these rows."""
        parts = [replaced(lambda a: _converted(a[rows]), part) for part in self._parts]
        return parts[0] if len(parts) == 1 and not _is_arrays(parts[0]) else tuple(parts)

    def pieces(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the steps of the next epoch over arrays as (pass, position in it, steps, rows of
        each step). With a limit, a pass goes on in the next epoch."""
        if not self._position:
            self.passes += 1
        left = math.inf if self.limit is None else self.limit
        while self._position < self.rows and left > 0:
            size = min(self.size, self.rows - self._position)
            steps = int(min((self.rows - self._position) // size, left))
            position, self._position = self._position, self._position + steps * size
            yield self.passes - 1, position, steps, size
            left -= steps
        if self._position >= self.rows:
            self._position = 0


def _is_arrays(x: Any) -> bool:
    """Whether this is a structure of arrays, one for each of several inputs."""
    if isinstance(x, Mapping):
        return True
    several = isinstance(x, (list, tuple)) and len(x) > 0
    return bool(several and all(hasattr(a, "shape") and len(a.shape) for a in x))


def arrays_of(x: Any, argument: str) -> Any:
    """Return arrays in the structure of ``x``."""
    if _is_arrays(x):
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


def _batch(given: Any) -> Any:
    """Return a batch of a stream, with arrays in dtypes that tensors have."""

    def converted(a: Any) -> Any:
        return _converted(_array(a, "a batch")) if np.ndim(a) else np.asarray(a)

    if isinstance(given, list):
        given = tuple(given)
    return replaced(converted, given, lambda a: hasattr(a, "shape") or np.isscalar(a))


def weights_by_class(class_weight: Any, y: Any, weight: Any) -> Any:
    """Return the weight of each row: its own, times that of its class."""
    if class_weight is None:
        return weight
    is_balanced = check_class_weight(class_weight, is_whole=True)
    if y is None or isinstance(y, Mapping):
        raise ValueError("class_weight needs y, the classes of one output.")
    labels = np.asarray(y)
    if is_balanced and not are_classes(labels):
        raise ValueError(
            "class_weight='balanced' needs one class per row, but y holds other numbers. Use "
            "sample_weight."
        )
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    labels = np.rint(labels.reshape(len(labels), -1)[:, 0]).astype(np.int64)
    if is_balanced:
        class_weight = balanced(labels)
    found = np.ones(len(labels), floatx())
    for label, factor in class_weight.items():
        found[labels == int(label)] = factor
    return found if weight is None else found * np.asarray(weight)
