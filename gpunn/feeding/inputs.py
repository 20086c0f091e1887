"""Conversion of user data to one checked array for each input that a step reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.common.names import closest
from gpunn.core.plan import INPUT, HostPart
from gpunn.layers.shapes import covers
from gpunn.structure.graph import by_name

from .arrays import as_array, check_exact, check_int32
from .spec import Spec


def inputs(spec: Spec, x: Any, where: str = "") -> list[Any]:
    """Convert ``x`` to one array of samples for each input, on the host or the device.

    Integer values in the arrays are checked; floats may be anything.

    Raises:
        ValueError, TypeError: naming the argument, the given value and the expected one.
    """
    if x.__class__ is not np.ndarray:
        x = columns(spec, x, f"{where}x")
    host = spec.host
    if len(spec.given) == 1:
        argument, shape = spec.given[0]
        if x.__class__ in (list, tuple, dict):
            x = _alone(spec, x, len(shape))
        if host is None:
            return _checked(spec, [_input(spec, where + argument, shape, x)], where)
        given = [x]
    else:
        given = by_name(spec.names, spec.forms[0].flat(x, f"{where}x"), f"{where}x")
    encoded = host.encoded if host is not None else ()
    arrays = [
        (_input if k not in encoded else _to_encode)(spec, where + argument, shape, given[k])
        for k, (argument, shape) in enumerate(spec.given)
    ]
    for array, (argument, _) in zip(arrays, spec.given, strict=True):
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{where}{argument} has {len(array)} rows, {where}{spec.given[0][0]} "
                f"{len(arrays[0])}; the numbers of rows must be equal."
            )
    return _checked(spec, arrays if host is None else _on_host(spec, host, arrays, where), where)


def _checked(spec: Spec, arrays: list[Any], where: str) -> list[Any]:
    """Check that a step reads the integers in these arrays unchanged, and return the arrays."""
    for k, array in enumerate(arrays):
        if spec.integers[k]:
            check_int32(spec.backend, array, where + spec.inputs[k][0])
        elif spec.exact[k]:
            check_exact(spec.backend, array, spec.dtype, where + spec.inputs[k][0], of_input=True)
    return arrays


def _on_host(spec: Spec, host: HostPart, given: list[Any], where: str) -> list[Any]:
    """Compute what steps read from user data: encode some of it, check some of it."""
    made: list[Any] = []

    def found(number: int) -> Any:
        return made[number] if number >= 0 else given[INPUT - number]

    def name(number: int) -> str:
        return where + spec.given[host.source(number)][0]

    for layer, number in host.checks:
        array = found(number) if number < 0 else None  # encoded values need no check
        if array is not None:
            layer._check_values(_read(spec, array), name(number))
    for layer, number in host.steps:
        made.append(layer.encode(found(number), name(number)))
    fed = []
    for number, (argument, shape) in zip(host.fed, spec.inputs, strict=True):
        array = found(number)
        if number < 0 and INPUT - number in host.encoded:  # also read unencoded
            array = _input(spec, where + argument, shape, array)
        fed.append(array)
    return fed


def columns(spec: Spec, x: Any, argument: str) -> Any:
    """Return the columns of a frame that have the names of inputs; anything else unchanged.

    Surplus columns are ignored, and their order does not matter.

    Raises:
        ValueError: naming the columns that a frame lacks.
    """
    from .frames import columns_of

    there = columns_of(x)
    if there is None:
        return x
    if len(spec.given) == 1 and not spec.by_name:
        shape = spec.given[0][1]
        if spec.names[0] not in there or shape not in ((), (1,)):
            return x
    missing = [name for name in spec.names if name not in there]
    if missing:
        raise ValueError(
            f"{argument} lacks the columns {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, there[:20]))}{', ...' if len(there) > 20 else ''}."
            f"{closest(str(missing[0]), list(map(str, there)))}"
        )
    return {name: x[name] for name in spec.names}


def _read(spec: Spec, x: Any) -> Any:
    """Copy a device array to the host; return anything else unchanged."""
    if type(x) is np.ndarray or type(x) is np.ma.MaskedArray:
        return x
    if spec.backend.owns(x):
        spec.backend.wait_for_caller()
    elif hasattr(x, "__cuda_array_interface__"):
        x = spec.backend.upload(x)
    else:
        return x
    return spec.backend.read(x)


def _to_encode(spec: Spec, argument: str, shape: tuple[int, ...], x: Any) -> np.ndarray:
    """Convert an input that the host encodes to an array of any dtype."""
    if x is None:
        raise ValueError(f"{argument} is missing.")
    x = _read(spec, x)
    if isinstance(x, (str, bytes, set, Mapping)):
        raise TypeError(f"{argument} must be an array or a list of values; got {x!r:.80}.")
    if isinstance(x, (list, tuple)):
        plain = np.asarray(x, dtype=object)
        numbers = np.asarray(x) if plain.ndim else plain
        x = numbers if numbers.dtype.kind in "biuf" else plain
    from gpunn.common.numeric.columns import values_of  # most models encode nothing

    x = values_of(x)
    array = x if isinstance(x, np.ma.MaskedArray) else np.asarray(x)
    return _shaped(array, shape, argument, x)


def _alone(spec: Spec, given: Any, axes: int) -> Any:
    """Return the array for a model's only input, even if it is in a dictionary or a list."""
    if isinstance(given, Mapping) and set(given) == set(spec.names):
        return given[spec.names[0]]
    if isinstance(given, (list, tuple)) and len(given) == 1:
        shape = getattr(given[0], "shape", ())
        return given[0] if len(shape) == axes + 1 else given
    return given


