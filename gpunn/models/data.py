"""What users pass as data, checked and put where a step can read it.

Arrays become rows on the device (`Rows`), visited in a keyed order; anything that
yields batches becomes a `Batches`. All checks happen here, before the first step,
and are the same on every backend.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.base import Array, Backend
from ..backends.order import Order
from ..losses.base import check_labels

CHUNK = 1 << 20  # elements looked at or converted at a time: no second copy of a data set


@dataclass(frozen=True)
class Spec:
    """What a compiled model wants: shapes of one sample, dtype, and the kind of targets."""

    backend: Backend
    dtype: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    loss: Any = None

    @property
    def rows_per_sample(self) -> int:
        """A prediction of more than one axis has several rows, as the loss counts them."""
        return math.prod(self.output_shape[:-1])

    @property
    def target_shape(self) -> tuple[int, ...]:
        sparse = self.loss is not None and self.loss.sparse
        return self.output_shape[:-1] if sparse else self.output_shape

    @property
    def target_dtype(self) -> str:
        return "int32" if self.loss is not None and self.loss.sparse else self.dtype


@dataclass
class Rows:
    """A data set on the device.

    Attributes:
        x: (rows, ...) in the dtype it came in (float64 as the model's).
        y: targets (rows, ...), or None.
        weights: (rows,) or None.
    """

    x: Array
    y: Array | None
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)

    def order(self, seed: int | None) -> Order:
        return Order(len(self), seed)

    def part(self, start: int, stop: int) -> Rows:
        """Rows from ``start`` to ``stop``, not copied."""
        at = slice(start, stop)
        y = None if self.y is None else self.y[at]
        weights = None if self.weights is None else self.weights[at]
        return Rows(self.x[at], y, weights)

    def take(self, indices: np.ndarray) -> Rows:
        """These rows, copied."""
        y = None if self.y is None else self.y[indices]
        weights = None if self.weights is None else self.weights[indices]
        return Rows(self.x[indices], y, weights)


class Batches:
    """Batches that somebody else makes: ``(x, y)`` or ``(x, y, weight)``.

    Each pass iterates over ``source`` anew, unless that is a generator, which goes
    on where it stopped.
    """

    def __init__(self, spec: Spec, source: Any, argument: str, class_weight: Any = None) -> None:
        self.spec = spec
        self.source = source
        self.argument = argument
        self.class_weight = class_weight
        self.once = hasattr(source, "__next__")

    def __iter__(self) -> Iterator[Rows]:
        for number, batch in enumerate(iterate(self.source)):
            if not isinstance(batch, (tuple, list)):
                batch = (batch,)
            if not 1 <= len(batch) <= 3:
                raise ValueError(
                    f"{self.argument}: batch {number} has {len(batch)} parts; "
                    f"(x, y) or (x, y, weight) is expected."
                )
            x, y, weight = (*batch, None, None)[:3]
            yield to_rows(
                self.spec, x, y, weight, self.class_weight, where=f"{self.argument}, batch {number}: "
            )


def iterate(source: Any) -> Iterator[Any]:
    """Iterate over batches; a map-style data set (length and items) counts as well."""
    if hasattr(source, "__iter__") or not hasattr(source, "__len__"):
        return iter(source)
    return (source[i] for i in range(len(source)))


def is_array(x: Any) -> bool:
    """Whether ``x`` is one array (or nested numbers) rather than something yielding batches."""
    if hasattr(x, "__array__") or hasattr(x, "__dlpack__") or isinstance(x, (int, float)):
        return True
    if isinstance(x, (list, tuple)):
        return not (len(x) and isinstance(x[0], tuple))
    return x is None


def first_shape(x: Any) -> tuple[int, ...] | None:
    """Shape of one sample of data given as an array, to build a model with."""
    shape = getattr(x, "shape", None)
    if shape is None:
        shape = as_array(x, "x").shape
    return tuple(int(n) for n in shape[1:]) if len(shape) else None


def as_array(x: Any, argument: str) -> Any:
    """A NumPy array, or an array of a device, of real numbers; not copied where possible."""
    if isinstance(x, Mapping):
        raise TypeError(f"{argument} must be an array; got a dictionary with keys {list(x)}.")
    if hasattr(x, "__cuda_array_interface__") or isinstance(x, np.ndarray):
        array = x
    elif hasattr(x, "__array__"):
        array = np.asarray(x)
    elif hasattr(x, "__dlpack__"):
        array = np.from_dlpack(x)
    else:
        try:
            array = np.asarray(x)
        except ValueError:
            raise ValueError(
                f"{argument} must be an array of numbers; its rows have different lengths."
            ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{argument} must hold real numbers; its dtype is {array.dtype}. "
            f"Convert it first (texts to numbers, missing values filled)."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not isinstance(x, np.ndarray) and isinstance(x, (list, tuple)) and array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    return array


def on_device(backend: Backend, array: Any, dtype: str, argument: str) -> Array:
    """``array`` on the device, checked for NaN and infinity piece by piece.

    Its dtype is kept (a data set of bytes stays bytes), but float64 becomes the
    model's dtype, converted piece by piece: no float64 copy is made.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize == 8 and dtype == "float32":
        if backend.owns(array):
            result = backend.empty(array.shape, dtype)
            for at in _pieces(array):
                result[at] = array[at]
        else:
            result = np.empty(array.shape, dtype)
            for at in _pieces(array):
                with np.errstate(over="ignore"):  # reported below as what it is
                    result[at] = array[at]
    else:
        result = array
    if result.dtype.kind == "f":
        for at in _pieces(result):
            piece = result[at]
            # A sum is finite unless something in it is not (or is absurdly large).
            if not math.isfinite(float(piece.sum())) and not bool((abs(piece) < math.inf).all()):
                _refuse_non_finite(np.asarray(backend.read(backend.upload(piece))), at, argument)
    if result.dtype == bool:
        result = result.view(np.uint8)
    return backend.upload(result)


def _pieces(array: Any) -> Iterator[slice]:
    rows = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


def _refuse_non_finite(piece: np.ndarray, at: slice, argument: str) -> None:
    where = np.argwhere(~np.isfinite(piece))[0]
    value = piece[tuple(where)]
    position = (int(where[0]) + at.start, *map(int, where[1:]))
    raise ValueError(
        f"{argument} holds {value} at index {position}; every value must be finite. Remove the "
        f"row or fill in the value before training."
    )


def to_rows(
    spec: Spec,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    needs_y: bool = True,
    where: str = "",
) -> Rows:
    """Check x, y and weights and put them on the device.

    Raises:
        ValueError, TypeError: naming the argument, what came and what was expected.
    """
    array = as_array(x, f"{where}x")
    shape = tuple(int(n) for n in array.shape)
    if len(shape) == 1 and spec.input_shape == (1,):
        array, shape = array.reshape(-1, 1), (*shape, 1)
    if shape[1:] != spec.input_shape or not shape:
        expected = ", ".join(["batch", *map(str, spec.input_shape)])
        raise ValueError(
            f"{where}x has shape {shape}; the model takes ({expected})."
            + (" Add the batch axis: x[numpy.newaxis]." if shape == spec.input_shape else "")
        )
    if shape[0] == 0:
        raise ValueError(f"{where}x is empty: its shape is {shape}. At least one row is needed.")
    targets = None
    if y is not None:
        targets = _targets(spec, y, shape[0], where)
    elif needs_y:
        raise ValueError(f"{where}y is missing: training and evaluation compare predictions to it.")
    weights = _weights(spec, sample_weight, class_weight, y, shape[0], where)
    return Rows(on_device(spec.backend, array, spec.dtype, f"{where}x"), targets, weights)


def _targets(spec: Spec, y: Any, rows: int, where: str) -> Array:
    loss = spec.loss
    name = f"{where}y"
    array = as_array(y, name)
    shape = tuple(int(n) for n in array.shape)
    if not shape or shape[0] != rows:
        raise ValueError(
            f"{name} has {shape[0] if shape else 'no'} rows, x has {rows}; they must be as many."
        )
    expected = (rows, *spec.target_shape)
    if loss.sparse:
        if shape == (*expected, 1):
            shape = expected
        elif shape == (rows, *spec.output_shape):
            raise ValueError(
                f"{name} has shape {shape}: one column a class. {loss.name} takes class numbers "
                f"of shape {expected}; use categorical_crossentropy for one-hot rows."
            )
    elif len(expected) == 2 and expected[1] == 1 and shape == (rows,):
        shape = expected
    elif shape in ((rows,), (rows, 1)) and array.dtype.kind in "iub" and expected[-1] > 1:
        raise ValueError(
            f"{name} has shape {shape}: class numbers. {loss.name} takes targets of shape "
            f"{expected}; use sparse_categorical_crossentropy, or gpunn.utils.to_categorical(y)."
        )
    if shape != expected:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}, the model's predictions have "
            f"{(rows, *spec.output_shape)}; {loss.name} takes y of shape {expected}. "
            f"Nothing is broadcast in a loss."
        )
    array = array.reshape(expected)
    if loss.sparse:
        host = array.get() if hasattr(array, "get") else np.asarray(array)
        return spec.backend.upload(check_labels(host, spec.output_shape[-1], name))
    result = on_device(spec.backend, array, spec.dtype, name)
    if getattr(loss, "fuses", None) and (float(result.min()) < 0 or float(result.max()) > 1):
        raise ValueError(
            f"{name} has values from {float(result.min()):g} to {float(result.max()):g}; "
            f"{loss.name} takes probabilities, from 0 to 1."
        )
    return result


