"""Variables: arrays that custom layers and functions keep from step to step; and the state of an
optimizer or metric, which keeps it elsewhere, as variables."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.holds import Access
from gpunn.core.operators import Kept
from gpunn.core.recording import recorded, refuse
from gpunn.core.storage import Parameter

from .conversion import convert, variable_value
from .dtypes import floating, integers_of, named, standard
from .gather_scatter.checks import assign_in_trace
from .tensor import Tensor, constant
from .trace import current


class Variable(Kept, metaclass=ABCMeta):
    """An array that can be assigned to, and keeps its value from step to step.

    A layer's call, a loss and so on read its current value in each step, so a callback may assign
    to it. Assignments in a trace run in each step, in the order in which they were written; later
    reads get the new value. A variable that is an attribute of a layer, or of a model with a
    `call`, or in a list, tuple or dictionary that is one, becomes a weight: it is trained and
    saved.

    Operators and the methods of arrays work as on a `gpunn.ops.Tensor`.

    Args:
        initializer: the first value: numbers, a function of a shape and a dtype, or the name of an
            initializer.
        shape: used if the initializer is a function or a name; other values broadcast to it.
        dtype: floatx by default; assigned values are converted to it.
        trainable: whether updates change it, once it is a weight of a layer or model.
        name: used in messages.
        initial_value: TensorFlow's name for the first argument.

    >>> from gpunn import Variable
    >>> v = Variable([1.0, 2.0])
    >>> v.assign_add([1.0, 1.0]).tolist(), (v * 2).tolist()
    ([2.0, 3.0], [4.0, 6.0])
    """

    _constraint: Any = None
    _regularizer: Any = None
    _place: tuple[Any, Array] | None = None  # the backend and array of steps, if any
    may_be_weight = True
    """Whether it becomes a weight as an attribute of a layer or model."""
    of_metric = False
    """Whether it is the state of a metric, which changes only where metrics count."""

    def __init__(
        self,
        initializer: Any = 0.0,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        *,
        initial_value: Any = None,
    ) -> None:
        self.declared = named(dtype)  # assigned values are converted to this dtype
        dtype = standard(dtype)
        if initial_value is not None:
            initializer = initial_value
        if isinstance(initializer, str):
            initializer = registry.get("initializer", initializer)
        if callable(initializer):
            initializer = initializer(tuple(shape or ()), floating(dtype))
        first = convert(initializer, self.declared).numpy()
        if shape is not None and first.shape != tuple(shape):
            first = np.broadcast_to(first, tuple(shape)).copy()
        self.first = first  # restored by `reset`
        self.own_name, self.trainable = name, trainable
        self.name = name or "variable"
        self._value = constant(first, dtype)
        self.access = Access()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, a tuple of integers; assigned values must have it too.

        >>> Variable([1.0, 2.0]).shape
        (2,)
        """
        return self._value.shape

    @property
    def dtype(self) -> str:
        """The name of the dtype that the value is stored in, such as ``"float32"``.

        >>> Variable(1, dtype="int32").dtype
        'int32'
        """
        return self._value.dtype

    @property
    def constraint(self) -> Any:
        """What optimizers apply after each update, by name or object; None by default.

        >>> v = Variable([1.0, 2.0])
        >>> v.constraint = "non_neg"
        >>> v.constraint
        NonNeg()
        """
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Any) -> None:
        registry.record_change()
        self._constraint = None if constraint is None else registry.get("constraint", constraint)
        registry.record_change()

    @property
    def regularizer(self) -> Any:
        """The penalty on it, by name or object, once it is a weight; None by default.

        >>> v = Variable([1.0, 2.0])
        >>> v.regularizer = "l2"
        >>> v.regularizer
        L2(l2=0.01)
        """
        return self._regularizer

    @regularizer.setter
    def regularizer(self, regularizer: Any) -> None:
        registry.record_change()
        self._regularizer = registry.get("regularizer", regularizer) if regularizer else None
        registry.record_change()

    @property
    def training_options(self) -> tuple[Any, ...]:
        """Its training options, as of `Parameter`."""
        return self._constraint, getattr(self._constraint, "parameters", None)

    @property
    def value(self) -> Tensor:
        """The value as a tensor; in a trace, the value in that step. See `as_tensor`.

        >>> Variable([1.0, 2.0]).value.tolist()
        [1.0, 2.0]
        """
        return self.as_tensor()

    def as_tensor(self) -> Tensor:
        """Return the value as a tensor, which later assignments do not change.

        In a trace, it is the value in that step, after the assignments written before.

        >>> v = Variable([1.0, 2.0])
        >>> before = v.as_tensor()
        >>> after = v.assign([3.0, 4.0])
        >>> before.tolist(), v.as_tensor().tolist()
        ([1.0, 2.0], [3.0, 4.0])
        """
        return variable_value(self)

    def array_on(self, backend: Backend) -> Array:
        """Return the array that steps on a backend read and assign.

        It is created at the first call, with the current value.

        Raises:
            ValueError: if steps on another device use it already.

        >>> import gpunn
        >>> Variable([1.0, 2.0]).array_on(gpunn.get_backend("numpy"))
        array([1., 2.], dtype=float32)
        """
        place = self._place
        if place is None:  # without its access, which may not be asked for under a stream lock
            value = self._value
            array = backend.upload(value.numpy()).reshape(self.shape)
            place = vars(self).setdefault("_place", (backend.root, array))  # in one step
            if place[1] is array and self._value is not value:  # assigned to meanwhile
                backend.write(array, self._value.numpy())
        there, found = place
        if not self.is_on(backend):
            raise ValueError(
                f"{self.name} is used by steps on {there.name!r}, and cannot be by others on "
                f"{backend.name!r}: it has one value. Create a variable for each, or run all of "
                f"them on one backend, see gpunn.use_backend."
            )
        return found

    def is_on(self, backend: Backend) -> bool:
        """Whether its array can be used on a backend: it has none yet, or one in this memory."""
        return self._place is None or backend.reaches(self._place[0])

    def values_on(self, backend: Backend) -> Array:
        """Return an array with the value that is stored now, to copy from: the array of steps, if
        it is on this backend; else one of NumPy."""
        if self._place is not None and self.is_on(backend):
            return self._place[1]
        return self.stored()

    def stored(self) -> np.ndarray:
        """Return a copy of the value that is stored now, inside a trace too."""
        return self.access.read(self._stored)

    def _stored(self) -> np.ndarray:
        if self._place is None:
            return self._value.numpy()
        backend, array = self._place
        return backend.read(array)

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_value": constant(self.stored(), self.dtype)}
        state.pop("_place", None)
        return state

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy().astype(dtype or self.dtype, copy=False)

    @recorded
    def assign(self, value: Any) -> Tensor:
        """Set the value, which must have the variable's shape; it is converted to its dtype.

        Args:
            value: numbers or a tensor.

        Returns:
            the new value as a tensor.

        Raises:
            ValueError: for another shape.

        >>> v = Variable([1.0, 2.0])
        >>> v.assign([3.0, 4.0]).tolist(), v.tolist()
        ([3.0, 4.0], [3.0, 4.0])
        """
        value = convert(value, self.declared)
        if value.shape != self.shape:
            raise ValueError(
                f"{self.name} has the shape {self.shape}; got a value of shape {value.shape}."
            )
        if not assign_in_trace(self, value):
            self.write(value.numpy())
        return value

    def write(self, numbers: np.ndarray) -> None:
        """Write numbers of its shape to the variable, and to its arrays on backends.

        Unlike `assign`, it neither checks the shape nor becomes part of a trace.

        >>> v = Variable([1.0, 2.0])
        >>> v.write(np.array([3.0, 4.0])); v.tolist()
        [3.0, 4.0]
        """
        refuse(f"it writes to {self.name}: use assign.")
        with self.access.writing():
            self._value = constant(numbers, self.dtype)
            if self._place is not None:
                backend, array = self._place
                backend.write(array, self._value.numpy())

    @recorded
    def reset(self) -> None:
        """Restore the value that the variable was created with.

        >>> v = Variable([1.0, 2.0])
        >>> changed = v.assign([3.0, 4.0])
        >>> v.reset(); v.tolist()
        [1.0, 2.0]
        """
        self.assign(self.first)

    def __repr__(self) -> str:
        return f"<Variable {self.name} {constant(self.numpy(), self.dtype)!r}>"


