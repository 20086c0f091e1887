"""What operations are given, as tensors.

No number that comes in changes in silence: what a dtype does not hold is refused, by
`gpunn.ops.narrow.from_host`. What is computed is another matter: there int32 wraps around, and
`cast` does what it says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import floatx
from gpunn.core.operators import FUNCTIONS

from .dtypes import floating, named, result_type, standard
from .narrow import from_host
from .tensor import Tensor, constant
from .trace import current


def convert(x: Any, dtype: Any = None) -> Tensor:
    """``x`` as a tensor: a tensor, a parameter, an array, a number or nested lists.

    Arrays of the host are copied. float64 ones become floatx, unless ``dtype`` says otherwise,
    and integers int32. Of floats that are to be integers the fraction is cut off.

    Raises:
        TypeError: for what holds no numbers.
        ValueError: for nested lists of different lengths, and NaN among what is to be integers.
        OverflowError: for numbers that the dtype does not hold.
    """
    if isinstance(x, Tensor):
        return x if dtype is None or named(dtype) == x.dtype else cast(x, dtype)
    loaded = _loaded(x)
    if isinstance(loaded, Tensor):
        return convert(loaded, dtype)
    name = _dtype_of(loaded) if dtype is None else named(dtype)
    return constant(from_host(loaded, name), standard(name))


def floats(x: Any) -> Tensor:
    """``x`` as a tensor of floats: integers and truth values become floatx.

    >>> floats([1, 2]).dtype
    'float32'
    """
    x = convert(x)
    return convert(x, floating(x.dtype))


def _loaded(x: Any) -> Tensor | np.ndarray:
    """What is no number of Python, as a tensor where it is one already, else as an array."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "array_on"):  # a parameter or a variable
        return held_by(x)
    if isinstance(x, (list, tuple)) and any(map(_has_tensor, x)):
        stacked: Tensor = FUNCTIONS["stack"]([convert(entry) for entry in x])
        return stacked
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"rows of one length are expected; got {x!r}.") from None
    if array.dtype.kind == "f" and isinstance(x, (list, tuple)) and _are_integers(array, x):
        array = np.asarray(x, object)  # beyond int64, NumPy makes floats of some integers
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind in "biuf" or (array.dtype.kind == "O" and _is_integers(array)):
        return array
    raise TypeError(f"a tensor, an array or numbers are expected; got {x!r}.")


def _are_integers(array: np.ndarray, x: Any) -> bool:
    """Whether floats were made of nested lists of integers, which no dtype of integers holds."""
    large = array.size > 0 and float(np.abs(array).max()) >= 2.0**63
    return large and _is_integers(np.asarray(x, object))


def _is_integers(array: np.ndarray) -> bool:
    return array.size > 0 and all(isinstance(n, (int, np.integer)) for n in array.flat)


def _dtype_of(array: np.ndarray) -> str:
    """The dtype of a tensor of what was loaded, if nothing asks for another."""
    if array.dtype.kind == "O":
        return "int32"
    return floatx() if array.dtype.kind == "f" else standard(array.dtype)


def _has_tensor(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_has_tensor, x))
    return isinstance(x, Tensor) or hasattr(x, "array_on")


def held_by(source: Any) -> Tensor:
    """What a parameter or a variable holds: in a trace in each step, else now."""
    trace = current()
    if trace is not None:
        found = trace.read(source)
    else:
        found = constant(source.numpy(), source.dtype or floatx())
    integers = getattr(source, "integers", None)  # of a parameter that was declared to hold them
    return found if integers is None else cast(found, standard(integers))


def cast(x: Tensor, dtype: Any) -> Tensor:
    return FUNCTIONS["cast"](x, dtype)


def promoted(*given: Any, at_least: str | None = None) -> list[Tensor]:
    """These as tensors of one dtype, that of their result; numbers of Python are weak.

    Raises:
        OverflowError: for numbers that this dtype does not hold.
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
    dtype = result_type(*kinds, *([at_least] if at_least else []))
    return [convert(x, dtype) for x in loaded]


def _weak_kind(x: Any) -> Any:
    """Of a number of Python ``int``, ``float`` or ``"bool"``; None of anything else."""
    if isinstance(x, (bool, np.bool_)):
        return "bool"
    if isinstance(x, (int, float)) and not isinstance(x, np.generic):
        return int if isinstance(x, int) else float
    return None