def _weights(
    spec: Spec, sample_weight: Any, class_weight: Any, y: Any, rows: int, where: str
) -> Array | None:
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                f"{where}class_weight and sample_weight cannot both be given: multiply the "
                f"class weights into sample_weight."
            )
        sample_weight = _class_weights(class_weight, y, spec, where)
    if sample_weight is None:
        return None
    name = f"{where}sample_weight"
    array = as_array(sample_weight, name)
    if tuple(array.shape) == (rows, 1):
        array = array.reshape(rows)
    if tuple(array.shape) != (rows,):
        raise ValueError(f"{name} has shape {tuple(array.shape)}; ({rows},) is expected.")
    weights = on_device(spec.backend, array, spec.dtype, name)
    if spec.rows_per_sample > 1:
        weights = weights.repeat(spec.rows_per_sample).reshape(rows, spec.rows_per_sample)
    return weights


def _class_weights(class_weight: Any, y: Any, spec: Spec, where: str) -> np.ndarray:
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"{where}class_weight must be a dictionary {{class: weight}}; got {class_weight!r}."
        )
    if y is None:
        raise ValueError(f"{where}class_weight needs y: it weighs samples by their class.")
    labels = np.asarray(as_array(y, f"{where}y"))
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1:
        raise ValueError(f"{where}class_weight needs one class a sample; y has several.")
    labels = np.rint(labels[:, 0]).astype(np.int64)
    weights = np.ones(len(labels))
    for key, value in class_weight.items():
        try:
            label = int(key)
        except (TypeError, ValueError):
            label = None
        if label is None or float(key) != label:
            raise ValueError(f"{where}class_weight must have integer keys; got {key!r}.")
        if not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
            raise ValueError(f"{where}class_weight[{key!r}] must be a number; got {value!r}.")
        weights[labels == label] = value
    return weights


