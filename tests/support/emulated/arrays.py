"""NumPy's functions on "device" arrays, which behave like CuPy's where it matters."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from host_kernels import poison

from .memory import MEMORY, PAGE_LOCKED
from .streams import NULL, Gpu, current_stream


def _plain(x: Any) -> Any:
    if isinstance(x, DeviceArray):
        return x.view(np.ndarray)
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError("an array of the host meets one of the device: CuPy refuses that")
    if isinstance(x, (tuple, list)):
        return type(x)(_plain(item) for item in x)
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    return x


def _on_device(x: Any) -> Any:
    """Turn results into device arrays; scalars become arrays without axes, as in CuPy."""
    if isinstance(x, (tuple, list)):
        return (list if type(x) is list else tuple)(_on_device(item) for item in x)
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    array = np.asarray(x)
    if array.base is None:
        MEMORY.hold(array, MEMORY.take(array.nbytes))
    return array.view(DeviceArray)


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a NumPy function on device arrays; during a capture, record the call instead."""
    args, kwargs = _plain(args), _plain(kwargs)

    def call() -> Any:
        with np.errstate(all="ignore"):  # a GPU does not warn, and a capture computes on garbage
            return function(*args, **kwargs)

    stream = current_stream()
    if function in BY_CUBLAS and not stream.eager and any(_is_float(x) for x in args):
        stream.refuse_library("cuBLAS", function.__name__)
    if function in BY_CUSOLVER and not stream.eager:
        stream.refuse_library("cuSOLVER", function.__name__)
    if kwargs.get("out") is not None or _works_in_place(function):
        stream.perform(call)
        return None
    if function in SYNCHRONIZING:
        stream.synchronize()
    if stream.eager:
        return _on_device(call())
    # A new array: later steps will find their result in the array that is allocated now.
    result = call()
    if isinstance(result, (np.ndarray, np.generic)):
        result = np.asarray(result)
        stream.perform(lambda: np.copyto(result, call()))
    return _on_device(result)


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _works_in_place(function: Callable[..., Any]) -> bool:
    return function in IN_PLACE or getattr(function, "__name__", "") == "at"  # np.add.at


IN_PLACE = (
    np.copyto, np.ndarray.__setitem__, np.ndarray.fill, np.place, np.put, np.put_along_axis,
    np.putmask,
)  # fmt: skip
# CuPy's own calls of cuBLAS; products of integers are kernels of its own.
BY_CUBLAS = (np.dot, np.einsum, np.inner, np.matmul, np.tensordot, np.vdot)
BY_CUSOLVER = tuple(f for f in vars(np.linalg).values() if callable(f))
# CuPy determines on the host how many elements these return, or whether their arguments are valid.
SYNCHRONIZING = (
    np.argwhere, np.bincount, np.compress, np.extract, np.flatnonzero, np.nonzero, np.repeat,
    np.unique,
)  # fmt: skip
# Arguments that NumPy takes and CuPy 14 does not.
UNKNOWN = {np.take: {"mode"}, np.clip: {"dtype", "where"}, np.sum: {"where", "initial"}}
REDUCED = ("add", "multiply")


def _any_nan(find: Callable[..., Any]) -> Callable[..., Any]:
    """Return CuPy's `argmax` or `argmin`: of several NaN it finds any, here the last one."""

    def found(x: np.ndarray, axis: int, out: np.ndarray | None = None) -> np.ndarray:
        missing = np.isnan(x)
        last = x.shape[axis] - 1 - np.argmax(np.flip(missing, axis), axis)
        place = np.where(np.any(missing, axis), last, find(x, axis))
        if out is None:
            return place
        np.copyto(out, place)
        return out

    return found


# Functions whose results differ from NumPy's.
OWN = {find: _any_nan(find) for find in (np.argmax, np.argmin)}


def _refuse_unknown(name: str, unknown: set[str]) -> None:
    if unknown:
        raise TypeError(f"CuPy's {name} does not take {', '.join(sorted(unknown))}")


