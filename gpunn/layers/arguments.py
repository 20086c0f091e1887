"""Checks of arguments that all or several layers have, for use in fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn import activations, constraints, initializers, regularizers
from gpunn.common.arguments import check_choice, check_integer, check_number

from .shapes import check_shape


def _part(get: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: get(value)


check_activation = _part(activations.get)
check_constraint = _part(constraints.get)
check_initializer = _part(initializers.get)
check_regularizer = _part(regularizers.get)


def check_units(name: str, value: Any) -> int:
    """Return ``value`` as a positive integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")
    return int(value)


def check_pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """Return ``value`` as (height, width): one integer for both, or two.

    >>> check_pair("strides", 2), check_pair("strides", [1, 3])
    ((2, 2), (1, 3))
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name} must be an integer or two of them; got {value!r}.")
    return check_integer(name, values[0], least), check_integer(name, values[1], least)


def check_padding(name: str, value: Any) -> str:
    """Return ``"valid"`` or ``"same"``; upper and lower case are accepted."""
    value = value.lower() if isinstance(value, str) else value
    return check_choice(name, value, ("valid", "same"))


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
        value = tuple(n for n in value[1:] if n is not None)
    return check_shape(value, argument)
