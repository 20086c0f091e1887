"""Functions of layers and losses."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.config import epsilon
from gpunn.ops.arithmetic import clip, softplus
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import floating
from gpunn.ops.elementwise import log, where
from gpunn.ops.places.checks import checked
from gpunn.ops.places.taking import take_unchecked
from gpunn.ops.reductions import log_softmax, sum_
from gpunn.ops.shapes import axis_of, expand_dims, moveaxis, squeeze
from gpunn.ops.table import operation
from gpunn.ops.tensor import Tensor


def _floats(x: Any) -> Tensor:
    x = convert(x)
    return convert(x, floating(x.dtype))


def _alike(name: str, target: Any, output: Any) -> tuple[Tensor, Tensor]:
    """Targets and outputs of one shape: broadcast, each would meet all others.

    Raises:
        ValueError: for those of two shapes.
    """
    t, y = _floats(target), _floats(output)
    if t.shape != y.shape:
        raise ValueError(
            f"{name}: target has shape {t.shape} and output {y.shape}; they must be equal."
        )
    return t, y


@operation
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """-t log(y) - (1 - t) log(1 - y) of each element, of probabilities or logits."""
    t, y = _alike("binary_crossentropy", target, output)
    if from_logits:
        return softplus(y) - t * y
    y = clip(y, epsilon(), 1.0 - epsilon())
    return -(t * log(y) + (1.0 - t) * log(1.0 - y))


@operation
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-sum_(t log(y)) along the classes, of probabilities (which are made to add up to 1) or
    logits."""
    t, y = _alike("categorical_crossentropy", target, output)
    if from_logits:
        logs = log_softmax(y, axis)
        impossible = (t == 0.0) & (logs == -math.inf)  # which is no target, and costs nothing
        return -sum_(t * where(impossible, 0.0, logs), axis)
    y = y / sum_(y, axis, keepdims=True)
    return -sum_(t * log(clip(y, epsilon(), 1.0 - epsilon())), axis)


@operation
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-log(y) of the class with this number, as in `categorical_crossentropy`. A number of no class
    is an error, in a step too."""
    y, t = _floats(output), convert(target, "int32")
    if t.ndim == y.ndim and t.shape[-1] == 1:
        t = t[..., 0]
    place = axis_of(axis, y.ndim)
    expected = y.shape[:place] + y.shape[place + 1 :]
    if t.shape != expected:
        raise ValueError(
            f"sparse_categorical_crossentropy: target has shape {t.shape} and output {y.shape}; a "
            f"target of shape {expected} is expected."
        )
    t = checked(t, 0, y.shape[place] - 1, "sparse_categorical_crossentropy: classes")
    if not from_logits:
        y = y / sum_(y, place, keepdims=True)
    logs = log_softmax(y, place) if from_logits else log(clip(y, epsilon(), 1.0 - epsilon()))
    rows = moveaxis(logs, place, -1)
    own = take_unchecked(rows, expand_dims(t, -1), rows.ndim - 1, along=True, wraps=False)
    return -squeeze(own, -1)