class DeviceArray(np.ndarray):
    """An array "on the device": every operation on it goes through the stream."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__":
            _refuse_unknown(ufunc.__name__, kwargs.keys() - {"out", "casting", "dtype"})
        elif method == "reduce" and ufunc.__name__ not in REDUCED:
            raise NotImplementedError(f"CuPy's {ufunc.__name__} has no reduce")
        out = kwargs.get("out")
        result = _call(getattr(ufunc, method), args, kwargs)
        return out[0] if out else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _refuse_unknown(function.__name__, UNKNOWN.get(function, set()) & kwargs.keys())
        result = _call(function, args, kwargs)
        return kwargs["out"] if kwargs.get("out") is not None else result

    def __getitem__(self, key: Any) -> Any:
        plain, key = self.view(np.ndarray), _plain(key)
        part = plain[key]
        if isinstance(part, np.generic):  # CuPy returns an array without axes, not a scalar
            part = plain[(*(key if isinstance(key, tuple) else (key,)), Ellipsis)]
        if np.may_share_memory(part, plain) or not part.size:
            return part.view(DeviceArray)
        if any(np.asarray(k).dtype == bool for k in (key if isinstance(key, tuple) else (key,))):
            current_stream().synchronize()  # they are counted on the host
        return _call(lambda: plain[key], (), {})

    def set(self, values: np.ndarray, stream: Any = None) -> None:
        """Copy an array of the host, as CuPy does: at once, unless its memory is page-locked. Of up
        to 64 KiB of other memory CUDA keeps a copy, and the host goes on."""
        assert type(values) is np.ndarray
        assert (self.shape, self.dtype) == (values.shape, values.dtype)
        stream, target = stream or current_stream(), self.view(np.ndarray)
        is_locked = bool(values.size) and PAGE_LOCKED.has(values.ctypes.data)
        if is_locked or values.nbytes <= 1 << 16:
            values = values if is_locked else values.copy()
            stream.perform(lambda: np.copyto(target, values))
            return
        stream.synchronize()
        target[...] = values

    def __setitem__(self, key: Any, value: Any) -> None:
        _call(np.ndarray.__setitem__, (self, key, value), {})

    @property
    def device(self) -> Any:  # type: ignore[override]
        root = self
        while isinstance(root.base, np.ndarray):
            root = root.base
        return Gpu(MEMORY.gpu_of(root))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.__array_interface__

    @property
    def data(self) -> Any:  # CuPy stores its pointer here
        return SimpleNamespace(ptr=self.ctypes.data)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return _call(np.ndarray.astype, (self, *args), kwargs)

    def fill(self, value: Any) -> None:
        _call(np.ndarray.fill, (self, value), {})

    def copy(self, order: Any = "C") -> Any:
        return _call(np.ndarray.copy, (self, order), {})

    def _wait(self) -> Any:
        current_stream().refuse("look at a number of the device")
        current_stream().synchronize()
        return self.view(np.ndarray)

    def item(self, *args: Any) -> Any:
        return self._wait().item(*args)

    def tolist(self) -> Any:
        return self._wait().tolist()

    def __bool__(self) -> bool:
        return bool(self._wait())

    def __float__(self) -> float:
        return float(self._wait())

    def __int__(self) -> int:
        return int(self._wait())

    def __index__(self) -> int:
        return self._wait().__index__()


class ArrayElsewhere(DeviceArray):
    """An array of another GPU, which takes part in nothing here until it is copied."""

    @property
    def device(self) -> Any:
        return Gpu(1)

    def copy(self, order: Any = "C") -> Any:
        """Return a copy on the current device."""
        return self.view(DeviceArray).copy(order)

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("array device must be same as the current device: array device = 1")

    __array_function__ = __array_ufunc__


def _method(name: str) -> Any:
    return lambda self, *args, **kwargs: getattr(np, name)(self, *args, **kwargs)


for _name in ("max", "min", "mean", "any", "all"):  # NumPy's own go through reduce
    setattr(DeviceArray, _name, _method(_name))


class ArrayModule:
    """NumPy, with arrays on the device."""

    ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if not callable(member) or isinstance(member, (type, np.ufunc)):
            return member

        def function(*args: Any, **kwargs: Any) -> Any:
            _refuse_unknown(name, UNKNOWN.get(member, set()) & kwargs.keys())
            out = kwargs.get("out")
            result = _call(OWN.get(member, member), args, kwargs)
            return result if out is None else out

        return function

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """Return a copy of a host array, and the same memory for device arrays."""
        if isinstance(x, DeviceArray):
            return x if dtype in (None, x.dtype) else x.astype(dtype)
        if hasattr(x, "__cuda_array_interface__"):
            described = SimpleNamespace(__array_interface__=x.__cuda_array_interface__)
            return np.asarray(described).view(DeviceArray)
        values = np.array(x, dtype)
        array = self.empty(values.shape, values.dtype)
        if values.ndim:  # a scalar is a kernel argument
            current_stream().refuse("copy from the host")
        current_stream().perform(lambda: np.copyto(array.view(np.ndarray), values))
        return array

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        """An array in the current stream's memory, poisoned so that unwritten elements show."""
        if current_stream() is NULL:
            raise RuntimeError("memory of the null stream: it is given out again too early")
        size = math.prod(np.atleast_1d(shape).tolist()) * np.dtype(dtype).itemsize
        chunk = MEMORY.take(size)
        array = np.empty(shape, dtype)
        poison(array)
        MEMORY.hold(array, chunk)
        return array.view(DeviceArray)

    def get_default_memory_pool(self) -> Any:
        return MEMORY
