"""The base class of losses: a formula per row, its gradient, and a reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np

from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.arguments import check_dtype
from gpunn.common.fields import field
from gpunn.common.names import closest, snake_case
from gpunn.common.nested import found_in
from gpunn.common.overrides import is_framework, replaces
from gpunn.common.parts import Formula, OfFunction, described_as, fill_in, lookups
from gpunn.core.recording import recorded
from gpunn.ops.conversion import is_known, read_in_trace, tensors_of
from gpunn.ops.tensor import Tensor

from . import on_tensors
from .rows import align, check_equal, reduce_rows

__all__ = ["Loss", "deserialize", "get", "serialize"]

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


def _check_reduction(name: str, value: Any) -> str | None:
    if value not in REDUCTIONS:
        hint = closest(str(value), [r for r in REDUCTIONS if r])
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected one of "
            f"{', '.join(map(str, REDUCTIONS))}. Received: {value!r}.{hint}"
        )
    return value


class Loss(Formula):
    """Base class of losses. A subclass defines `call` with `gpunn.ops`, or `forward` and
    `backward` on arrays.

    Rows are samples. A prediction with more than two axes has one row for each index
    into all axes but the last. In training, the backend applies ``scale`` and sample
    weights; the formulas here are for single, unweighted rows.

    A loss is called as ``loss(y_true, y_pred, sample_weight=None)`` and returns a tensor: a
    number, or with ``reduction="none"`` the value of each row, (...) for predictions (..., n).

    Args:
        name: shown in logs; a subclass of a built-in loss inherits its name, as in Keras.
        reduction: ``"sum_over_batch_size"`` (the mean over rows), ``"sum"``,
            ``"mean_with_sample_weight"`` (divided by the sum of the weights) or
            ``"none"``.
        dtype: of the result; by default the dtype of ``y_pred``.

    Attributes:
        functor: name of the formula of the kernels, in
            ``kernels/formulas/generated_losses.cuh``; None if they have none.
        parameter_names: attributes that are passed to this formula.
        sparse: True if ``y_true`` holds one class number per row instead of a row of targets.
        fuses: name of the activation that can be fused with this loss, which then takes
            the activation's input (``"Softmax"`` for categorical cross-entropy).
        counts_matches: True if a pass also counts the correctly predicted rows.
        predictions: kind of the predictions: ``"probabilities"``, ``"logits"``, ``"scores"``
            (with the decision threshold at 0), or None for any values.
        link: name of the activation that converts logits or scores to probabilities.
        targets: ``"bits"`` (0 or 1), ``"signs"`` (-1 or 1), or None for any values.

    >>> from gpunn.losses import Loss
    >>> class _Squared(Loss):
    ...     def forward(self, backend, y_true, y_pred, values):
    ...         values[...] = ((y_pred - y_true) ** 2).sum(axis=-1)
    ...     def backward(self, backend, y_true, y_pred, gradient):
    ...         gradient[...] = 2 * (y_pred - y_true)
    >>> float(_Squared()([[1.0, 2.0]], [[1.0, 4.0]]))
    4.0
    """

    _kind = "loss"
    __experimental__ = frozenset(
        {"add_up", "axis", "counts_matches", "fuses", "fuses_with", "ignore_class", "link"}
        | {"on_arrays", "output_sample", "predictions", "sparse", "target_sample", "targets"}
        | {"output_sample", "predictions", "sparse", "target_sample", "targets"}
    )
    _not_watched = frozenset({"on_arrays"})
    _refused: ClassVar[Mapping[str, str]] = {
        "__call__": "write call(y_true, y_pred), in terms of gpunn.ops, or forward(backend, "
        "y_true, y_pred, values) and backward(backend, y_true, y_pred, gradient)",
        **dict.fromkeys(
            ("forward", "backward"),
            "write forward_backward(backend, y_true, y_pred, values, gradient): this loss "
            "computes both at once",
        ),
    }
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "forward": ("forward_backward",),
        "backward": ("forward_backward",),
    }
    # Not annotated: type checkers take annotated attributes for constructor arguments.
    output_sample = cast("tuple[int, ...] | None", None)
    target_sample = cast("tuple[int, ...] | None", None)
    """Shapes of one sample of predictions and targets, for a loss that defines `call`."""
    sparse = False
    fuses: ClassVar[str | None] = None
    counts_matches = False
    predictions: ClassVar[str | None] = None
    link: ClassVar[str | None] = None
    targets: ClassVar[str | None] = None
    ignore_class = cast("int | None", None)
    _functor_of_rows = cast("str | None", None)
    """The functor for rows of any class, of a loss that ignores one."""
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = {"functor": None, "_functor_of_rows": None}
    axis = -1
    _of_sequences = False
    """Whether a sample of targets is a sequence, of another length than the predictions."""
    _compares_samples = False
    """Whether the value of a sample depends on the others of its batch."""

    name: str | None = field(default=None, kw_only=True, placed=True)
    reduction: str | None = field(
        default="sum_over_batch_size", check=_check_reduction, kw_only=True, placed=True
    )
    dtype: Any = field(default=None, check=check_dtype, kw_only=True, placed=True)

    @cached_property
    def on_arrays(self) -> Any:
        """`call`, if defined, as a function of arrays; traced once for each kind of arrays."""
        return on_tensors.on_arrays(self)

    def __post_init__(self) -> None:
        self.name = self.name or snake_case(registry.built_in(type(self)).__name__)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "call" in vars(cls):
            for name, value in ({"_of_tensors": True} if is_framework(cls) else _BY_CALL).items():
                setattr(cls, name, value)
        elif {"forward", "forward_backward", "elements"} & vars(cls).keys():
            cls._of_tensors = False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss of each sample from tensors (batch, ...).

        A subclass that defines it with `gpunn.ops` needs no derivative. Targets have the dtype
        of the predictions and any shape with one entry per sample. Further axes of the result
        are averaged, or summed with ``reduction="sum"``. A scalar result applies to the whole
        batch.
        """
        from .as_operations import of_rows  # which a `fit` of built-in parts does not need

        return of_rows(self, y_true, y_pred)

    def _joins_samples(self, ndim: int) -> bool:
        """Whether the values of `call` for tensors of ``ndim`` axes are those of a batch."""
        return False

    def forward(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        """values (rows,) = the loss of each row; y_pred (rows, n)."""
        raise TypeError(
            f"{type(self).__name__} must define call(y_true, y_pred), or "
            f"forward(backend, y_true, y_pred, values)."
        )

    def backward(self, backend: Backend, y_true: Array, y_pred: Array, gradient: Array) -> None:
        """gradient (rows, n) = derivative of each row's loss with respect to its predictions."""
        raise TypeError(
            f"{type(self).__name__} must define backward(backend, y_true, y_pred, gradient)."
        )

    def forward_backward(
        self, backend: Backend, y_true: Array, y_pred: Array, values: Array, gradient: Array | None
    ) -> None:
        """Compute both in one pass. Losses whose value and gradient share work override this."""
        self.forward(backend, y_true, y_pred, values)
        if gradient is not None:
            self.backward(backend, y_true, y_pred, gradient)

    def fuses_with(self, activation: Any) -> bool:
        """Whether a step computes it from what an activation is applied to, see `fuses`."""
        if self.fuses is None or self.predictions == "logits":
            return False
        fuses = getattr(activation, "functor", None) == self.fuses
        return fuses and not replaces(type(self), "forward_backward", "elements")

    def add_up(self, backend: Backend, *arguments: Any) -> None:
        """Do what `Backend.loss` does with these arguments: a loss that defines `call` as
        operations on tensors, any other as one operation of the backend."""
        if self._of_tensors:
            on_tensors.add_up(self, backend, *arguments)
        else:
            backend.loss(self, *arguments)

    def check(self, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
        """Raise an error for shapes that do not match.

        Raises:
            ValueError: naming both shapes.
        """
        check_equal(self.name, y_true_shape, y_pred_shape, " Nothing is broadcast in a loss.")

    def _check_labels(self, labels: np.ndarray, sample: tuple[int | None, ...]) -> None:
        """Raise a ValueError for labels of data for which predictions of this shape are too few."""

    @recorded
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss as a tensor: a number, or one per row with ``reduction="none"``.

        Steps of sequences that the mask of ``y_pred`` leaves out do not count, as in Keras. A
        `call` of one's own gets tensors in lists and dictionaries, if ``y_pred`` holds such.
        """
        several = isinstance(y_pred, (dict, list, tuple))
        if several and next(found_in(y_pred, Tensor), None) is not None:
            return on_tensors.of_groups(self, y_true, y_pred, sample_weight)
        if (mask := getattr(y_pred, "_keras_mask", None)) is not None:
            on_tensors.check_mask(self, mask)
            sample_weight = on_tensors.masked(mask, sample_weight, self, y_true)
        y_true, y_pred = read_in_trace(y_true), read_in_trace(y_pred)
        tensors = [y for y in (y_true, y_pred) if isinstance(y, Tensor)]
        if self._of_tensors or (tensors and not is_known(*tensors)):
            return on_tensors.reduced(self, y_true, y_pred, sample_weight)
        if self.axis not in (-1, np.ndim(y_pred) - 1):
            y_pred = np.moveaxis(np.asarray(y_pred), self.axis, -1)
            if np.ndim(y_true) == np.ndim(y_pred):
                y_true = np.moveaxis(np.asarray(y_true), self.axis, -1)
        y_pred = host_array(y_pred, self.dtype)
        y_true, y_pred = align(self, y_true, y_pred)
        backend = get_backend("numpy")
        rows = y_pred.reshape(-1, y_pred.shape[-1])
        values = np.empty(len(rows), y_pred.dtype)
        targets = y_true.reshape(-1) if self.sparse else y_true.reshape(rows.shape)
        self.forward_backward(backend, targets, rows, values, None)
        values = values.reshape(y_pred.shape[:-1])
        counted = None
        if self.ignore_class is not None and self.reduction == "mean_with_sample_weight":
            counted = y_true != self.ignore_class
        return tensors_of(reduce_rows(values, sample_weight, self.reduction, counted))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {name: value for name, value in config.items() if name != "dtype" or value}


# Attributes of a custom class that defines `call`: nothing else of a built-in base class computes.
_BY_CALL: dict[str, Any] = {
    "_of_tensors": True, "functor": None, "_functor_of_rows": None, "sparse": False,
    "fuses": None, "counts_matches": False, "predictions": None, "link": None, "targets": None,
}


class FunctionLoss(OfFunction, Loss):
    """A custom function as a loss: ``fn(y_true, y_pred)`` on tensors, written with `gpunn.ops`.

    `get` creates one. See `Loss.call` for the arguments and the result of the function.

    >>> from gpunn import losses, ops
    >>> loss = losses.get(lambda t, p: ops.mean(ops.square(t - p), axis=-1))
    >>> float(loss([[1.0, 2.0]], [[1.0, 4.0]]))
    2.0
    """

    _abstract = True
    function_argument = "fn"

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "sum_over_batch_size",
        name: str | None = None, dtype: Any = None, **options: Any,
    ) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be a function of (y_true, y_pred); got {fn!r}.")
        super().__init__(
            name=name or getattr(fn, "__name__", "loss"), reduction=reduction, dtype=dtype
        )
        self.fn, self.options = fn, options

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, Any]:
        config = {"reduction": self.reduction, "name": self.name}
        if self.dtype is not None:
            config["dtype"] = self.dtype
        return {**super().get_config(), **config, **self.options}


class ReductionFirst(Loss):
    """Base class of Keras's losses: ``reduction`` comes before ``name``, unlike in `Loss`."""

    _abstract = True

    reduction: str | None = field(default="sum_over_batch_size", kw_only=True, placed=True)


class BothAtOnce(ReductionFirst):
    """Base class of losses that compute values and gradient together, in `forward_backward`."""

    _abstract = True

    def forward(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        self.forward_backward(backend, y_true, y_pred, values, None)


_row_functions: dict[str, Callable[..., Tensor]] = {}


def row_function(cls: type[Loss]) -> Callable[..., Tensor]:
    """Return the loss as a function of arrays, with the options of the class; `get` accepts it.

    >>> from gpunn import losses
    >>> losses.hinge([[1.0], [1.0]], [[0.5], [3.0]]).tolist()
    [0.5, 0.0]
    """

    def function(y_true: Any, y_pred: Any, **options: Any) -> Tensor:
        """Compute the loss `gpunn.losses.{cls}` of each row, without a mean over the rows.

        The class has the formula. The function is Keras's; it takes arrays or tensors.

        Args:
            y_true: targets {shape}.
            y_pred: predictions, see the class.
            **options: arguments of the class by name, except for ``reduction``.

        Returns:
            A tensor (...) with the loss of each row.

        Raises:
            ValueError: for shapes that do not match.

        >>> from gpunn import losses
        >>> y_true, y_pred = {y_true}, {y_pred}
        >>> found = losses.{name}(y_true, y_pred)
        >>> found.tolist() == losses.{cls}(reduction="none")(y_true, y_pred).tolist()
        True
        """
        return cls(reduction="none", **options)(y_true, y_pred)

    function.__name__ = function.__qualname__ = snake_case(cls.__name__)
    function.__module__ = "gpunn.losses"  # where pickle finds it
    shape, y_true, y_pred = "(..., n)", "[[0.0, 1.0], [1.0, 0.0]]", "[[0.25, 0.75], [0.5, 0.5]]"
    if cls.sparse:
        shape, y_true = "(...), the numbers of the classes", "[1, 0]"
    if cls._of_sequences:
        shape, y_true, y_pred = "(batch, labels)", "[[1], [1]]", "[[[0.0, 1.0]], [[1.0, 1.0]]]"
    words = {"shape": shape, "y_true": y_true, "y_pred": y_pred}
    fill_in(function, {"name": function.__name__, "cls": cls.__name__, **words})
    return _row_functions.setdefault(function.__name__, recorded(function, always=False))


_get, serialize, deserialize = lookups(Loss)


@described_as(_get)
def get(identifier: Any) -> Loss:
    if callable(identifier) and not isinstance(identifier, (type, Loss)):
        name = getattr(identifier, "__name__", repr(identifier))
        if _row_functions.get(name) is identifier:
            identifier = name
    return _get(identifier)
