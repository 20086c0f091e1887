"""Python's operators on tensors, parameters and symbolic tensors, and the methods of arrays. Each
calls an operation by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from .recording import recorded


class Functions(dict[str, Callable[..., Any]]):
    """Operations by name. Some are imported when they are first used.

    A thread finds no operation of a module that another one has imported in part: it waits.

    >>> functions = Functions()
    >>> functions.later("gpunn.ops", {"library.linear": "norm normalize"})
    >>> "norm" in functions, list(functions), len(functions)
    (True, ['norm', 'normalize'], 2)
    """

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, str] = {}
        self._registered: dict[str, Any] = {}  # by modules that may be imported in part

    def later(self, package: str, names: Mapping[str, str]) -> None:
        """Name operations by the module of a package that registers them when it is imported."""
        for module, listed in names.items():
            self._modules |= dict.fromkeys(listed.split(), f"{package}.{module}")

    def __setitem__(self, name: str, function: Any) -> None:
        is_first = name in self._modules and not super().__contains__(name)
        dict.__setitem__(self._registered if is_first else self, name, function)

    def __missing__(self, name: str) -> Any:
        import_module(self._modules[name])
        return self.setdefault(name, self._registered[name])

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(super().__iter__()), **self._modules})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    get, keys = Mapping.get, Mapping.keys  # type: ignore[assignment]
    items, values = Mapping.items, Mapping.values  # type: ignore[assignment]


FUNCTIONS = Functions()
"""The operations by name. `gpunn.ops` registers them here, since it depends on this module."""

ASSIGNED: list[Callable[[Any, Any], bool]] = []
"""Functions that assign a value to a parameter during a trace. `gpunn.ops` registers them here."""
READ: list[Callable[[Any], np.ndarray | None]] = []
"""Functions that return a parameter's values during a trace, or refuse to; None outside of one."""


def _unary(name: str) -> Any:
    return lambda self: FUNCTIONS[name](self)


def _binary(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](self, other)


def _reflected(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](other, self)


def _of_bits(name: str, swapped: bool = False) -> Any:
    """``&`` and similar operators: bitwise for integers, else logical."""

    def function(self: Any, other: Any) -> Any:
        bits = "i" in (_kind(self), _kind(other))  # then floats raise an error
        a, b = (other, self) if swapped else (self, other)
        return FUNCTIONS[f"bitwise_{name}" if bits else f"logical_{name}"](a, b)

    return function


def _kind(x: Any) -> str:
    """Return ``"b"`` for booleans, ``"i"`` for integers; else another letter."""
    if isinstance(x, Operators):
        return str(x.dtype or "float32")[0]  # a parameter without values has no dtype
    kind = np.asarray(x).dtype.kind
    return "i" if kind in "uO" else kind  # NumPy holds large Python integers as objects


def _inverted(self: Any) -> Any:
    """``~x``: bitwise for integers, else logical."""
    return FUNCTIONS["bitwise_not" if _kind(self) == "i" else "logical_not"](self)


# Of the methods of arrays: a tensor, arguments, and the result.
EXAMPLES = {
    "sum": ("[[1, 2], [3, 4]]", "axis=0", "[4, 6]"),
    "mean": ("[[1.0, 2.0], [3.0, 4.0]]", "axis=1", "[1.5, 3.5]"),
    "max": ("[[1, 7], [9, 5]]", "axis=1", "[7, 9]"),
    "min": ("[[1, 7], [9, 5]]", "axis=1", "[1, 5]"),
    "prod": ("[[1, 2], [3, 4]]", "axis=1", "[2, 12]"),
    "std": ("[[1.0, 3.0], [2.0, 6.0]]", "axis=1", "[1.0, 2.0]"),
    "var": ("[[1.0, 3.0], [2.0, 6.0]]", "axis=1", "[1.0, 4.0]"),
    "any": ("[[True, False], [False, False]]", "axis=1", "[True, False]"),
    "all": ("[[True, False], [True, True]]", "axis=1", "[False, True]"),
    "argmax": ("[[1, 7], [9, 5]]", "axis=1", "[1, 0]"),
    "argmin": ("[[1, 7], [9, 5]]", "axis=1", "[0, 1]"),
    "argsort": ("[3, 1, 2]", "", "[1, 2, 0]"),
    "cumsum": ("[1, 2, 3]", "axis=0", "[1, 3, 6]"),
    "cumprod": ("[1, 2, 3]", "axis=0", "[1, 2, 6]"),
    "round": ("[1.26, 2.5]", "", "[1.0, 2.0]"),
    "ravel": ("[[1, 2], [3, 4]]", "", "[1, 2, 3, 4]"),
    "squeeze": ("[[[1], [2]]]", "axis=0", "[[1], [2]]"),
    "swapaxes": ("[[1, 2], [3, 4]]", "0, 1", "[[1, 3], [2, 4]]"),
    "repeat": ("[1, 2]", "2", "[1, 1, 2, 2]"),
    "dot": ("[1, 2]", "[3, 4]", "11"),
    "take": ("[5, 6, 7]", "[2, 0]", "[7, 5]"),
    "diagonal": ("[[1, 2], [3, 4]]", "", "[1, 4]"),
}


