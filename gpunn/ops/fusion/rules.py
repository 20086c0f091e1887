"""Rules that turn a tensor's operation into instructions of its group, by its `lowering`.

A rule returns the tensor's member of the group. If it does not fit, it returns None and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunn.backends.contract import expression as ir
from gpunn.ops.dtypes import LEAST, MOST, is_float
from gpunn.ops.tensor import Tensor

from .group import Group, Member, Value
from .storing import LOWERED

Rule = Callable[[Group, Tensor], "Member | None"]


def _elementwise(group: Group, t: Tensor) -> Member | None:
    function, value_axes = t.primitive.lowering, group.axes_of_tensor(t)
    if value_axes is None or t.dtype != ("bool" if function in ir.TRUTHS else group.dtype):
        return None
    if function == "equal" and (places := _one_hot(group, t, value_axes)) is not None:
        return places
    needed = [group.axes_within(x.shape, t, value_axes) for x in t.inputs]
    for x, along in zip(t.inputs, needed, strict=True):
        if x.dtype not in (group.dtype, "bool") or not group.can_read(x, along):
            return None
    operands = [group.read(x, e) for x, e in zip(t.inputs, needed, strict=True) if e is not None]
    return Member(group.do(function, *operands), value_axes)


def _one_hot(group: Group, t: Tensor, value_axes: ir.BroadcastAxes) -> Member | None:
    """Lower integers, or floats, that are compared with column indices."""
    places, others = (
        [x for x in t.inputs if x.is_constant],
        [x for x in t.inputs if not x.is_constant],
    )
    if not len(places) == len(others) == 1 or others[0].dtype not in ("int32", group.dtype):
        return None
    x, y = others[0], places[0]
    along = group.axes_within(x.shape, t, value_axes)
    columns = group.axes_within(y.shape, t, value_axes)
    exact = group.dtype == "float64" or group.columns <= 1 << 24  # column indices are exact
    counted = exact and np.array_equal(np.asarray(y.value).ravel(), np.arange(group.columns))
    if columns != ir.COLUMNS or not counted or not group.can_read(x, along):
        return None
    assert along is not None
    return Member(group.do("equal", group.read(x, along), group.do("column_index")), value_axes)


def _fold(group: Group, t: Tensor) -> Member | None:
    (x,), axes = t.inputs, t.attributes["axis"]
    known = group.known(x)
    value_axes = known.axes if known else next(iter(group.axes_of(x.shape)), None)
    if t.dtype != group.dtype or value_axes is None or not group.can_read(x, value_axes):
        return None
    over = group.over(x.shape, value_axes, axes)
    long = group.columns > ir.MOST_COLUMNS
    if over is None or (over.rows and t.primitive.lowering != "row_sum") or (over.columns and long):
        return None
    value = group.fold(t.primitive.lowering, group.read(x, value_axes), over)
    rows, columns = value_axes.rows and not over.rows, value_axes.columns and not over.columns
    return Member(value, ir.BroadcastAxes(rows, columns))


def _cast(group: Group, t: Tensor) -> Member | None:
    (x,), value_axes = t.inputs, group.axes_of_tensor(t)
    known = group.known(x)
    if known is not None:
        value_axes = known.axes
    whole = t.dtype == "int32" and x.dtype == group.dtype
    kept = whole or t.dtype in ("bool", group.dtype)
    if value_axes is None or not kept or not group.can_read(x, value_axes):
        return None
    if known is None and x.is_number:
        return None
    if t.dtype == "bool" and is_float(x.dtype) and x.dtype != group.dtype:
        return None  # what is tiny in float64 is 0 in float32
    value = group.read(x, value_axes)
    if t.dtype == "bool":
        return Member(group.do("not_equal", value, group.constant(0.0)), value_axes)
    if whole:
        value = _whole(group, value)
    elif x.dtype == "bool":
        value = group.do("copy", value)
    return Member(value, value_axes)  # other dtypes are converted when read


def _whole(group: Group, value: Value) -> Value:
    """Truncate a float to an integer in the range of int32, as a float; NaN becomes 0."""
    zero = group.constant(0.0)
    negative = group.do("less", value, zero)
    value = group.do("where", negative, group.do("ceil", value), group.do("floor", value))
    value = group.do("where", group.do("isnan", value), zero, value)
    most = float(np.array(MOST, group.dtype))  # the nearest float, which converts to MOST
    value = group.do(
        "minimum", group.do("maximum", value, group.constant(float(LEAST))), group.constant(most)
    )
    return group.do("add", value, zero)  # removes the sign of zero, which integers lack


def _broadcast(group: Group, t: Tensor) -> Member | None:
    (x,), value_axes = t.inputs, next(iter(group.axes_of(t.shape)), None)
    if value_axes is None or t.dtype not in (group.dtype, "bool"):
        return None
    along = group.axes_within(x.shape, t, value_axes)
    if along is None or not group.can_read(x, along):
        return None
    return Member(group.read(x, along), value_axes)


def _same(group: Group, t: Tensor) -> Member | None:
    """Lower an operation that returns its input's values, possibly with another shape."""
    (x,), known = t.inputs, group.known(t.inputs[0])
    value_axes = known.axes if known else None if t.primitive.view else group.axes_of_tensor(t)
    if value_axes not in group.axes_of(t.shape) or t.dtype not in (group.dtype, "bool", "int32"):
        return None
    return Member(group.read(x, value_axes), value_axes) if group.can_read(x, value_axes) else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(LOWERED, _elementwise),
    **dict.fromkeys(ir.ROW_REDUCTIONS, _fold),
    "cast": _cast,
    "broadcast": _broadcast,
    "same": _same,
}


def joins(group: Group, t: Tensor) -> bool:
    """Add a tensor, whose inputs are members or computed, if it fits; return whether it did."""
    rule = RULES.get(t.primitive.lowering)
    if rule is None or group.is_full:
        return False
    member = rule(group, t)
    if member is not None:
        group.add(t, member)
    return member is not None
