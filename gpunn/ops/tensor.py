"""Tensors, and the operations on them by name.

Tensors are the arguments and results of operations, with values or with the way to compute them.
Python's operators, symbolic tensors and saved models find operations by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Number
from typing import Any, Protocol, TypeVar

import numpy as np

from gpunn.core.operators import FUNCTIONS, Operators
from gpunn.core.recording import active

Shape = tuple[int, ...]
Function = TypeVar("Function", bound=Callable[..., Any])

KEEPS_MESSAGES = frozenset(
    ("get_item", "cond", "map", "vectorized_map", "fori_loop", "while_loop", "scan",
     "associative_scan")
)
"""Operations whose errors keep their messages: user-defined functions raise in them, or it is the
operator ``x[...]``."""


class NeedsValuesError(TypeError):
    """Values of a placeholder were asked for."""


class UnknownShapeError(NeedsValuesError, ValueError):
    """The shape of a result depends on values of a placeholder."""


class Home(Protocol):
    """Where the values of tensors are, and operations on them are computed."""

    backend: Any

    def compute(
        self, primitive: Any, shape: Shape, dtype: str, inputs: Sequence[Tensor],
        attributes: dict[str, Any],
    ) -> Tensor:
        """Compute an operation on tensors with values at once."""


class Symbolic(Operators):
    """Base of placeholders for tensors in a graph of layers; operations on them give more of them.

    `gpunn.layers` defines what happens then, in `apply_symbolic`.
    """


class Tensor(Operators):
    """An array of numbers, created by operations and by `gpunn.ops.convert_to_tensor`.

    Outside a trace it has values and behaves as an array: ``numpy()``, ``float(t)``, ``t[0]``,
    ``len(t)``, iteration, printing. Inside a trace it is a placeholder for the values of each step:
    it has only a shape and a dtype, and reading its values raises an error that says what to write
    instead. Functions are traced (a layer's ``call``, a custom loss or activation) by calling them
    once for all steps.

    Tensors are immutable. Python's operators are operations on them: ``-x``, ``x + 1``, ``x @ w``,
    ``x[:, 0]``, ``x > 0``, ``x == y`` (element-wise) and ``x & y`` (bitwise for integers, else
    logical).

    Attributes:
        shape: a tuple of integers.
        dtype: ``"bool"``, ``"int32"``, ``"float32"`` or ``"float64"``.
        home: where its values are and what is computed from them; None: on the host, by NumPy.
        is_constant: whether the values are the same in each step.
        primitive, inputs, attributes: the operation that computes it; primitive is None for a leaf.
        trace: the number of its trace, if it belongs to one.
        position: its place in that trace.
        part_of: the variable and the key, if it is ``v[key]``.

    >>> from gpunn import ops
    >>> t = ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> t.shape, t.dtype, float(ops.sum(t)), (t * 2)[0].tolist()
    ((2, 2), 'float32', 10.0, [2.0, 4.0])
    """

    trace: int | None = None
    position = 0  # the place in its trace
    home: Home | None = None
    _array: Any = None  # of the home's backend
    _later: Callable[[], np.ndarray] | None = None  # reads values that belong on the host
    part_of: Any = None  # the variable and the key of ``v[key]``
    skips: Any = None  # a tensor and a function of it, see `gradients.skipping`

    def __init__(
        self,
        shape: Shape,
        dtype: str,
        value: np.ndarray | None = None,
        primitive: Any = None,
        inputs: Sequence[Tensor] = (),
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.value = value
        self.is_constant = value is not None
        self.primitive = primitive
        self.inputs = tuple(inputs)
        self.attributes = attributes or {}

    @classmethod
    def at(cls, home: Home, array: Any, shape: Shape, dtype: str) -> Tensor:
        """Create a constant whose values are in an array of a backend that is never written to
        again.

        Args:
            home: where the array is; None: on the host, an array of NumPy.
            array: the array of the backend, with as many elements as the shape.
            shape, dtype: of the tensor.

        >>> Tensor.at(None, np.ones(2, "float32"), (2,), "float32").tolist()
        [1.0, 1.0]
        """
        made = cls(shape, dtype)
        made.put(home, array)
        made.is_constant = True
        return made

    @classmethod
    def later(cls, read: Callable[[], np.ndarray], shape: Shape, dtype: str) -> Tensor:
        """Create a constant on the host whose values are read when someone looks at them.

        >>> Tensor.later(lambda: np.ones(2, "float32"), (2,), "float32").tolist()
        [1.0, 1.0]
        """
        made = cls(shape, dtype)
        made._later, made.is_constant = read, True
        return made

    def put(self, home: Home, array: Any) -> None:
        """Give it values: an array of the backend of ``home``, which is never written to again.

        >>> t = leaf((2,), "float32")
        >>> t.put(None, np.array([1.0, 2.0], "float32"))
        >>> t.tolist()
        [1.0, 2.0]
        """
        self.home, self._array, self._later = home, array, None
        self._value = array if type(array) is np.ndarray else None

    def array_at(self, backend: Any) -> Any:
        """Return the array of its values if they are where a backend computes; else None.

        A tensor without a home has its values on the host only.

        >>> import gpunn
        >>> constant([1.0], "float32").array_at(gpunn.get_backend()) is None
        True
        """
        if active.watcher is not None:
            active.watcher.asked(self, "values of a tensor")
        if self.home is None:
            return None
        return self._array if backend.reaches(self.home.backend) else None

    def without_inputs(self) -> Tensor:
        """Return its values without the memory of what they were computed from.

        The memory of intermediate results can then be freed; no gradient flows through the result.

        >>> t = constant([1.0, 2.0], "float32")
        >>> t.without_inputs().tolist()
        [1.0, 2.0]
        """
        if self.primitive is None or self.home is None:
            return self
        return Tensor.at(self.home, self._array, self.shape, self.dtype)

    @property
    def value(self) -> np.ndarray | None:
        """The values on the host, as a NumPy array that must not be written to.

        It is None inside a trace, except in eager steps. A device is waited for, and read once.

        >>> constant([1.0, 2.0], "float32").value
        array([1., 2.], dtype=float32)
        """
        if active.watcher is not None:
            active.watcher.asked(self, "values of a tensor")
        if self._value is None and self.home is not None:
            self._value = self.home.backend.read(self._array)
        elif self._value is None and (read := self._later) is not None:
            self._value = np.array(read(), self.dtype, order="C")
            self._later = None
        return self._value

    @value.setter
    def value(self, value: np.ndarray | None) -> None:
        self._value, self._array, self.home, self._later = value, None, None, None

    @property
    def has_values(self) -> bool:
        """Whether it has values, on whichever device; a placeholder of a trace has none.

        >>> constant(1.0, "float32").has_values, leaf((), "float32").has_values
        (True, False)
        """
        return self.home is not None or self._is_on_host

    @property
    def is_number(self) -> bool:
        """Whether it is a single constant number that belongs on the host.

        >>> constant(1.0, "float32").is_number, constant([1.0, 2.0], "float32").is_number
        (True, False)
        """
        return self.is_constant and self._is_on_host and self.size == 1

    @property
    def _is_on_host(self) -> bool:
        return self._value is not None or self._later is not None

    @property
    def size(self) -> int:
        """The number of elements, a Python integer, which is the product of the sizes in its shape.

        >>> constant([[1, 2, 3], [4, 5, 6]], "int32").size
        6
        """
        return math.prod(self.shape)

    # -- as an array

    def numpy(self) -> np.ndarray:
        """Return a copy of the values as a NumPy array, with the shape and dtype of the tensor.

        Raises:
            TypeError: inside a trace, where there are no values.

        >>> constant([1.0, 2.0], "float32").numpy()
        array([1., 2.], dtype=float32)
        """
        return self._numbers("numpy()").copy()

    def tolist(self) -> Any:
        """Return the values as nested Python lists; a scalar as a number.

        Raises:
            TypeError: inside a trace, where there are no values.

        >>> constant([[1, 2], [3, 4]], "int32").tolist()
        [[1, 2], [3, 4]]
        """
        return self._numbers("tolist()").tolist()

    def item(self) -> Any:
        """Return the single value as a Python number: a bool, an int or a float.

        Raises:
            TypeError: inside a trace, where there are no values.
            ValueError: if it has more than one element, or none.

        >>> constant(1.5, "float32").item()
        1.5
        """
        return self._numbers("item()").item()

    def __reduce__(self) -> tuple[Any, ...]:
        return constant, (self._numbers("pickle or copy.deepcopy"), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._numbers("a NumPy function").astype(dtype or self.dtype)

    def __float__(self) -> float:
        return float(self._numbers("float()").item())

    def __int__(self) -> int:
        return int(self._numbers("int()").item())

    def __index__(self) -> int:
        return self._numbers("an index").__index__()

    def __bool__(self) -> bool:
        return bool(self._numbers("`if`, `while`, `and`, `or` or `not`"))

    def assign(self, value: Any) -> Any:
        """Assign to the part of a variable that this is: ``v[0].assign(1.0)``.

        Args:
            value: numbers or a tensor, which broadcasts to the part.

        Returns:
            the new value of the whole variable.

        Raises:
            TypeError: for any other tensor, as tensors are immutable.

        >>> import gpunn
        >>> v = gpunn.Variable([1.0, 2.0])
        >>> v[0].assign(5.0).tolist()
        [5.0, 2.0]
        """
        if self.part_of is None:
            raise TypeError(
                "a tensor is immutable: only a gpunn.Variable and its parts, v[0, 1], can be "
                "assigned to. Make one of the tensor, gpunn.Variable(x)."
            )
        variable, key = self.part_of
        return variable.assign_part(key, value)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "a tensor is immutable: choose with ops.where(condition, new, old), or replace a part "
            "with ops.slice_update or ops.scatter_update."
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length.")
        return self.shape[0]

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if form else str(self)

    def __eq__(self, other: Any) -> Any:
        return FUNCTIONS["equal"](self, other) if _is_numeric(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return FUNCTIONS["not_equal"](self, other) if _is_numeric(other) else NotImplemented

    __hash__ = object.__hash__

    def _numbers(self, asked: str) -> np.ndarray:
        if active.watcher is not None:
            active.watcher.asked(self, f"{asked} of a tensor")
        value = self.value
        if value is None:
            raise NeedsValuesError(
                f"{asked} needs the values of a tensor of shape {self.shape}, a placeholder for "
                f"those of each step: it has none yet. Choose with ops.where(condition, a, b) "
                f"instead of `if`, and compute with gpunn.ops instead of numpy. To look at values "
                f"while debugging, call gpunn.config.run_eagerly(True) first."
            )
        return value

    def __repr__(self) -> str:
        value = self.value
        if value is None:
            return f"<Tensor shape={self.shape}, dtype={self.dtype}, of each step>"
        numbers = np.array2string(value, separator=", ", prefix="<Tensor ")
        return f"<Tensor {numbers}, shape={self.shape}, dtype={self.dtype}>"


def _is_numeric(x: Any) -> bool:
    """Whether a tensor is compared with ``x`` element by element, or this is refused; anything else
    is different."""
    return isinstance(x, (Operators, Number, str, list, tuple)) or hasattr(x, "__array__")


def leaf(shape: Sequence[int], dtype: str) -> Tensor:
    """Create a tensor whose values are known only in each step: an input of a trace."""
    return Tensor(tuple(shape), dtype)


def constant(values: Any, dtype: str) -> Tensor:
    array = np.array(values, dtype, order="C")  # row-major, as operations expect
    return Tensor(array.shape, dtype, array)


on_graphs: list[Callable[..., Any]] = []
"""The function that applies operations to symbolic tensors; set by `gpunn.layers`."""


def operation(function: Function, name: str = "") -> Function:
    """Register ``function`` as an operation under its name.

    With a symbolic tensor anywhere in its arguments, a call becomes a node of the graph.
    """
    known_as = name or function.__name__
    if "<locals>" in function.__qualname__:  # of a factory: Python's messages say this name
        function.__qualname__ = function.__name__

    @wraps(function)
    def performed(*args: Any, **kwargs: Any) -> Any:
        if any(map(_is_symbolic, (*args, *kwargs.values()))):
            return on_graphs[0](known_as, args, kwargs)
        if (watcher := active.watcher) is not None and watcher.records:
            return watcher.call(performed, args, kwargs, False)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, IndexError) as error:
            _name(error, known_as)
            raise

    performed.__name__ = performed.__qualname__ = known_as
    performed.__module__ = "gpunn.ops"  # where users, and pickles, find it
    if "." not in known_as:  # others are imported when they are first used
        FUNCTIONS[known_as] = performed
    return performed  # type: ignore[return-value]


def _name(error: Exception, name: str) -> None:
    """Let the message of an error begin with the operation that was called, in place of one that
    is part of it. Python's own message about a call's signature stays."""
    text = error.args[0] if len(error.args) == 1 else None
    within = error.__traceback__.tb_next if error.__traceback__ else None
    if name not in KEEPS_MESSAGES and isinstance(text, str) and within is not None:
        part, colon, rest = text.partition(": ")
        inner = colon and (part in FUNCTIONS or part in ("indexing", "x[indices]"))
        error.args = (f"{name}: {rest if inner else text}",)


def operation_named(name: str) -> Callable[[Function], Function]:
    """Return `operation` for another name than the function's, such as a Python built-in's."""
    return lambda function: operation(function, name)


class _ByName:
    """Late-bound access, ``ops.where(...)``, to operations that are defined elsewhere or later."""

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        if name.startswith("__"):
            raise AttributeError(name)
        from .absent import complaint  # only for a message

        raise AttributeError(complaint(name))


ops = _ByName()


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, Symbolic) or (isinstance(x, (list, tuple)) and any(map(_is_symbolic, x)))
