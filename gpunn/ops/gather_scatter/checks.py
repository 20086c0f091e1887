"""Range checks of values: immediately where they are known, else in each step; and values that
parameters and variables get, or are asked for, in a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.gather_scatter import Check, Complaint
from gpunn.common.config import floatx
from gpunn.core.operators import ASSIGNED, READ
from gpunn.core.recording import active
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import MOST, is_float
from gpunn.ops.primitive import Primitive, Work, place_in_user_code
from gpunn.ops.shapes import IntegerError
from gpunn.ops.tensor import Shape, Tensor, ops
from gpunn.ops.trace import current


class PlaceError(IndexError, ValueError):
    """An index out of range, in data or in a step."""


def integers(x: Any, what: str) -> Tensor:
    """Convert indices to int32, after checking that floats among them are whole numbers.

    Raises:
        IntegerError: a TypeError and ValueError, for fractions and NaN; in a trace, the step
            raises it.

    >>> integers([2.0, 1.5], "take: indices")
    Traceback (most recent call last):
    gpunn.ops.shapes.IntegerError: take: indices must be integers; got 1.5.
    """
    given = convert(x)
    if is_float(given.dtype) and given.is_constant:
        # In float64, which holds every int32.
        values = (given if isinstance(x, Tensor) else convert(x, "float64")).numpy()
        wrong = values[values != np.trunc(values)]
        if wrong.size:
            raise IntegerError(f"{what} must be integers; got {wrong[0]}.")
    elif is_float(given.dtype):
        fractions = f"{what} must be integers: their fractions"
        rest = checked(given - ops.floor(given), 0, 0, fractions, IntegerError)
        x = ops.where(rest == 0.0, given, 0.0)  # a valid index for checks that come later
    return convert(x, "int32")


Kind = Callable[[str], Exception]


def checked(x: Tensor, low: float, high: float, what: str, error: Kind = PlaceError) -> Tensor:
    """Return ``x``, after checking that each element is between ``low`` and ``high``; NaN is not.

    Where the values are known, an error is raised immediately. Otherwise the step raises it: on the
    host before any later operation, on a GPU when it is next synchronized. The check runs only if
    the returned tensor is used.

    >>> from gpunn import ops
    >>> checked(ops.convert_to_tensor([1, 5]), 0, 4, "take: indices")
    Traceback (most recent call last):
    gpunn.ops.gather_scatter.checks.PlaceError: take: indices must be from 0 to 4; got 5.
    """
    where = "" if x.is_constant else place_in_user_code()
    return _checked(x, low=low, high=high, what=what, where=where, error=error)


def _complaint(
    low: float, high: float, what: str, where: str, error: Kind,
    count: int, least: float, largest: float,
) -> Exception:
    got = _number(largest)
    if count > 1 and least != largest:
        got = f"{_number(least)} to {got}"
    if where:
        got = f"{got} in a step" if count == 1 else f"{got} in a step, {count} such values"
    return error(f"{what} must be from {_number(low)} to {_number(high)}{where}; got {got}.")


def _complaint_of(attributes: dict[str, Any]) -> Complaint:
    return partial(_complaint, *attributes.values())


def _number(number: float) -> str:
    """
    >>> _number(3.0), _number(2.5), _number(float("nan"))
    ('3', '2.5', 'nan')
    """
    return str(int(number)) if math.isfinite(number) and number == int(number) else str(number)


class _Checked(Primitive):
    """The same memory, whose values are checked in each step."""

    does_work = True
    metadata = "what", "where"

    def now(
        self, backend: Any, shape: Shape, dtype: str, arrays: Sequence[Any],
        attributes: dict[str, Any],
    ) -> np.ndarray:
        x = np.asarray(arrays[0])
        with np.errstate(invalid="ignore"):
            others = x[~((x >= attributes["low"]) & (x <= attributes["high"]))]
            if others.size:
                found = others.size, float(np.fmin.reduce(others)), float(others.max())
                raise _complaint_of(attributes)(*found)
        return x

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, low, high = computation.backend, y.attributes["low"], y.attributes["high"]
        check = Check(backend, low, high, _complaint_of(y.attributes), y)
        return partial(backend.check_range, out, check)


_checked = _Checked(
    "check", lambda x, **attributes: x, lambda shape, **attributes: shape, gradient="check",
    view=True,
)


# -- parameters and variables in a trace


def assign_in_trace(source: Any, value: Any) -> bool:
    """Assign ``value`` to a parameter or variable if a trace is active; return whether it was."""
    trace = current()
    if trace is None:
        return False
    if isinstance(source, Parameter) and source.integers is not None:
        value = _integers_of(source, value)
    value = convert(value, source.stored_dtype)
    if isinstance(source, Parameter):
        source.check(value)
    trace.assign(source, value)
    return True


def read_in_trace(source: Any) -> np.ndarray | None:
    """Return the values of a parameter or variable in the active trace, or refuse to; None for
    those that are stored."""
    trace = current()
    if active.watcher is not None:
        name = getattr(source, "path", None) or source.name
        active.watcher.asked(source, f"the values of {name}")
    return None if trace is None else trace.values_of(source)


def _integers_of(source: Parameter, value: Any) -> Tensor:
    """Convert a value for a parameter of integers stored as floats; each step checks its range, as
    floats do not hold all integers."""
    most = MOST if source.stored_dtype == "float64" else 2**24
    what = f"{source.path}, declared with dtype={source.integers!r} and stored as floats,"
    whole = convert(convert(value, source.integers), "int32")
    found = checked(whole, -most, most, what, OverflowError)
    return convert(found, source.stored_dtype or floatx())


ASSIGNED.append(assign_in_trace)
READ.append(read_in_trace)
