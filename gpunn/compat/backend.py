"""Keras's ``backend``: settings, ``clear_session``, and operations under their old names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn import ops
from gpunn.common import names
from gpunn.common.config import epsilon, floatx, set_floatx
from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS
from gpunn.ops import random
from gpunn.ops.variable import Variable

__all__ = [
    "Variable", "backend", "clear_session", "epsilon", "floatx", "get_value", "image_data_format",
    "random_normal", "random_uniform", "result_type", "set_floatx", "variable",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)


def backend() -> str:
    """Return the backend's name for scripts that ask: ``"gpunn"``."""
    return "gpunn"


def clear_session(free_memory: bool = True) -> None:
    """Reset automatic layer names: the next Dense is ``dense`` again.

    Existing models keep their names. A session has no other state.
    """
    names.forget()


def image_data_format() -> str:
    """Return the default position of channels: ``"channels_last"``."""
    return "channels_last"


def get_value(x: Any) -> Any:
    """Return the values of a tensor, variable or parameter as a NumPy array."""
    return ops.convert_to_numpy(x)


def random_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Draw from a normal distribution; see `gpunn.random.normal`."""
    return random.normal(shape, mean, stddev, dtype, seed)


def random_uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Draw from a uniform distribution; see `gpunn.random.uniform`."""
    return random.uniform(shape, minval, maxval, dtype, seed)


def variable(value: Any, dtype: Any = None, name: str | None = None) -> Variable:
    """Create a variable with this first value; see `gpunn.Variable`."""
    return Variable(value, dtype=dtype, name=name)


def result_type(*dtypes: Any) -> str:
    """Return the dtype of a result computed from these; see `gpunn.ops.dtypes`."""
    return ops.dtypes.result_type(*dtypes)


def __getattr__(name: str) -> Callable[..., Any]:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(
        f"gpunn.backend has no {name!r}.{closest(name, sorted({*FUNCTIONS, *__all__}))} "
        f"Operations on tensors are in gpunn.ops."
    )
