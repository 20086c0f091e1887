"""Checks of arguments that all or several layers have, for use in fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn import activations, constraints, initializers, regularizers
from gpunn.common.arguments import check_choice, check_number, optional
from gpunn.common.registry import is_own

from .shapes import check_shape

MOST_CODES = 1 << 24
"""Up to here float32 represents every integer."""


def _part(get: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: get(value)


def check_activation(name: str, value: Any) -> activations.Activation:
    """Return the activation for a name, an object, a function, or a layer that applies one."""
    # A layer with weights, or a penalty, is more than its activation: `get` refuses it.
    if getattr(value, "_is_activation", False) and is_own(value):
        value = value if value.activity_regularizer else value.activation
    return activations.get(value)


check_constraint = optional(_part(constraints.get))
check_initializer = _part(initializers.get)
check_regularizer = optional(_part(regularizers.get))


def check_units(name: str, value: Any) -> int:
    """Return ``value`` as a positive integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")
    return int(value)


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    """Return a check for one of these words, in upper or lower case."""
    return lambda name, value: check_choice(
        name, value.lower() if isinstance(value, str) else value, allowed
    )


check_padding = _one_of("valid", "same")
check_padding_of_steps = _one_of("valid", "same", "causal")


def check_data_format(name: str, value: Any) -> str:
    """Return ``"channels_last"``, also for None, or ``"channels_first"``."""
    value = "channels_last" if value is None else value
    return check_choice(name, value, ("channels_last", "channels_first"))


def check_name(argument: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise ValueError(f"{argument} must be a non-empty string without '/'; got {value!r}.")
    return value


def check_multiplier(argument: str, value: Any) -> float | str:
    if value == "lecun":
        return value
    if isinstance(value, str):
        raise ValueError(f'{argument} must be a number or "lecun"; got {value!r}.')
    return check_number(argument, value, 0)


def check_sample(argument: str, value: Any) -> tuple[int, ...]:
    """Return the shape of one sample from any of the three arguments for it."""
    if argument == "input_dim":
        value = (value,)
    if argument == "batch_input_shape" and isinstance(value, (tuple, list)) and value:
        value = tuple(value[1:])
    return check_shape(value, argument)


def check_codes_below(
    count: int, array: Any, argument: str, reader: str, range_error: Any = ValueError,
    whole_error: Any = ValueError, hint: str = "",
) -> None:
    """Raise an error for an array of data other than whole numbers from 0 to ``count`` - 1.

    Args:
        argument, reader: the names of the data and of the layer that reads them.
        range_error, whole_error: what is raised for numbers out of range, and for fractions.
    """
    if array.size == 0 or (array.dtype.kind == "b" and count > 1):
        return
    whole = array.dtype.kind in "biu" or bool((np.floor(array) == array).all())
    if whole and array.min() >= 0 and array.max() < count:
        return
    wrong = ~((array >= 0) & (array < count)) | (np.floor(array) != array)
    at = tuple(np.argwhere(wrong)[0].tolist())
    error = range_error if np.floor(array[at]) == array[at] else whole_error
    raise error(
        f"{argument} holds {array[at]} at {list(at)}; {reader} takes whole numbers from 0 to "
        f"{count - 1}.{hint}"
    )