Variable.register(Parameter)  # the weights of layers are variables


class VariableWeight(Parameter, Variable):
    """A weight that was created as a variable: the same object, whoever else holds it."""

    was_variable = True
    _created_as: type = Variable
    shape: Any = ()  # an attribute, as of parameters
    value = property(Variable.as_tensor)

    @property
    def stored_dtype(self) -> str | None:
        # Its own dtype decides nothing: the storage that it comes to has that of the model.
        return None if self.storage is None else self.storage.dtype

    @property
    def dtype(self) -> Any:
        kept = self.kept  # in this order: another thread may store it
        return super().dtype or kept.dtype.name  # type: ignore[union-attr]

    @property
    def _value(self) -> Tensor:
        """The value, for methods of the variable which another thread began before."""
        return self.as_tensor()

    @_value.setter
    def _value(self, value: Tensor) -> None:
        Parameter.write(self, value.numpy())

    def reset(self) -> None:
        """Raise a TypeError: it keeps no first value."""
        raise TypeError(
            f"{self.path} is a weight, which keeps no first value: v.assign(value) instead."
        )

    def __reduce__(self) -> Any:
        return _empty, (self._created_as,), self.__getstate__()


def become_weight(variable: Variable, layer: Any, name: str) -> None:
    """Make a variable, which others hold too, a weight of a layer; a subclass of `Variable` keeps
    its methods, and the object its other attributes."""
    kind = weight_class(type(variable))
    with variable.access.writing():
        weight = Parameter(
            variable.shape, None, variable.own_name or name, variable.trainable,
            integers=integers_of(variable.declared),
        )
        weight.layer, weight.kept = layer, variable.stored()
        made = {k: v for k, v in vars(weight).items() if k not in ("constraint", "regularizer")}
        record = registry.record_change if variable._place is None else registry.record_move
        record()  # also before, an interrupt may follow
        vars(variable).update(made)  # which the class hides, until it is another
        variable.__class__ = kind
        for former in ("_value", "_place", "first", "access"):
            vars(variable).pop(former, None)
        record()


