"""`CallRecorder`: the NumPy calls of a step, recorded without performing them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from gpunn.backends.contract.backend import NotTraceableError

ArrayCall = Callable[[], Any]
Function = TypeVar("Function", bound=Callable[..., Any])

# The same calls without NumPy's checks in Python, and without
# keywords: each of these costs as much as the work on ten elements.
_DIRECT: dict[Any, Callable[..., ArrayCall]] = {
    np.clip: lambda x, low, high, out: partial(x.clip, low, high, out),
    np.argmax: lambda x, axis, out: partial(x.argmax, axis, out),
    np.copyto: lambda target, source, casting="", where=...: (
        partial(np.copyto, target, source, where=where)  # an index would count along the source
        if where is not ... and (isinstance(source, np.ndarray) or where.shape != target.shape)
        else partial(target.__setitem__, where, source)
    ),
    np.dot: lambda a, b, out: partial(a.dot, b, out),
    np.max: lambda x, axis, out, keepdims=False: partial(
        np.maximum.reduce, x, axis, None, out, keepdims
    ),
    np.put: lambda x, places, values: partial(x.put, places, values),
    np.sum: lambda x, axis, out, keepdims=False: partial(
        np.add.reduce, x, axis, None, out, keepdims
    ),
    # "raise" would buffer the output
    np.take: lambda x, places, axis=None, out=None, mode="clip": partial(
        x.take, places, axis, out, "clip"
    ),
}
_VIEWS = ("moveaxis",)  # these compute nothing: the view is the same each time
_IN_PLACE = ("copyto", "put")

# A ufunc whose operands have the same shape is 0.5 us faster, which is the time for thousands of
# elements. So for small outputs a number becomes an array once, when the step is traced, and a
# row or column is copied into a full array before the call.
SMALL = 1024  # elements of an output; for larger ones reading such an array costs more
_SLOW_WITH_NUMBERS = (np.maximum, np.minimum)  # not vectorised: a row is 3 times as fast

# OpenBLAS may use several threads for larger products, and then rounds differently. These
# run in a parallel region, in which BLAS has one thread.
_SMALL_PRODUCT = 1 << 13  # elements of a factor, and
_SMALL_WORK = 1 << 18  # multiplications
_WITHOUT_BLAS = {np.argmax, np.copyto, np.max, np.put, np.sum, np.take}


def without_blas(function: Function) -> Function:
    """Mark a function that is traced as one call and does not use BLAS."""
    _WITHOUT_BLAS.add(function)
    return function


def _may_take_threads(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    if isinstance(function, np.ufunc) and function is not np.matmul:
        return False
    if function in (np.dot, np.matmul):
        a, b = args
        work = a.size * (b.shape[-1] if b.ndim > 1 else 1)
        return max(a.size, b.size) > _SMALL_PRODUCT or work > _SMALL_WORK
    function = getattr(function, "__func__", function)
    return not (function in _WITHOUT_BLAS or hasattr(function, "bind"))


class CallRecorder:
    """Replaces ``xp`` while a step is traced, and records the array calls without performing them.

    ``threads``: whether BLAS may use several threads in one of them. ``own_products``: see
    `TracingBackend.trace`.
    """

    def __init__(self, own_products: bool = False) -> None:
        self.own_products = own_products
        self.calls: list[ArrayCall] = []
        self.threads = False
        self._once: set[Any] = set()

    def add_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Add one call; its arrays exist already, and the calls before it fill them."""
        out: Any = kwargs.get("out")
        if function is np.clip and out.size <= SMALL:  # clip costs as much as thousands
            x, low, high = args
            self.add_call(np.maximum, x, low, out=out)
            return self.add_call(np.minimum, out, high, out=out)
        self.threads = self.threads or _may_take_threads(function, args)
        if isinstance(function, np.ufunc) and function.signature is None:  # element by element
            given = (a.dtype for a in args if hasattr(a, "dtype"))
            dtype = kwargs.get("dtype", next(given, None))
            if out.size <= SMALL:
                args = tuple(self._spread(_as_array(a, out.shape, dtype), out) for a in args)
            elif function in _SLOW_WITH_NUMBERS:
                if (call := _clip(function, args, out)) is not None:
                    self.calls.append(call)
                    return out
                args = tuple(_as_array(a, out.shape[-1:], dtype) for a in args)
            args = tuple(out if _is_same(a, out) else a for a in args)
            if kwargs.keys() == {"out"} and function not in _SLOW_WITH_NUMBERS:
                args, kwargs = (*args, out), {}  # NumPy wants a keyword for those two
        # A compiled operation stores its arguments itself.
        bind = getattr(function, "bind", partial(partial, function))
        direct = _DIRECT.get(function, bind)
        self.calls.append(direct(*args, **kwargs))
        return out

    def _spread(self, arg: Any, out: Any) -> Any:
        """Return an array broadcast to the shape of ``out``."""
        if not isinstance(arg, np.ndarray) or arg.shape == out.shape:
            return arg
        whole = np.empty(out.shape, arg.dtype)
        self.calls.append(partial(whole.__setitem__, ..., arg))
        return whole

    def add_call_once(self, function: Callable[..., Any], *args: Any) -> None:
        """Add a call once: its result does not change within a step."""
        key = function.__name__, *map(id, args)
        if key not in self._once:
            self._once.add(key)
            self.add_call(function, *args)

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if name in _VIEWS or not callable(member) or isinstance(member, type):
            return member

        def traced(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("out") is None and name not in _IN_PLACE:
                raise NotTraceableError(f"xp.{name} without out= makes a new array")
            return self.add_call(member, *args, **kwargs)

        return traced


def _is_same(x: Any, out: Any) -> bool:
    """Return whether ``x`` is another view of all of ``out``: NumPy then checks for overlap in each
    call, which takes as long as the work on a hundred elements."""
    return (
        isinstance(x, np.ndarray)
        and x is not out
        and (x.dtype, x.shape, x.strides) == (out.dtype, out.shape, out.strides)
        and x.ctypes.data == out.ctypes.data
    )


def _clip(function: Any, args: tuple[Any, ...], out: Any) -> ArrayCall | None:
    """Return a maximum or minimum of an array and a number as `clip`, which is vectorised; None
    for 0, where it would return the zero of the other sign."""
    x = next(a for a in args if not isinstance(a, float)) if len(args) == 2 else None
    number = next((a for a in args if isinstance(a, float)), 0.0)
    if number == 0 or not isinstance(x, np.ndarray) or x.shape != out.shape or x.dtype != out.dtype:
        return None
    bounds = (number, np.inf) if function is np.maximum else (-np.inf, number)
    return partial(x.clip, *bounds, out)


def _as_array(arg: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a number as an array of constants, of floats or of the bits of floats."""
    number = isinstance(arg, (int, float)) and dtype is not None and np.dtype(dtype).kind == "f"
    if number or isinstance(arg, np.unsignedinteger):
        return np.full(shape, arg, dtype)
    return arg


# A loss that is no longer finite is reported by the step that computed it.
quiet: Callable[[Function], Function] = np.errstate(all="ignore")
"""Suppress NumPy's floating-point warnings in a function."""
