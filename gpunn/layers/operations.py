"""Operations on symbolic tensors, and functions, as layers: ``ops.exp(x) * 2``, `Lambda`.

This module defines how the operations of `gpunn.ops` treat symbolic tensors, `on_graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from gpunn.common.config import resolve_dtype
from gpunn.common.fields import field
from gpunn.common.names import unique_name
from gpunn.common.nested import TreeDef, any_in, found_in, replaced
from gpunn.common.signatures import signature
from gpunn.core.operators import FUNCTIONS
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.gradients import topological_sort
from gpunn.ops.op_arguments import Named, OpArguments, Place, constant, restored, stored
from gpunn.ops.running.shape_trace import trace_of
from gpunn.ops.tensor import Tensor

from .applying import MOST_KNOWN, first_only_shape
from .layer import Layer
from .shapes import DIVISIBLE, LENGTHS, Shape, check_shape, dtype_of, over_lengths, sample_of
from .symbolic import Application, SampleShape, SymbolicTensor
from .traced import NoRowsError

__all__ = ["Lambda"]

_INSIDE = (
    "Such an operation can be used inside a layer's call: write a class with call(x), or "
    "layers.Lambda(function)."
)

MOST_TRIED = 10_000_000
"""Up to this many elements, an operation is tried out to see whether it mixes samples."""

MERGING = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply"}
"""Operations for which a layer of this name is used if two tensors have the same shape."""


def _function(name: str) -> Any:
    """Return the operation of this name, such as ``"exp"`` or ``"image.resize"``, or None."""
    module, _, last = name.rpartition(".")
    if module != "image":
        return FUNCTIONS.get(name)
    from gpunn.ops import image

    return vars(image).get(last) if last in image.__all__ else None


def _check_operation(name: str, value: Any) -> str:
    if _function(str(value)) is None:
        raise ValueError(f"{name} must name an operation of gpunn.ops; got {value!r}.")
    return str(value)


class Operation(Layer):
    """An operation of `gpunn.ops` on symbolic tensors: one of a model's operations.

    Args:
        operation: its name.
        arguments: its positional arguments: constants, and placeholders of tensors; see
            `gpunn.ops.op_arguments`.
        options: likewise, its keyword arguments.
        index: which of several results it returns.
    """

    _abstract = True  # not registered: a graph stores its operations
    # Its arguments are copies that nothing else holds.
    _not_watched = Layer._not_watched | {"arguments", "options", "form", "_known"}
    takes_list = True
    _by_operator = True
    _reads_integers = True

    operation: str = field(check=_check_operation)
    arguments: Any = field(check=lambda name, value: [restored(entry) for entry in value])
    options: Any = field(
        default=None,
        check=lambda name, value: {key: restored(entry) for key, entry in (value or {}).items()},
    )
    index: Any = field(default=None)

    def __post_init__(self) -> None:
        self.name = self.name or unique_name(self.operation)
        super().__post_init__()
        self._known: dict[Any, list[SampleShape]] = {}
        self.form = TreeDef()  # of its results
        if self._has_functions:  # which may read what changes
            self._not_watched = self._not_watched - {"arguments", "options"}  # type: ignore[misc]

    # -- what it computes

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self._results(x, lambda p: p)[self.index or 0]

    def _results(self, xs: Sequence[Any], value: Callable[[Parameter], Any]) -> list[Any]:
        """Return the results for these inputs, with these values of parameters."""
        def filled(entry: Any) -> Any:
            if isinstance(entry, Place):
                return xs[entry.number]
            return value(entry) if isinstance(entry, Parameter) else entry

        options = {key: replaced(filled, entry) for key, entry in self.options.items()}
        found = _function(self.operation)(*replaced(filled, self.arguments), **options)
        self.form = TreeDef.of(found)
        return self.form.unpack(found)

    def tried(self, shapes: Sequence[SampleShape]) -> list[SampleShape]:
        """Return the shape of one sample of each result, with its dtype, for these input shapes.

        They are determined by tracing the operation and by running it on three and two samples.

        Raises:
            NoRowsError: if a result has no batch axis, or mixes samples.
        """
        key = tuple((tuple(shape), dtype_of(shape)) for shape in shapes)
        if key not in self._known:
            while len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            found = over_lengths(list(shapes), self._try)
            self._known[key] = self._with_unknown([(None, *shape) for shape in shapes], found)
        return self._known[key]

    def _try(self, shapes: Sequence[SampleShape]) -> list[SampleShape]:
        dtypes = [dtype_of(shape) or resolve_dtype(self.dtype) for shape in shapes]

        def results(batch: int) -> list[Tensor]:
            given = [((batch, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
            of_inputs = trace_of(lambda *xs: self._results(xs, lambda p: p), given)[1]
            return [convert(y) for y in of_inputs]

        of_three, of_two = results(3), results(2)  # nothing is computed yet
        for y, fewer in zip(of_three, of_two, strict=False):
            if y.shape[:1] != (3,) or fewer.shape != (2, *y.shape[1:]):
                raise NoRowsError(
                    f"{self.operation}: a result with one entry for each sample is expected; for "
                    f"3 samples of the shapes {', '.join(map(str, shapes))} it would have the "
                    f"shape {y.shape}. {_INSIDE}"
                )
        size = sum(t.size for t in topological_sort(of_three))
        if size <= MOST_TRIED and self._mixes(shapes, dtypes):
            raise NoRowsError(
                f"{self.operation}: the result for one sample would depend on the other "
                f"samples of its batch. {_INSIDE}"
            )
        return [sample_of(y.shape[1:], y.dtype) for y in of_three]

    def whole(self, tensors: Sequence[SymbolicTensor]) -> list[SampleShape]:
        """Return the shapes of the results with all their axes, and their dtypes, whether they have
        an entry for each sample or not."""
        dtypes = [t.dtype for t in tensors]

        def results(shapes: Sequence[Any]) -> list[SampleShape]:
            given = zip(shapes, dtypes, strict=True)
            found = trace_of(lambda *xs: self._results(xs, lambda p: p), given)[1]
            return [sample_of(y.shape, y.dtype) for y in map(convert, found)]

        shapes = [t.shape for t in tensors]
        found = over_lengths(shapes, results, lengths=LENGTHS + DIVISIBLE)
        return self._with_unknown(shapes, found)

    def _with_unknown(self, shapes: Sequence[Any], found: list[SampleShape]) -> list[SampleShape]:
        """Return the shapes of the results. A diagonal is as long as the shorter of two axes: if
        one of these is unknown, so is its length, whatever lengths were tried."""
        if self.operation not in ("diagonal", "diag") or len(shapes[0]) < 2:
            return found
        given = signature(FUNCTIONS[self.operation]).bind(*self.arguments, **self.options).arguments
        axes = (given.get("axis1", 0), given.get("axis2", 1))
        if None not in (shapes[0][axis] for axis in axes):
            return found
        return [sample_of([*y[:-1], None], dtype_of(y)) for y in found]

    def for_shapes(self, tensors: Sequence[SymbolicTensor], why: str) -> Any:
        """Return results that have only a shape and a dtype; ``why`` no model can compute them."""
        shapes = self.whole(tensors)
        application = Application(self, tensors)
        application.outputs = tuple(
            SymbolicTensor(application, k, shape, why) for k, shape in enumerate(shapes)
        )
        return self.form.pack(application.outputs)

    def _mixes(self, shapes: Sequence[SampleShape], dtypes: Sequence[str]) -> bool:
        """Whether the results for two of three samples change without the third."""
        floats = resolve_dtype(self.dtype)
        random = np.random.default_rng(0)
        values = {id(p): random.uniform(0.1, 0.9, p.shape) for p in self._own_parameters}
        numbers = [random.uniform(0.1, 0.9, (3, *shape)) for shape in shapes]

        def results(rows: list[int], xs: list[np.ndarray]) -> list[np.ndarray]:
            tensors = [convert(x[rows]) for x in xs]  # a function that it takes reads tensors
            made = self._results(tensors, lambda p: values[id(p)].astype(floats))
            return [y.numpy() for y in made]

        first: Exception | None = None
        # Integers may be indices, and floats, too. Of few entries, only the first (0) exists.
        for whole, below in product((False, True), (5, 2, 1)):
            given = []
            for x, dtype in zip(numbers, dtypes, strict=True):
                x = np.floor(x * below) if whole or dtype == "int32" else x
                given.append((x > 0.5 if dtype == "bool" else x).astype(dtype))
            try:
                three, two = (results(rows, given) for rows in ([0, 1, 2], [1, 2]))
                break
            except Exception as error:
                first = first or error
        else:
            assert first is not None
            raise first
        return not all(
            np.allclose(y[1:], fewer, 1e-3, 1e-3, equal_nan=True)
            for y, fewer in zip(three, two, strict=True)
        )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (None, *self.tried([shape[1:] for shape in input_shape])[self.index or 0])

    # -- in a graph

    def _outputs_for(self, shapes: Sequence[Shape], given: Any) -> tuple[list[Any], OpArguments]:
        self.input_shape = list(shapes)
        return [self.tried(shapes)[self.index or 0]], OpArguments()

    @property
    def _own_parameters(self) -> list[Parameter]:
        """The parameters among its arguments, which belong to layers."""
        return list(dict.fromkeys(found_in([self.arguments, self.options], Parameter)))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for p in self._own_parameters:
            yield p.path, p

    def _find_parameters(self, layers: Mapping[str, Any]) -> bool:
        def find(entry: Any) -> Any:
            if not isinstance(entry, Named) or entry.layer not in layers:
                return entry
            own = {p.name: p for p in layers[entry.layer].weights}
            return own.get(entry.name, entry)

        self.arguments = replaced(find, self.arguments)
        self.options = {key: replaced(find, entry) for key, entry in self.options.items()}
        return not list(found_in([self.arguments, self.options], Named))

    @property
    def _has_functions(self) -> bool:
        return any_in(callable, [self.arguments, self.options])

    def get_config(self) -> dict[str, Any]:
        if self._has_functions:
            raise ValueError(
                f"{self.name}: the function given to {self.operation} cannot be saved. Write a "
                f"layer that calls {self.operation} in its call(x), and put "
                f"@gpunn.saving.register_serializable() above the class."
            )
        config = {
            **super().get_config(),
            "operation": self.operation,
            "arguments": stored(self.arguments),
            "options": {key: stored(entry) for key, entry in self.options.items()},
        }
        return config if self.index is None else {**config, "index": self.index}


def _check_function(name: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{name} must be a function; got {value!r}.")
    return value


def _check_shape(name: str, value: Any) -> Any:
    return value if value is None or callable(value) else check_shape(value, name)


class Lambda(Layer):
    """Use a function of tensors as a layer: ``y = function(x)``. It cannot be saved to files.

    Shapes: x ``(batch, ...)`` -> y of the shape of the function's result.

    Args:
        function: called with the layer's input, and written with `gpunn.ops`; it also receives
            ``training`` if it has an argument of this name.
        output_shape: accepted as in Keras; the function's result has the shape.
        mask: accepted as in Keras and ignored.
        arguments: further keyword arguments of the function.

    Raises:
        TypeError: if ``function`` is not callable.
        ValueError: when a model with the layer is saved.

    >>> from gpunn import ops
    >>> print(Lambda(lambda x: ops.exp(x) - 1)([[0.0, 1.0]]).numpy().round(3))
    [[0.    1.718]]
    >>> Lambda(lambda x, power: x**power, arguments={"power": 2})([[3.0]]).tolist()
    [[9.0]]
    """

    _abstract = True  # not registered: no file can hold one
    _reads_integers = _may_add_losses = True

    function: Any = field(check=_check_function)
    output_shape: Any = field(default=None, check=_check_shape, attribute=None)
    mask: Any = field(default=None, attribute=None)
    arguments: Any = field(default=None, check=lambda name, value: dict(value or {}))

    def call(self, x: Any, training: bool | None = None) -> Any:
        parameters = signature(self.function).parameters
        options = {"training": training} if "training" in parameters else {}
        return self.function(x, **{**options, **self.arguments})

    def get_config(self) -> dict[str, Any]:
        raise ValueError(
            f"{self.name}: the function of a Lambda cannot be saved. Write a layer with a call(x), "
            f"and put @gpunn.saving.register_serializable() above the class."
        )


def on_graph(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Return the result of an operation with symbolic tensors among its arguments."""
    tensors: list[SymbolicTensor] = []

    def kept(entry: Any) -> Any:
        if callable(entry) and not isinstance(entry, (type, Parameter, Tensor)):
            return entry
        if not isinstance(entry, SymbolicTensor):
            return constant(entry)
        if not any(entry is t for t in tensors):
            tensors.append(entry)
        return Place(next(k for k, t in enumerate(tensors) if t is entry))

    if name in ("shape", "ndim"):
        return getattr(arguments[0], name)
    places = [replaced(kept, entry) for entry in arguments]
    named = {key: replaced(kept, entry) for key, entry in options.items()}
    why = first_only_shape(tensors)
    merges = name in MERGING and not (named or why)
    if merges and all(isinstance(entry, Place) for entry in places):
        a, b = arguments
        if a.shape == b.shape and is_float(a.dtype) and is_float(b.dtype):
            from . import merging  # which a model without such operations does not need

            layer = getattr(merging, MERGING[name])()
            layer._by_operator = True
            return layer([a, b])
    layer = Operation(name, places, named)
    if any(t.dtype == "string" for t in tensors):
        return layer(tensors)  # which refuses it
    if why:
        try:
            return layer.for_shapes(tensors, why)
        except Exception as error:
            error.add_note(f"What {name} reads is computed by no model. {why}")
            raise
    try:
        count = len(layer.tried([t.sample for t in tensors]))
    except Exception as error:
        why = str(error)
        if not isinstance(error, NoRowsError):
            why = f"{name} fails for some numbers of samples: {why} {_INSIDE}"
        try:
            return layer.for_shapes(tensors, why)
        except Exception:
            raise error from None
    # Each result is a separate operation, which computes no other.
    made = [layer(tensors)]
    made += [Operation(name, places, named, k)(tensors) for k in range(1, count)]
    if len({t.shape[0] for t in tensors}) > 1:  # the batch sizes that were declared
        for t, shape in zip(made, layer.whole(tensors), strict=True):
            t.shape = tuple(shape)
    return layer.form.pack(made)

