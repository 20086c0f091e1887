"""Libraries that a call of an operation can use: gpunn, and those it is compared with.

A call is written once, ``lambda k, x: k.sum(x, axis=0)``, and ``k`` is one of these libraries.
"""

from __future__ import annotations

import importlib
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from . import on_torch

Function = Callable[..., Any]


class Library:
    """The functions of some modules, by name.

    Args:
        modules: names of modules; the first that has a function is used.
        own: functions that these modules lack, or that have other arguments there.
    """

    def __init__(self, modules: Sequence[str], own: dict[str, Function] | None = None) -> None:
        self._modules, self._own = modules, own or {}

    def __getattr__(self, name: str) -> Function:
        if name in self._own:
            return self._own[name]
        if name.startswith("__"):
            raise AttributeError(name)
        os.environ["KERAS_BACKEND"] = "torch"
        for module in map(importlib.import_module, self._modules):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(name)


@contextmanager
def keras_with_float64() -> Iterator[None]:
    """Let Keras keep float64 as it does on TensorFlow: elsewhere it converts it to float32."""
    os.environ["KERAS_BACKEND"] = "torch"
    dtypes = importlib.import_module("keras.src.backend.common.dtypes")
    with patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, {"float64": "float64"}):
        yield


def saturate_cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """Convert to a dtype; values out of range become the nearest that the dtype has."""
    if dtype == "bool":
        return np.clip(x, 0, 1).astype(bool)
    if np.dtype(dtype).kind == "f":
        ends = np.finfo(dtype)
        return np.clip(x.astype(float), ends.min, ends.max).astype(dtype)
    ends = np.iinfo(dtype)
    inside = np.where(x >= ends.max, 0, np.where(x <= ends.min, 0, x))
    whole = inside.astype(dtype)
    return np.where(x >= ends.max, ends.max, np.where(x <= ends.min, ends.min, whole)).astype(dtype)


ON_NUMPY: dict[str, Function] = {
    "get_item": operator.getitem,
    "cast": lambda x, dtype: x.astype(dtype),
    "clip": lambda x, x_min, x_max: np.clip(x, x_min, x_max),
    "reshape": lambda x, newshape: np.reshape(x, newshape),
    "tile": lambda x, repeats: np.tile(x, repeats),
    "rot90": lambda array, k=1, axes=(0, 1): np.rot90(array, k, axes),
    "saturate_cast": saturate_cast,
    "relu": lambda x: np.maximum(x, 0),
    "view": lambda x, dtype=None: x.view(dtype),
    "full_like": lambda x, fill_value, dtype=None: np.full_like(x, fill_value, dtype),
}
OURS = Library(["gpunn.ops"])
KERAS = Library(["keras.ops"], on_torch.FUNCTIONS)
NUMPY = Library(["numpy", "numpy.linalg", "scipy.special"], ON_NUMPY)
