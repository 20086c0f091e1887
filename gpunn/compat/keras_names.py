"""Classes that Keras has at its top, for programs that ask for them by type or derive from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.layers.core import Input
from gpunn.layers.layer import Layer
from gpunn.layers.symbolic import GraphOperation, SymbolicTensor

__all__ = ["KerasTensor", "Operation", "name_scope"]


class _OfTensors(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, SymbolicTensor)


class KerasTensor(metaclass=_OfTensors):
    """A symbolic tensor, such as `Input` and layers applied to it give: ``isinstance`` tells.

    Args:
        shape: With the batch axis first, None for an axis of any length.
        dtype: As for `Input`; by default floatx.
        sparse, ragged: Must be false, since tensors here are dense.
        record_history: Accepted as in Keras, and ignored.
        name: As for `Input`.

    Raises:
        ValueError: if ``sparse`` or ``ragged`` is true, and as for `Input`.

    >>> import gpunn
    >>> isinstance(gpunn.layers.Dense(2)(gpunn.Input((3,))), KerasTensor)
    True
    >>> KerasTensor((None, 3)).shape
    (None, 3)
    """

    def __new__(
        cls, shape: Sequence[int | None], dtype: Any = None, sparse: bool = False,
        ragged: bool = False, record_history: bool = True, name: str | None = None,
    ) -> Any:
        if sparse or ragged:
            raise ValueError(
                f"KerasTensor: tensors are dense; got sparse={sparse!r}, ragged={ragged!r}. "
                f"fit and predict take sparse matrices of SciPy as x."
            )
        return Input(batch_shape=shape, dtype=dtype, name=name)


class _OfOperations(type(Layer)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is Operation:
            return isinstance(instance, GraphOperation)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if cls is Operation:
            return issubclass(subclass, GraphOperation)
        return super().__subclasscheck__(subclass)


class Operation(Layer, metaclass=_OfOperations):
    """What can be applied to symbolic tensors: layers and models are operations.

    One of your own defines ``call``; it is a layer without parameters.

    >>> import gpunn
    >>> class _Twice(Operation):
    ...     def call(self, x):
    ...         return 2 * x
    >>> _Twice()([1.0, 2.0]).tolist(), _Twice()(gpunn.Input((3,))).shape
    ([2.0, 4.0], (None, 3))
    >>> isinstance(gpunn.layers.Dense(2), Operation)
    True
    """

    _abstract = True


class name_scope:
    """A ``with`` block for names, as in Keras. Nothing is named differently in it: the paths of
    parameters come from the layers that hold them.

    Args:
        name: Of the scope, without a slash.
        caller, deduplicate, override_parent: Accepted as in Keras, and ignored.

    Raises:
        ValueError: if the name is no string, or has a slash.

    >>> with name_scope("block") as scope:
    ...     scope.name
    'block'
    """

    def __init__(
        self, name: str, caller: Any = None, deduplicate: bool = True, override_parent: Any = None
    ) -> None:
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"name_scope: name is a string without a slash; got {name!r}.")
        self.name = name

    def __enter__(self) -> name_scope:
        return self

    def __exit__(self, *error: Any) -> None: ...