def split(
    data: Rows, fraction: float, strategy: str, spec: Spec, seed: int
) -> tuple[Rows, Rows]:
    """Training and validation rows.

    ``"tail"`` takes the last rows, as Keras does, and warns if a class is missing on
    one side; ``"shuffled"`` takes random ones, ``"stratified"`` random ones of each
    class in proportion.
    """
    rows = len(data)
    kept = math.floor(rows * (1.0 - fraction))
    if kept == 0 or kept == rows:
        raise ValueError(
            f"validation_split={fraction} of {rows} rows leaves {kept} rows for training and "
            f"{rows - kept} for validation; both need at least one."
        )
    labels = None
    if spec.loss.sparse and data.y is not None and len(data.y.shape) == 1:
        labels = spec.backend.read(data.y)
    if strategy == "tail":
        if labels is not None:
            everywhere = set(np.unique(labels).tolist())
            for part, name in ((labels[:kept], "training"), (labels[kept:], "validation")):
                missing = sorted(everywhere - set(np.unique(part).tolist()))
                if missing and len(part) >= len(everywhere):
                    warnings.warn(
                        f"validation_split takes the last {rows - kept} rows: the {name} part has "
                        f"no row of class {', '.join(map(str, missing))}. Shuffle the data, or "
                        f"pass validation_strategy='stratified'.",
                        stacklevel=4,
                    )
        return data.part(0, kept), data.part(kept, rows)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    if strategy == "stratified":
        if labels is None:
            raise ValueError(
                "validation_strategy='stratified' needs class numbers as y (a sparse loss)."
            )
        # Within each class in random order, then all classes interleaved by their share.
        shuffled = labels[order]
        place = np.empty(rows)
        for label in np.unique(labels):
            at = np.flatnonzero(shuffled == label)
            place[at] = (np.arange(len(at)) + 0.5) / len(at)
        order = order[np.argsort(place, kind="stable")]
    return data.take(np.sort(order[:kept])), data.take(np.sort(order[kept:]))


def peek(source: Any) -> tuple[Any, Any]:
    """The first batch of ``source``, and the source with that batch still in it."""
    iterator = iterate(source)
    first = next(iterator, None)
    if first is None:
        raise ValueError("x yields no batch: there is no data.")
    if hasattr(source, "__next__"):
        source = itertools.chain([first], source)
    return source, first


def is_batches(given: Any) -> bool:
    """Whether a short list holds batches (x, y) rather than being one pair (x, y)."""
    return all(isinstance(entry, (tuple, list)) and len(entry) in (2, 3) for entry in given) and (
        all(hasattr(entry[0], "shape") for entry in given)
    )


def inputs_of(spec: Spec, source: Any, limit: int | None) -> Iterator[Rows]:
    """The inputs of batches, targets ignored; ``limit`` batches at most."""
    for number, batch in enumerate(itertools.islice(iterate(source), limit)):
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        yield to_rows(spec, x, needs_y=False, where=f"predict, batch {number}: ")
