"""The declaration of an operation, and what is derived from it.

An operation of the contract is a method with a docstring and a decorator that describes each of
its arrays::

    @operation(
        a=reads("m k", transposed="transpose_a"),
        b=reads("k n", transposed="transpose_b"),
        out=writes("m n", accumulate_if="accumulate"),
        products=lambda call: [MatrixProduct(call.m, call.n, call.k, transposed(call))],
    )
    def matmul(self, a, b, out, transpose_a=False, transpose_b=False, accumulate=False): ...

The shape names its sizes. A name that appears in several shapes is the same size in all of
them; ``*image`` is any number of sizes; a number is that size; ``geometry.window`` is read
from an argument. The same declaration provides

- the check: ``backend.matmul(...)`` rejects invalid arrays before any computation, in the same
  way on every backend, and then calls the backend's own ``_matmul(call)``. ``call`` holds
  the arguments and the sizes of the arrays, by name;
- with ``by_kernel``, the call of the kernels of the same name; without a kernel, the method
  itself is called, which implements the operation in terms of ``self.xp``;
- the traffic of a profile: which arrays are read, written, or both;
- the table in ``docs/reference/operations.md``, and the test that calls every operation wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.signatures import signature

from .device import Array, Device
from .shapes import described, fits, names_of_sizes

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
REALS = tuple(
    np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
)
DTYPES: dict[str, tuple[np.dtype, ...]] = {
    "float": FLOATS,  # the same for all arrays of an operation declared as such
    "real": REALS,
    "float or int32": (*FLOATS, np.dtype(np.int32)),
    "tensor": (*FLOATS, np.dtype(np.int32), np.dtype(np.bool_)),
    **{dtype.name: (dtype,) for dtype in REALS},
}


class OpCall:
    """The arguments of one call of a backend's operation and the sizes of its arrays, by name.

    A `gpunn.core.plan.Call` is an application of a layer, which calls several operations.

    If arrays are declared as ``"float"``, ``call.dtype`` is their dtype.
    """

    def __getattr__(self, name: str) -> Any:  # for type checkers: `bind` sets the attributes
        raise AttributeError(name)


# What conditions may call.
_FUNCTIONS = {
    "__builtins__": {}, "abs": abs, "all": all, "len": len, "max": max, "hasattr": hasattr,
}
Over = tuple[str, ...] | Callable[[OpCall], tuple[str, ...]]
Shape = str | Callable[[OpCall], tuple[str, str]]


@dataclass(frozen=True)
class Argument:
    """An array of an operation, as `reads`, `writes` or `rewrites` declare it.

    Attributes:
        shape: its sizes by name, see the module; or a function of the call that returns
            shape and dtype.
        dtype: one of `DTYPES`.
        read, written: whether it is read or written; a function of the call if it depends on it.
        transposed: an argument that, if true, swaps the last two sizes of the shape.
        over: arguments that it may be, in place; it shares no memory with others.
        of: returns it if it is part of an argument: an array, or arrays by name.
        part: returns the part of it that is read or written, for the traffic.
        counted: whether it counts in the traffic; the few bytes of a control block do not.
    """

    shape: Shape
    dtype: str = "float"
    read: bool | Callable[[OpCall], bool] = False
    written: bool | Callable[[OpCall], bool] = False
    optional: bool = False
    transposed: str = ""
    over: Over = ()
    of: Callable[[OpCall], Any] | None = None
    part: Callable[[OpCall], Array] | None = None
    counted: bool = True

    def is_read(self, call: OpCall) -> bool:
        return self.read(call) if callable(self.read) else self.read

    def is_written(self, call: OpCall) -> bool:
        return self.written(call) if callable(self.written) else self.written

    def may_be(self, call: OpCall) -> tuple[str, ...]:
        return self.over(call) if callable(self.over) else self.over

    def shape_and_dtype(self, call: OpCall) -> tuple[str, str]:
        """Return the shape and dtype that it must have in a call."""
        if callable(self.shape):
            return self.shape(call)
        if self.transposed and getattr(call, self.transposed):
            *stack, rows, columns = self.shape.split()
            return " ".join((*stack, columns, rows)), self.dtype
        return self.shape, self.dtype

    def arrays(self, name: str, call: OpCall) -> list[tuple[str, Array]]:
        """Return its arrays in a call, by name: one, several of a parameter storage, or none."""
        try:
            found = call.__dict__[name] if self.of is None else self.of(call)
        except KeyError as error:
            raise ValueError(f"The storage has no array {error} for the optimizer.") from None
        arrays = list(found.items()) if isinstance(found, dict) else [(name, found)]
        return [(key, a) for key, a in arrays if not (a is None and self.optional)]


def reads(
    shape: Shape,
    dtype: str = "float",
    *,
    rewritten: bool | Callable[[OpCall], bool] = False,
    **options: Any,
) -> Argument:
    """An array that is read, and also written in calls for which ``rewritten`` is true."""
    return Argument(shape, dtype, read=True, written=rewritten, **options)


def writes(
    shape: Shape, dtype: str = "float", *, accumulate_if: str = "", **options: Any
) -> Argument:
    """An array that is written, or added to in calls whose argument ``accumulate_if`` is true."""
    read = (lambda call: bool(getattr(call, accumulate_if))) if accumulate_if else False
    return Argument(shape, dtype, read=read, written=True, **options)


def rewrites(shape: Shape, dtype: str = "float", **options: Any) -> Argument:
    """An array that is read and written."""
    return Argument(shape, dtype, read=True, written=True, **options)


class KernelCall:
    """How an operation calls the kernels of its own name: with its arguments, and no more.

    The GPU kernel in ``kernels/cuda/`` takes arguments, sizes and ``n`` by the names of its
    parameters; the CPU kernel in ``kernels/cpu/`` takes them in order.

    Args:
        arguments: those of the CPU kernel, as Python expressions of arguments and sizes.
        n: an expression for the number of elements; one GPU thread computes each.
        slices: an expression for the number of rows, if a launch may take row by row.

    >>> call = OpCall()
    >>> vars(call).update(x="an array", rows=3, features=4)
    >>> KernelCall("x, rows", "rows * features").arguments(call)
    ('an array', 3)
    """

    def __init__(self, arguments: str, n: str, slices: str = "0") -> None:
        self._arguments, self._n, self._slices = (
            compile(text, text, "eval") for text in (f"({arguments},)", n, slices)
        )

    def arguments(self, call: OpCall) -> tuple[Any, ...]:
        """Return the arguments of the CPU kernel."""
        return eval(self._arguments, _FUNCTIONS, call.__dict__)

    def sizes(self, call: OpCall) -> tuple[int, int]:
        """Return (n, slices) in a call."""
        values = call.__dict__
        return eval(self._n, _FUNCTIONS, values), eval(self._slices, _FUNCTIONS, values)


PLAIN = "out.dtype.kind == 'f' or (scale, offset) == (1, 0)"
"""Condition of operations that convert: integers are not scaled."""

COUNTERS = Argument(
    "places", "int64", read=True, of=lambda call: call.control.counters, counted=False
)
"""The counters, for operations that read or advance a control block."""


class MatrixProduct(NamedTuple):
    """The sizes of a matrix product (m, k) @ (k, n) that an operation computes.

    Attributes:
        transposed: "a" or "b", the factor that is stored as its transpose, or "ab", or "".
        stack: how many of them there are, each of other matrices.
    """

    m: int
    n: int
    k: int
    transposed: str = ""
    stack: int = 1

    @property
    def flops(self) -> int:
        """Two for each element and each term of its sum."""
        return 2 * self.stack * self.m * self.n * self.k


def transposed(call: OpCall) -> str:
    """Return which factors of `matmul` are transposed, see `MatrixProduct`."""
    return "a" * call.transpose_a + "b" * call.transpose_b


class OpDeclaration:
    """A declared operation of the contract.

    Attributes:
        method: the declaration, whose docstring describes the computation.
        arrays: the declarations of its arrays, by name.
        where, products: as in `operation`.
        kernel: the arguments of its kernels; None if each backend passes its own.
    """

    def __init__(
        self,
        method: Any,
        arrays: dict[str, Argument],
        where: tuple[str, ...],
        products: Callable[[OpCall], list[MatrixProduct]] | None,
        kernel: KernelCall | None,
    ) -> None:
        self.name, self.method, self.kernel = method.__name__, method, kernel
        self.arrays, self.where, self.products = arrays, where, products
        code, defaults = method.__code__, method.__defaults__ or ()  # quicker than its signature
        self.names = code.co_varnames[1 : code.co_argcount]  # without self
        last = self.names[len(self.names) - len(defaults) :]
        self._defaults = dict(zip(last, defaults, strict=True))
        # The types of plain numbers: annotations are strings because of the __future__ import.
        self._plain = [
            (name, {"int": index, "bool": bool}[method.__annotations__[name]])
            for name in self.names
            if method.__annotations__[name] in ("int", "bool")
        ]
        shapes = [a.shape for a in arrays.values() if isinstance(a.shape, str)]
        sizes = set[str]().union(*map(names_of_sizes, shapes))
        if sizes & {*self.names}:
            raise TypeError(f"{self.name}: {sizes & {*self.names}} is a size and an argument.")
        self._conditions = [(text, compile(text, text, "eval")) for text in where]

    def bind(self, backend: Device, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpCall:
        """Check the arguments and return the call.

        Raises:
            ValueError: for an invalid array or number.
            TypeError: for an argument that is missing, surplus, or not an array of the backend.
        """
        call = OpCall()
        values = call.__dict__
        values.update(self._defaults)
        values.update(zip(self.names, args, strict=False))
        values.update(kwargs)
        if len(values) != len(self.names) or len(args) > len(self.names):
            signature(self.method).bind(backend, *args, **kwargs)  # raises the right error
        for name, convert in self._plain:
            values[name] = convert(values[name])
        found: list[tuple[str, Argument, Array]] = []
        for name, argument in self.arrays.items():
            is_plain = argument.of is None and type(values.get(name)) is np.ndarray  # most
            for key, array in ((name, values[name]),) if is_plain else argument.arrays(name, call):
                self._check(backend, key, argument, array, call)
                found.append((key, argument, array))
        for text, condition in self._conditions:
            if not eval(condition, _FUNCTIONS, values):
                known = {n: values[n] for n in condition.co_names if n in values}
                got = ", ".join(_formatted(n, v) for n, v in known.items())
                raise ValueError(f"{self.name}: {text} is required; got {got}.")
        for name, argument, array in found:
            if argument.written is True or (argument.written and argument.is_written(call)):
                self._check_written(backend, name, argument, array, found, call)
        return call

    def _check(
        self, backend: Device, name: str, argument: Argument, array: Array, call: OpCall
    ) -> None:
        if not backend.owns(array):
            number = getattr(getattr(array, "device", None), "id", None)
            where = "" if number is None else f" of GPU {number}"
            raise TypeError(
                f"{self.name}: {name} must be an array of the {backend.name} backend; "
                f"got {type(array).__name__}{where}."
            )
        shape, kind = argument.shape, argument.dtype
        if argument.transposed or callable(shape):
            shape, kind = argument.shape_and_dtype(call)
        values, dtype = call.__dict__, array.dtype
        allowed = DTYPES[kind]
        if kind == "float":
            if "dtype" in values:
                allowed = (values["dtype"],)
            elif dtype in allowed:
                values["dtype"] = dtype
        if dtype not in allowed:  # dtypes of another byte order are not equal
            expected = " or ".join(map(str, allowed)) if len(allowed) < 5 else "of a real dtype"
            raise ValueError(f"{self.name}: {name} must be {expected}; got {dtype}.")
        if not fits(shape, array.shape, values):
            raise ValueError(
                f"{self.name}: {name} must have the shape {described(shape, values)}; "
                f"got {tuple(array.shape)}."
            )
        flags = array.flags
        if not (flags.c_contiguous and getattr(flags, "aligned", True)):
            raise ValueError(
                f"{self.name}: {name} must be C-contiguous and aligned in memory; copy it first."
            )

    def _check_written(
        self,
        backend: Device,
        name: str,
        argument: Argument,
        array: Array,
        found: list[tuple[str, Argument, Array]],
        call: OpCall,
    ) -> None:
        if not getattr(array.flags, "writeable", True):
            raise ValueError(f"{self.name}: {name} is written to, but it is read-only.")
        for other_name, other_argument, other in found:
            if other_name == name or (relation := backend.overlap(array, other)) is None:
                continue
            may = other_name in argument.may_be(call) or name in other_argument.may_be(call)
            if relation == "part" or not may:
                raise ValueError(
                    f"{self.name}: {name} is written to, but shares memory with {other_name}."
                )

    def by_arrays(self, backend: Any, call: OpCall) -> None:
        """Call the method itself, which computes in terms of ``backend.xp``."""
        self.method(backend, *(call.__dict__[name] for name in self.names))

    def traffic(self, call: OpCall) -> dict[str, tuple[Array, bool]]:
        """Return the arrays of a call by name, parts as views, and whether read and written."""
        found: dict[str, tuple[Array, bool]] = {}
        for name, argument in self.arrays.items():
            both = argument.is_read(call) and argument.is_written(call)
            for key, array in argument.arrays(name, call) if argument.counted else ():
                found[key] = array if argument.part is None else argument.part(call), both
        return found


def _formatted(name: str, value: Any) -> str:
    """Format an argument for an error; not the values of arrays, which may be on a GPU."""
    if hasattr(value, "nbytes"):
        return f"{name} of {value.dtype}"
    if isinstance(value, list) and all(hasattr(array, "nbytes") for array in value):
        return f"{name} of the shapes {[tuple(array.shape) for array in value]}"
    return f"{name}={value!r}"
