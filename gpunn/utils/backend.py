"""Keras's ``backend``: settings, ``clear_session``, and operations under their old names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn import ops
from gpunn.common import names
from gpunn.common.config import epsilon, floatx, set_floatx
from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

__all__ = [
    "backend", "clear_session", "epsilon", "floatx", "get_value", "image_data_format",
    "result_type", "set_floatx",
]  # fmt: skip


def backend() -> str:
    """The name of what computes, as scripts ask for it: ``"gpunn"``."""
    return "gpunn"


def clear_session(free_memory: bool = True) -> None:
    """Begin anew with the names of layers: the next Dense is ``dense`` again.

    Models that exist keep theirs. There is no other state of a session.
    """
    names.forget()


def image_data_format() -> str:
    """Where channels are unless a layer says otherwise: ``"channels_last"``."""
    return "channels_last"


def get_value(x: Any) -> Any:
    """The numbers of a tensor, a variable or a parameter, as an array of NumPy."""
    return ops.convert_to_numpy(x)


def result_type(*dtypes: Any) -> str:
    """The dtype of what is computed from these; see `gpunn.ops.dtypes`."""
    return ops.dtypes.result_type(*dtypes)


def __getattr__(name: str) -> Callable[..., Any]:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(
        f"gpunn.backend has no {name!r}.{closest(name, sorted({*FUNCTIONS, *__all__}))} "
        f"Operations on tensors are in gpunn.ops."
    )