def _method(name: str, *names: str) -> Any:
    """Return a method that calls an operation; its arguments after the tensor have these names."""

    def method(self: Any, *given: Any, **options: Any) -> Any:
        if NUMPYS & options.keys():
            return getattr(np.asarray(self), name)(*given, **options)
        unknown = options.keys() - set(names)
        if unknown or len(given) > len(names):
            raise TypeError(
                f"{name}() takes the arguments ({', '.join(names)}); got "
                f"{', '.join(sorted(unknown)) or f'{len(given)} of them'}."
            )
        return FUNCTIONS[name](self, *given, **options)

    x, arguments, printed = EXAMPLES[name]
    method.__name__ = name
    method.__doc__ = f"""Call the operation `gpunn.ops.{name}` on it, as the method of an array.

    The arguments are ``({", ".join(names)})``, with the meaning and the defaults that the
    operation gives them.

    >>> from gpunn import ops
    >>> ops.array({x}).{name}({arguments}).tolist()
    {printed}
    """
    return method


NUMPYS = {"out", "dtype", "order", "kind", "ddof", "mode", "where"}
"""Arguments with which NumPy's functions call methods of their arguments: ``np.sum(x)``
calls ``x.sum(axis=None, out=None)``. The results are NumPy arrays."""


class Operators:
    """Base class of objects with operators: ``-x``, ``x + 1``, ``2 / x``, ``x @ w``, ``x[:, 0]``,
    ``x > 0``, and with the methods of arrays, ``x.mean(axis=0)``. ``x & y`` is bitwise for
    integers, else logical.

    ``==`` is Python's comparison of identities; a class that compares values overrides it.
    """

    shape: Any
    dtype: Any
    _keras_mask: Any = None  # see `gpunn.layers.symbolic`; the name is Keras's

    def __dlpack__(self, **options: Any) -> Any:
        """Return a copy of the values for another library: ``torch.from_dlpack(x)``."""
        return np.array(self).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device of the copy: the host."""
        return np.empty(0).__dlpack_device__()

    __array_priority__ = 1000  # so that NumPy's arrays leave ``array * x`` to ``x``

    __neg__, __abs__, __invert__ = _unary("negative"), _unary("abs"), _inverted
    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("mod"), _reflected("mod")
    __pow__, __rpow__ = _binary("power"), _reflected("power")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __and__, __rand__ = _of_bits("and"), _of_bits("and", True)
    __or__, __ror__ = _of_bits("or"), _of_bits("or", True)
    __xor__, __rxor__ = _of_bits("xor"), _of_bits("xor", True)
    __lshift__, __rlshift__ = _binary("left_shift"), _reflected("left_shift")
    __rshift__, __rrshift__ = _binary("right_shift"), _reflected("right_shift")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __getitem__ = _binary("get_item")

    # -- methods of arrays, with NumPy's arguments

    sum, mean = _method("sum", "axis", "keepdims"), _method("mean", "axis", "keepdims")
    max, min = _method("max", "axis", "keepdims"), _method("min", "axis", "keepdims")
    prod = _method("prod", "axis", "keepdims")
    std, var = _method("std", "axis", "keepdims"), _method("var", "axis", "keepdims")
    any, all = _method("any", "axis", "keepdims"), _method("all", "axis", "keepdims")
    argmax, argmin = _method("argmax", "axis", "keepdims"), _method("argmin", "axis", "keepdims")
    argsort, cumsum = _method("argsort", "axis"), _method("cumsum", "axis")
    cumprod, round = _method("cumprod", "axis"), _method("round", "decimals")
    ravel, flatten = _method("ravel"), _method("ravel")
    squeeze, swapaxes = _method("squeeze", "axis"), _method("swapaxes", "axis1", "axis2")
    repeat, dot = _method("repeat", "repeats", "axis"), _method("dot", "b")
    take, diagonal = _method("take", "indices", "axis"), _method("diagonal", "offset")
    __round__ = _method("round", "decimals")

    def astype(self, dtype: Any) -> Any:
        """Convert it to another dtype: call the operation `gpunn.ops.cast` on it.

        ``dtype``: a name, such as ``"int32"``, a NumPy dtype or a Python type. The result has the
        same shape.

        >>> from gpunn import ops
        >>> ops.array([1.7, -1.7]).astype("int32").tolist()
        [1, -1]
        """
        return FUNCTIONS["cast"](self, dtype)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """Give it a new shape: ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``; see
        `gpunn.ops.reshape`.

        Args:
            shape: the sizes, or one sequence of them; one may be -1, which is what the others
                leave.
            order: "C", row-major, as in NumPy.

        Raises:
            ValueError: for another order, or if the number of elements differs.

        >>> from gpunn import ops
        >>> ops.array([1, 2, 3, 4]).reshape(2, -1).tolist()
        [[1, 2], [3, 4]]
        """
        if order != "C":
            raise ValueError(f"order must be 'C' (row-major); got {order!r}.")
        return FUNCTIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """Permute its axes: ``x.transpose(1, 0)`` or ``x.transpose((1, 0))``; see
        `gpunn.ops.transpose`.

        ``axes``: axis k of the result is axis axes[k]; without axes, their order is reversed.

        >>> from gpunn import ops
        >>> ops.ones((2, 3, 4)).transpose(2, 0, 1).shape
        (4, 2, 3)
        """
        return FUNCTIONS["transpose"](self, (axes[0] if len(axes) == 1 else axes) or None)

    def clip(self, min: Any = None, max: Any = None, **numpys: Any) -> Any:
        """Limit its elements to an interval, with one bound or both; see `gpunn.ops.clip`.

        ``min``, ``max``: the bounds, numbers or tensors that broadcast; None is no bound.

        >>> from gpunn import ops
        >>> ops.array([-1.0, 0.5, 2.0]).clip(0.0, 1.0).tolist()
        [0.0, 0.5, 1.0]
        """
        if numpys:
            return np.asarray(self).clip(min, max, **numpys)
        x = self if min is None else FUNCTIONS["maximum"](self, min)
        return x if max is None else FUNCTIONS["minimum"](x, max)

    @property
    def ndim(self) -> int:
        """The number of axes, a Python integer, which is the length of the shape; 0 for a scalar.

        >>> from gpunn import ops
        >>> ops.ones((2, 3)).ndim
        2
        """
        return len(self.shape)

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("cannot iterate over a tensor that has no axes.")
        return (self[row] for row in range(self.shape[0]))

    @property
    def T(self) -> Any:
        """The transpose, with its axes reversed, as (m, n) -> (n, m); see `gpunn.ops.transpose`.

        >>> from gpunn import ops
        >>> ops.array([[1, 2], [3, 4]]).T.tolist()
        [[1, 3], [2, 4]]
        """
        return FUNCTIONS["transpose"](self)

    def item(self) -> Any:
        """Return its single value as a Python number: a bool, an int or a float.

        Raises:
            ValueError: if it has more than one element, or none.

        >>> import gpunn
        >>> gpunn.Variable(1.5).item()
        1.5
        """
        return np.asarray(self).item()

    def tolist(self) -> Any:
        """Return its values as nested Python lists; the value of a scalar as a number.

        >>> import gpunn
        >>> gpunn.Variable([1.0, 2.0]).tolist()
        [1.0, 2.0]
        """
        return np.asarray(self).tolist()


class Kept(Operators):
    """Base class of parameters and variables, whose values last from step to step.

    ``float(v)`` and ``int(v)`` read a single number. In a trace, where it has no value, they raise
    the error that reading a tensor raises.
    """

    name: str
    dtype: Any
    access: Any

    @property
    def stored_dtype(self) -> Any:
        """The dtype of the array of its values."""
        return self.dtype

    def numpy(self) -> np.ndarray:
        """Return a copy of the values as a NumPy array.

        Raises:
            NeedsValuesError: in a step that is traced: these are the values of one step.

        >>> import gpunn
        >>> gpunn.Variable([1.0, 2.0]).numpy()
        array([1., 2.], dtype=float32)
        """
        for read in READ:
            if (found := read(self)) is not None:
                return found
        return self.stored()

    def stored(self) -> np.ndarray:
        """Return a copy of the values that are stored now, inside a trace too."""
        raise TypeError(f"{type(self).__name__} must define stored().")

    def assign(self, value: Any) -> Any:
        """Set the values; return them as a tensor."""
        raise TypeError(f"{type(self).__name__} must define assign(value).")

    @recorded
    def assign_add(self, value: Any) -> Any:
        """Add ``value`` to the variable: ``v = v + value``; return the new value as a tensor.

        Raises:
            ValueError: if the sum has another shape.

        >>> import gpunn
        >>> gpunn.Variable([1.0, 2.0]).assign_add([0.5, 0.5]).tolist()
        [1.5, 2.5]
        """
        value = FUNCTIONS["convert_to_tensor"](value, self.dtype)
        with self.access.writing():  # no other thread assigns in between
            return self.assign(self + value)

    @recorded
    def assign_sub(self, value: Any) -> Any:
        """Subtract ``value`` from the variable: ``v = v - value``; return the new value as a
        tensor.

        Raises:
            ValueError: if the difference has another shape.

        >>> import gpunn
        >>> gpunn.Variable([1.0, 2.0]).assign_sub([0.5, 0.5]).tolist()
        [0.5, 1.5]
        """
        value = FUNCTIONS["convert_to_tensor"](value, self.dtype)
        with self.access.writing():
            return self.assign(self - value)

    def __getitem__(self, key: Any) -> Any:
        """Return a part, as of a tensor. ``v[0].assign(x)`` assigns to this part."""
        part = FUNCTIONS["get_item"](self, key)
        part.part_of = self, key
        return part

    @recorded
    def assign_part(self, key: Any, value: Any) -> Any:
        """Set the elements ``self[key]`` to a value that broadcasts to them; return all.

        Args:
            key: an index as of a NumPy array, such as ``(0, slice(2))``.
            value: numbers or a tensor.

        >>> import gpunn
        >>> gpunn.Variable([1.0, 2.0, 3.0]).assign_part(slice(0, 2), 0.0).tolist()
        [0.0, 0.0, 3.0]
        """
        places = np.arange(math.prod(self.shape)).reshape(self.shape)[key]
        value = FUNCTIONS["convert_to_tensor"](value, self.dtype)
        value = FUNCTIONS["broadcast_to"](value, places.shape)
        flat = FUNCTIONS["scatter_update"](
            FUNCTIONS["reshape"](self, (-1,)), places.reshape(-1, 1), value.reshape(-1)
        )
        return self.assign(flat.reshape(self.shape))

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self.name!r} is a {type(self).__name__.lower()}, no condition, as in Keras: "
            f"compare its value, `if float(v) > 0`, or ask whether there is one, `v is not None`."
        )

    def __pos__(self) -> Any:
        return FUNCTIONS["convert_to_tensor"](self)

    def _scalar(self) -> Any:
        if self.shape:
            raise TypeError(
                f"only a single number becomes a Python number; got the shape {self.shape}. Use "
                f"tolist() or numpy() for all values."
            )
        return FUNCTIONS["convert_to_tensor"](self)