@cache
def weight_class(kind: type) -> Any:
    """Return the class of weights that were created as variables of a class."""
    if kind is Variable:
        return VariableWeight
    own = {"__module__": kind.__module__, "__doc__": kind.__doc__, "_created_as": kind}
    return type(kind)(kind.__name__, (kind, VariableWeight), own)


def _empty(kind: type) -> Any:
    """Return a weight without attributes, which a copy gets from the original."""
    cls = weight_class(kind)
    return cls.__new__(cls)


class StateVariable(Variable):
    """A part of the state of an optimizer or metric, which is read and written where that keeps it.

    Between steps only: a step has a state of its own.
    """

    may_be_weight = False

    def __init__(
        self, path: str, shape: tuple[int, ...], dtype: str, read: Callable[[], np.ndarray],
        put: Callable[[np.ndarray], None], access: Access | None = None,
    ) -> None:
        self.path, self._shape, self._dtype, self.access = path, shape, dtype, access or Access()
        self.declared, self.trainable, self._read, self._put = dtype, False, read, put
        self.name = self.own_name = path.rpartition("/")[2]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> str:
        return self._dtype

    def _stored(self) -> np.ndarray:
        return self._read()

    def write(self, numbers: np.ndarray) -> None:
        self._refuse()
        with self.access.writing():
            self._put(numbers)

    def numpy(self) -> np.ndarray:
        self._refuse()
        return self.stored()

    def as_tensor(self) -> Any:
        self._refuse()
        return super().as_tensor()

    def array_on(self, backend: Backend) -> Array:
        self._refuse()
        return backend.upload(self.stored())

    def __eq__(self, other: object) -> Any:
        return self.as_tensor() == other

    __hash__ = Variable.__hash__

    def _refuse(self) -> None:
        if (trace := current()) is not None:
            trace.refuse_values(f"the state {self.path}")

    def __reduce__(self) -> Any:  # a copy is a variable of its own
        return Variable, (self.stored(), self.shape, self.dtype, False, self.name)
