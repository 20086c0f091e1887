"""What operations are given, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import floatx
from gpunn.core.operators import FUNCTIONS

from .dtypes import result_type, standard
from .tensor import Tensor, constant
from .trace import current


def convert(x: Any, dtype: Any = None) -> Tensor:
    """``x`` as a tensor: a tensor, a parameter, an array, a number or nested lists.

    Arrays of the host are copied. float64 ones become floatx, unless ``dtype`` says otherwise,
    and integers int32.

    Raises:
        TypeError: for what holds no numbers.
        ValueError: for nested lists of different lengths.
    """
    if isinstance(x, Tensor):
        return x if dtype is None or standard(dtype) == x.dtype else cast(x, dtype)
    if hasattr(x, "array_on"):  # a parameter or a variable
        return convert(held_by(x), dtype)
    if isinstance(x, (list, tuple)) and any(map(_has_tensor, x)):
        return convert(FUNCTIONS["stack"]([convert(entry) for entry in x]), dtype)
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"rows of one length are expected; got {x!r}.") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a tensor, an array or numbers are expected; got {x!r}.")
    if dtype is None:
        dtype = floatx() if array.dtype.kind == "f" else standard(array.dtype)
    return constant(array, standard(dtype))


def _has_tensor(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_has_tensor, x))
    return isinstance(x, Tensor) or hasattr(x, "array_on")


def held_by(source: Any) -> Tensor:
    """What a parameter or a variable holds: in a trace in each step, else now."""
    trace = current()
    if trace is not None:
        return trace.read(source)
    return constant(source.numpy(), source.dtype or floatx())


def cast(x: Tensor, dtype: Any) -> Tensor:
    return FUNCTIONS["cast"](x, dtype)


def promoted(*given: Any, at_least: str | None = None) -> list[Tensor]:
    """These as tensors of one dtype, that of their result; numbers of Python are weak."""
    kinds: list[Any] = []
    for x in given:
        if isinstance(x, (bool, np.bool_)):
            kinds.append("bool")
        elif isinstance(x, (int, float)) and not isinstance(x, np.generic):
            kinds.append(type(x) if type(x) in (int, float) else float)
        else:
            kinds.append(None)
    tensors = [convert(x) if kind is None else x for x, kind in zip(given, kinds, strict=True)]
    named = [k or t.dtype for k, t in zip(kinds, tensors, strict=True)]
    dtype = result_type(*named, *([at_least] if at_least else []))
    return [convert(t, dtype) for t in tensors]
