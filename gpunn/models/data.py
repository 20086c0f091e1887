"""What users pass as data, checked and put where a step can read it.

Arrays become rows on the device (`Rows`), visited in a keyed order; anything that
yields batches becomes a `Batches`. All checks happen here, before the first step,
and are the same on every backend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.base import Array, Backend
from ..losses.base import check_labels
from .arrays import as_array, check_finite, read
from .classes import class_weights
from .rows import Rows, place

ARRAY_MARKS = ("__array__", "__dlpack__", "__cuda_array_interface__", "toarray")


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


class Batches:
    """Batches that somebody else makes: ``(x, y)`` or ``(x, y, weight)``.

    Each pass iterates over ``source`` anew, unless that can be read only once (a
    generator), which goes on where it stopped. The first batch is checked at once.

    Raises:
        ValueError, TypeError: for a batch that does not fit, naming it.
    """

    def __init__(
        self, spec: Spec, source: Any, first: Any, argument: str, class_weight: Any = None
    ) -> None:
        self.spec = spec
        self.source = source
        self.argument = argument
        self.class_weight = class_weight
        self.once = hasattr(source, "__next__")
        self._rows(first, 0)

    def __iter__(self) -> Iterator[Rows]:
        for number, batch in enumerate(iterate(self.source)):
            yield self._rows(batch, number)

    def _rows(self, batch: Any, number: int) -> Rows:
        where = f"{self.argument}, batch {number}: "
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                f"{where}it has {len(parts)} parts; (x, y) or (x, y, weight) is expected."
            )
        x, y, weight = (*parts, None, None)[:3]
        return to_rows(self.spec, x, y, weight, self.class_weight, where=where)


def iterate(source: Any) -> Iterator[Any]:
    """Iterate over batches; a data set with a length and items (Keras's PyDataset) too."""
    if not hasattr(source, "__iter__") and hasattr(source, "__len__"):
        items = (source[i] for i in range(len(source)))
    else:
        items = source
    # Not "yield from", which would close a generator that is left early.
    for batch in items:  # noqa: UP028
        yield batch
    if hasattr(source, "on_epoch_end"):
        source.on_epoch_end()


def peek(source: Any, argument: str = "x") -> tuple[Any, Any]:
    """``source`` with its first batch still in it, and that batch."""
    if not any(hasattr(source, name) for name in ("__iter__", "__next__", "__getitem__")):
        raise TypeError(f"{argument} must be arrays, or yield batches (x, y); got {source!r}.")
    first = next(iterate(source), None)
    if first is None:
        raise ValueError(f"{argument} yields no batch: there is no data.")
    if hasattr(source, "__next__"):
        source = itertools.chain([first], source)
    return source, first


def inputs_of(spec: Spec, source: Any, limit: int | None) -> Iterator[tuple[Any, str]]:
    """The inputs of batches with their names, targets ignored; ``limit`` batches at most."""
    for number, batch in enumerate(itertools.islice(iterate(source), limit)):
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        where = f"predict, batch {number}: "
        yield inputs(spec, x, where), f"{where}x"


def is_array(x: Any) -> bool:
    """Whether ``x`` is meant as one array rather than as something that yields batches.

    >>> import numpy as np
    >>> is_array([(0, 1), (1, 0)]), is_array([(np.ones((2, 2)), np.ones(2))])
    (True, False)
    """
    if any(hasattr(x, name) for name in ARRAY_MARKS):
        return True
    if isinstance(x, (list, tuple)):
        return not (len(x) and all(_is_batch(entry) for entry in x))
    return x is None or isinstance(x, (int, float, complex, str, bytes, Mapping, set))


def _is_batch(entry: Any) -> bool:
    if not isinstance(entry, (tuple, list)) or not 1 <= len(entry) <= 3:
        return False
    if isinstance(entry[0], (tuple, list)):
        return isinstance(entry, tuple)
    return len(getattr(entry[0], "shape", ())) > 0


def validation_parts(given: Any) -> tuple[Any, Any, Any]:
    """x, y and weights of ``validation_data``; y and weights are None for batches."""
    if not is_array(given):
        return given, None, None
    if isinstance(given, (tuple, list)) and len(given) in (2, 3):
        return (*given, None)[:3]
    what = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
    raise ValueError(
        f"validation_data must be (x, y), (x, y, weight) or yield such batches; got {what}."
    )


def first_shape(x: Any, y: Any = None) -> tuple[int, ...]:
    """Shape of one sample of data given as an array, to build a model with.

    Raises:
        ValueError: if x has no batch axis or another number of rows than y: a model
            built from such an x would fit no other.
    """
    shape = read(x, "x").shape if getattr(x, "shape", None) is None else x.shape
    if y is not None:
        targets = read(y, "y").shape if getattr(y, "shape", None) is None else y.shape
        if targets[:1] != shape[:1]:
            raise ValueError(
                f"y has shape {tuple(targets)} and x {tuple(shape)}; as many rows are expected."
            )
    if len(shape) == 0:
        raise ValueError(f"x must have a batch axis, (batch, ...); got the single value {x!r}.")
    return tuple(int(n) for n in shape[1:])


def inputs(spec: Spec, x: Any, where: str = "") -> Any:
    """``x`` as an array of samples, of NumPy or the device; its values are not looked at.

    Raises:
        ValueError, TypeError: naming the argument, what came and what was expected.
    """
    array = as_array(x, f"{where}x", spec.backend)
    if array.shape[1:] != spec.input_shape or not array.shape:
        if array.ndim == 1 and spec.input_shape == (1,):
            array = array.reshape(-1, 1)
        else:
            raise _wrong_x(spec, array.shape, x, where)
    if len(array) == 0:
        raise ValueError(f"{where}x is empty: its shape is {array.shape}. It needs a row or more.")
    return array


def to_rows(
    spec: Spec,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    needs_y: bool = True,
    where: str = "",
    call: str | None = None,
) -> Rows:
    """Check x, y and weights and put them where steps can read them.

    Args:
        spec: what the model takes.
        x, y, sample_weight, class_weight: as the user gave them.
        needs_y: whether there must be a y.
        where: begins the names of the arguments in messages.
        call: the method whose whole data these are: what the device has no room for is
            streamed then. None for a single batch.

    Raises:
        ValueError, TypeError: naming the argument, what came and what was expected.
    """
    array = inputs(spec, x, where)
    rows = len(array)
    targets = None
    made: set[str] = set()  # arrays that nobody outside has
    if y is not None:
        targets = _targets(spec, y, rows, where, made)
    elif needs_y:
        raise ValueError(
            f"{where}y is missing: training and evaluation compare the predictions with it."
        )
    weights = _weights(spec, sample_weight, class_weight, targets, rows, where, made)
    check_finite(spec.backend, array, spec.dtype, f"{where}x")
    arrays = {"x": array, "y": targets, "weights": weights}
    return place(spec.backend, spec.dtype, arrays, made, call, where)


def _wrong_x(spec: Spec, shape: tuple[int, ...], x: Any, where: str) -> ValueError:
    wanted = spec.input_shape
    if isinstance(x, tuple):
        hint = " It is a tuple: pass its parts as x, y and sample_weight."
    elif shape == wanted:
        hint = " Add the batch axis: x[numpy.newaxis]."
    elif shape[::-1][1:] == wanted and len(shape) == 2:
        hint = " It looks transposed: pass x.T."
    elif shape and math.prod(shape[1:]) == math.prod(wanted):
        hint = f" Its values fit: x.reshape({', '.join(map(str, (-1, *wanted)))})."
    else:
        hint = ""
    expected = ", ".join(("batch", *map(str, wanted)))
    return ValueError(f"{where}x has shape {shape}; the model takes ({expected}).{hint}")


def _targets(spec: Spec, y: Any, rows: int, where: str, made: set[str]) -> Array:
    loss, backend, name = spec.loss, spec.backend, f"{where}y"
    array = as_array(y, name, backend)
    shape = array.shape
    if not shape or shape[0] != rows:
        raise ValueError(
            f"{name} has {shape[0] if shape else 'no'} rows (shape {shape}), x has {rows}; "
            f"they must be as many."
        )
    expected = (rows, *spec.target_shape)
    surplus = shape == (*expected, 1) and loss.sparse  # class numbers in a column
    missing = shape == expected[:-1] and expected[-1] == 1  # one target, without its axis
    if shape != expected and not surplus and not missing:
        raise _wrong_y(spec, shape, expected, name)
    array = array.reshape(expected)
    if loss.sparse:
        labels = backend.read(array) if backend.owns(array) else array
        ignored = getattr(loss, "ignore_class", None)
        if backend.owns(array):
            made.add("y")
        return check_labels(labels, spec.output_shape[-1], name, ignored)
    check_finite(backend, array, spec.dtype, name)
    if loss.fuses:
        low, high = (float(np.dtype(spec.dtype).type(v)) for v in (array.min(), array.max()))
        if low < 0 or high > 1:
            raise ValueError(
                f"{name} has values from {low:g} to {high:g}; {loss.name} takes probabilities, "
                f"from 0 to 1."
            )
    return array


def _wrong_y(
    spec: Spec, shape: tuple[int, ...], expected: tuple[int, ...], name: str
) -> ValueError:
    loss = spec.loss
    prediction = (expected[0], *spec.output_shape)
    if loss.sparse and shape == prediction:
        hint = "One-hot rows go with categorical_crossentropy, or pass y.argmax(-1)."
    elif loss.fuses == "Softmax" and shape in (expected[:-1], (*expected[:-1], 1)):
        hint = (
            "Class numbers go with sparse_categorical_crossentropy, or pass "
            "gpunn.utils.to_categorical(y)."
        )
    else:
        hint = "Nothing is broadcast in a loss."
    return ValueError(
        f"{name} has shape {shape}; {loss.name} takes y of shape {expected} for predictions of "
        f"shape {prediction}. {hint}"
    )


def _weights(
    spec: Spec,
    sample_weight: Any,
    class_weight: Any,
    y: Array | None,
    rows: int,
    where: str,
    made: set[str],
) -> Array | None:
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                f"{where}class_weight and sample_weight cannot both be given: multiply the "
                f"class weights into sample_weight."
            )
        sample_weight = class_weights(class_weight, y, spec, where)
        made.add("weights")
    if sample_weight is None:
        return None
    name = f"{where}sample_weight"
    array = as_array(sample_weight, name, spec.backend)
    several = (rows, *spec.output_shape[:-1])
    if array.shape in ((rows, 1), (*several, 1)):
        array = array.reshape(array.shape[:-1])
    if array.shape not in ((rows,), several):
        or_several = f" or {several}" if len(several) > 1 else ""
        raise ValueError(f"{name} has shape {array.shape}; ({rows},){or_several} is expected.")
    check_finite(spec.backend, array, spec.dtype, name)
    if spec.rows_per_sample == 1:
        return array.reshape(rows)
    if array.shape == (rows,):
        array = array.repeat(spec.rows_per_sample)
        made.add("weights")
    return array.reshape(rows, spec.rows_per_sample)