def _input(spec: Spec, argument: str, shape: tuple[int, ...], x: Any) -> Any:
    if type(x) is np.ndarray and x.dtype.kind in "biuf" and x.dtype.isnative and x.ndim:
        under = x if x.base is None else x.base
        if type(under) is np.ndarray and under.base is None and x.shape[1:] == shape and x.size:
            return x  # as in most calls
    return _shaped(as_array(x, argument, spec.backend), shape, argument, x)


def _shaped(array: Any, shape: tuple[int, ...], argument: str, x: Any) -> Any:
    """Reshape an array to the sample shape of an input; ``x`` is the user's value."""
    if (array.shape[1:] != shape and not covers(shape, array.shape[1:])) or not array.shape:
        # A last axis of length 1 may be missing or surplus, as in Keras.
        if array.ndim and covers(shape, (*array.shape[1:], 1)):
            array = array.reshape(*array.shape, 1)
        elif array.ndim and covers((*shape, 1), array.shape[1:]):
            array = array.reshape(array.shape[:-1])
        else:
            raise _wrong_x(shape, array.shape, x, argument)
    if None in shape and 0 in array.shape[1:]:
        raise ValueError(f"{argument} has the shape {array.shape}: samples of no length.")
    if not len(array):
        raise ValueError(
            f"{argument} is empty: its shape is {array.shape}. It needs at least one row."
        )
    return array


def _wrong_x(wanted: tuple[int, ...], shape: tuple[int, ...], x: Any, argument: str) -> ValueError:
    if isinstance(x, tuple):
        hint = " It is a tuple: pass its parts as x, y and sample_weight."
    elif shape == wanted:
        hint = " Add the batch axis: x[numpy.newaxis]."
    elif shape[::-1][1:] == wanted and len(shape) == 2:
        hint = " It looks transposed: pass x.T."
    elif shape and None not in wanted and math.prod(shape[1:]) == math.prod(wanted):
        hint = f" Its values fit: x.reshape({', '.join(map(str, (-1, *wanted)))})."
    else:
        hint = ""
    expected = ", ".join(("batch", *map(str, wanted)))
    return ValueError(f"{argument} has shape {shape}; the model takes ({expected}).{hint}")
