"""Keras's ``backend``: settings, ``clear_session``, and operations under their old names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn import ops
from gpunn.common import names
from gpunn.common.config import epsilon, floatx, set_floatx
from gpunn.common.importing.lazy import offered
from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS
from gpunn.ops import random
from gpunn.ops.variable import Variable

from .absent import advice_of
from .keras_utils import is_keras_tensor, standardize_dtype

__all__ = [
    "Variable", "backend", "clear_session", "epsilon", "floatx", "get_value", "image_data_format",
    "is_float_dtype", "is_int_dtype", "is_keras_tensor", "random_normal", "random_uniform",
    "result_type", "set_floatx", "set_image_data_format", "standardize_dtype", "variable",
]


def is_float_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of floats.

    Args:
        dtype: A name, a type of Python or a dtype of NumPy.

    >>> is_float_dtype("float32"), is_float_dtype(int)
    (True, False)
    """
    return standardize_dtype(dtype).startswith(("float", "bfloat"))


def is_int_dtype(dtype: Any) -> bool:
    """Return whether a dtype is one of integers.

    Args:
        dtype: A name, a type of Python or a dtype of NumPy.

    >>> is_int_dtype("uint8"), is_int_dtype("bool")
    (True, False)
    """
    return standardize_dtype(dtype).startswith(("int", "uint"))


def backend() -> str:
    """Return the backend's name for scripts that ask Keras for it: always ``"gpunn"``.

    See `gpunn.get_backend` for what computes: NumPy, compiled kernels or CuPy.

    >>> backend()
    'gpunn'
    """
    return "gpunn"


def clear_session(free_memory: bool = True) -> None:
    """Reset automatic layer names: the next Dense is ``dense`` again.

    Existing models keep their names. A session has no other state.

    ``free_memory``: accepted as in Keras, and ignored.

    >>> import gpunn
    >>> clear_session()
    >>> gpunn.layers.Dense(1).name, gpunn.layers.Dense(1).name
    ('dense', 'dense_1')
    """
    names.forget()


def image_data_format() -> str:
    """Return the default position of the channels of images, for scripts: ``"channels_last"``.

    Images are (batch, height, width, channels); layers take ``data_format`` for others.

    >>> image_data_format()
    'channels_last'
    """
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accept the default position of the channels of images, for scripts that set it.

    Raises:
        ValueError: for another one than ``"channels_last"``; layers take ``data_format``.

    >>> set_image_data_format("channels_last")
    """
    if data_format != image_data_format():
        raise ValueError(
            f"data_format must be 'channels_last'; got {data_format!r}. Pass data_format to the "
            f"layers, or move the axes: x.transpose(0, 2, 3, 1)."
        )


# Keras's old names, and where it has the others.
get_value = ops.convert_to_numpy
random_normal, random_uniform = random.normal, random.uniform
result_type = ops.dtypes.result_type


def variable(value: Any, dtype: Any = None, name: str | None = None) -> Variable:
    """Create a variable with this first value; Keras's old name of `gpunn.Variable`.

    Args:
        value: numbers or an array.
        dtype: floatx by default.
        name: used in messages.

    >>> variable([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    return Variable(value, dtype=dtype, name=name)


def _operation(name: str) -> Callable[..., Any]:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if message := advice_of(__name__, name):
        raise AttributeError(message)
    raise AttributeError(
        f"gpunn.backend has no {name!r}.{closest(name, sorted({*FUNCTIONS, *__all__}))} "
        f"Operations on tensors are in gpunn.ops."
    )


__getattr__, __dir__ = offered(__name__, _operation)
