"""Conversion of the arguments of operations to tensors.

No input value changes silently: values that a dtype cannot hold raise an error, in
`gpunn.ops.dtypes.from_host`. Computed values differ: int32 wraps around, and `cast` behaves as
documented.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import floatx
from gpunn.common.nested import replaced
from gpunn.common.numeric.dtypes import name_of
from gpunn.core.operators import FUNCTIONS
from gpunn.core.recording import Placed, active

from .dtypes import COMPUTED, floating, from_host, named, result_type, standard
from .tensor import Tensor, constant
from .trace import current

_COMPUTED = {np.dtype(name): name for name in COMPUTED}


def convert(x: Any, dtype: Any = None) -> Tensor:
    """Convert a tensor, a parameter, an array, a number or nested lists to a tensor.

    Host arrays are copied. Unless ``dtype`` is given, float64 becomes floatx and integers become
    int32. Converting floats to integers truncates them.

    Raises:
        TypeError: if x holds no numbers.
        ValueError: for nested lists of different lengths, and for NaN converted to integers.
        OverflowError: for values that the dtype cannot hold.
    """
    if isinstance(x, Tensor):
        if active.watcher is not None:
            x = active.watcher.substitute(x)
        return x if dtype is None or named(dtype) == x.dtype else cast(x, dtype)
    if type(x) is np.ndarray:  # as in most calls: nothing to convert
        name = _COMPUTED.get(x.dtype)
        if name is not None and name == (dtype or (floatx() if x.dtype.kind == "f" else name)):
            return constant(x, name)
    if isinstance(x, Placed) and active.watcher is not None:
        x = active.watcher.number(x, standard(_default_of(x) if dtype is None else named(dtype)))
    loaded = _loaded(x)
    if isinstance(loaded, Tensor):
        return convert(loaded, dtype)
    name = _dtype_of(loaded) if dtype is None else named(dtype)
    return constant(from_host(loaded, name), standard(name))


def _default_of(number: Any) -> str:
    return floatx() if isinstance(number, float) else "int32"


def tensors_of(values: Any) -> Any:
    """Return new arrays of the host, in any structure, as tensors that take them over. What tensors
    cannot hold, such as texts, is returned unchanged.

    >>> tensors_of([np.ones(2), np.array(["a"])])
    [<Tensor [1., 1.], shape=(2,), dtype=float64>, array(['a'], dtype='<U1')]
    """
    return replaced(tensor_of, values)


def tensor_of(x: Any) -> Any:
    """Return the same of a single array."""
    if not isinstance(x, (np.ndarray, np.generic)) or x.dtype.kind not in "biuf":
        return x
    array, name = np.asarray(x), _COMPUTED.get(x.dtype)
    if name is None:
        array, name = from_host(array, x.dtype.name), standard(x.dtype)
    return Tensor(array.shape, name, np.ascontiguousarray(array).reshape(array.shape))


def is_known(*tensors: Tensor) -> bool:
    """Whether what is computed from these tensors belongs to no trace: all of them have values, and
    no trace is active."""
    return current() is None and all(x.has_values for x in tensors)


def floats(x: Any) -> Tensor:
    """Convert ``x`` to a tensor of floats: integers and booleans become floatx."""
    x = convert(x)
    return convert(x, floating(x.dtype))


def _loaded(x: Any) -> Tensor | np.ndarray:
    """Return an argument as a tensor if it is or contains one, else as an array."""
    if isinstance(x, Tensor):
        return x
    if is_variable(x):
        return variable_value(x)
    if isinstance(x, (list, tuple)) and any(map(_has_tensor, x)):
        return FUNCTIONS["stack"]([convert(entry) for entry in x])
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"nested lists must have rows of equal length; got {x!r}.") from None
    if array.dtype.kind == "f" and isinstance(x, (list, tuple)) and _are_integers(array, x):
        array = np.asarray(x, object)  # beyond int64, NumPy converts some integers to floats
    if name_of(array.dtype) == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind in "biuf" or (array.dtype.kind == "O" and _is_integers(array)):
        return array
    raise TypeError(f"a tensor, an array or numbers are expected; got {x!r}.")


def _are_integers(array: np.ndarray, x: Any) -> bool:
    """Return whether nested lists of integers became floats, as no integer dtype holds them."""
    large = array.size > 0 and float(np.abs(array).max()) >= 2.0**63
    return large and _is_integers(np.asarray(x, object))


def _is_integers(array: np.ndarray) -> bool:
    return array.size > 0 and all(isinstance(n, (int, np.integer)) for n in array.flat)


def _dtype_of(array: np.ndarray) -> str:
    """Return the default dtype of a tensor of a loaded array."""
    if array.dtype.kind == "O":
        return "int32"
    return floatx() if array.dtype.kind == "f" else standard(array.dtype)


def _has_tensor(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_has_tensor, x))
    return isinstance(x, Tensor) or is_variable(x)


def variable_value(source: Any) -> Tensor:
    """Return the value of a parameter or variable: in a trace a leaf for each step, else now."""
    if (watcher := active.watcher) is not None and watcher.records:
        return watcher.call(variable_value, (source,), {}, True)
    trace = current()
    if trace is not None:
        found = trace.read(source)
    else:
        found = constant(source.numpy(), source.dtype or floatx())
    integers = getattr(source, "integers", None)  # of a parameter with an integer dtype
    return found if integers is None else cast(found, standard(integers))


def read_in_trace(x: Any) -> Any:
    """Return the tensor of a parameter or variable in the active trace; anything else, and
    without a trace, ``x``: a part that would take it as an array loses its gradient."""
    return variable_value(x) if is_variable(x) and current() is not None else x


def is_variable(x: Any) -> bool:
    """Whether ``x`` is a parameter or a variable, which the active trace holds once it is read."""
    return hasattr(x, "array_on")


def cast(x: Tensor, dtype: Any) -> Tensor:
    return FUNCTIONS["cast"](x, dtype)


def promoted(*given: Any, at_least: str | None = None) -> list[Tensor]:
    """Convert arguments to tensors of their common result dtype; Python numbers are weakly typed.

    Args:
        at_least: a dtype of the result, or "float" for any of floats: integers become floatx.

    Raises:
        OverflowError: for values that this dtype cannot hold.
    """
    kinds: list[Any] = []
    loaded: list[Any] = []
    for x in given:
        kind = _weak_kind(x)
        loaded.append(x if kind is not None else _loaded(x))
        if kind is None:
            last = loaded[-1]
            kind = last.dtype if isinstance(last, Tensor) else _dtype_of(last)
        kinds.append(kind)
    dtype = result_type(*kinds, *([at_least] if at_least not in (None, "float") else []))
    dtype = floating(dtype) if at_least == "float" else dtype
    return [convert(x, dtype) for x in loaded]


def _weak_kind(x: Any) -> Any:
    """Return ``int``, ``float`` or ``"bool"`` for a Python number; None for anything else."""
    if isinstance(x, (bool, np.bool_)):
        return "bool"
    if isinstance(x, (int, float)) and not isinstance(x, np.generic):
        return int if isinstance(x, int) else float
    return None
