"""How the operation of a tensor becomes instructions of its group: by the `loop` of its primitive.

A rule gives what the tensor is in the group, or None, and has changed nothing, if it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunn.backends.contract.expression import (
    COLUMNS,
    MOST_COLUMNS,
    OPERANDS,
    ROW_FOLDS,
    TRUTHS,
    Extent,
)
from gpunn.ops.dtypes import LEAST, MOST
from gpunn.ops.tensor import Tensor

from .group import Group, Member, Value

Rule = Callable[[Group, Tensor], "Member | None"]


def _elementwise(group: Group, t: Tensor) -> Member | None:
    function, extent = t.primitive.loop, group.extent_of(t)
    if extent is None or t.dtype != ("bool" if function in TRUTHS else group.dtype):
        return None
    if function == "equal" and (places := _one_hot(group, t, extent)) is not None:
        return places
    needed = [group.extent_within(x.shape, t, extent) for x in t.inputs]
    for x, along in zip(t.inputs, needed, strict=True):
        if x.dtype not in (group.dtype, "bool") or not group.can_read(x, along):
            return None
    operands = [group.read(x, e) for x, e in zip(t.inputs, needed, strict=True) if e is not None]
    return Member(group.do(function, *operands), extent)


def _one_hot(group: Group, t: Tensor, extent: Extent) -> Member | None:
    """Whole numbers that are compared with the places in a row."""
    places, others = [x for x in t.inputs if x.is_constant], [
        x for x in t.inputs if not x.is_constant
    ]
    if not (len(places) == len(others) == 1 and others[0].dtype == places[0].dtype == "int32"):
        return None
    x, y = others[0], places[0]
    along = group.extent_within(x.shape, t, extent)
    columns = group.extent_within(y.shape, t, extent)
    exact = group.dtype == "float64" or group.columns <= 1 << 24  # its places are whole numbers
    counted = exact and np.array_equal(np.asarray(y.value).ravel(), np.arange(group.columns))
    if columns != COLUMNS or not counted or not group.can_read(x, along):
        return None
    assert along is not None
    return Member(group.do("equal", group.read(x, along), group.do("column_index")), extent)


def _fold(group: Group, t: Tensor) -> Member | None:
    (x,), axes = t.inputs, t.attributes["axis"]
    known = group.known(x)
    extent = known.extent if known else next(iter(group.extents_of(x.shape)), None)
    if t.dtype != group.dtype or extent is None or not group.can_read(x, extent):
        return None
    over = group.over(x.shape, extent, axes)
    long = group.columns > MOST_COLUMNS
    if over is None or (over.rows and t.primitive.loop != "row_sum") or (over.columns and long):
        return None
    value = group.fold(t.primitive.loop, group.read(x, extent), over)
    rest = Extent(extent.rows and not over.rows, extent.columns and not over.columns)
    return Member(value, rest)


def _cast(group: Group, t: Tensor) -> Member | None:
    (x,), extent = t.inputs, group.extent_of(t)
    known = group.known(x)
    if known is not None:
        extent = known.extent
    whole = t.dtype == "int32" and x.dtype == group.dtype
    kept = whole or t.dtype in ("bool", group.dtype)
    if extent is None or not kept or not group.can_read(x, extent):
        return None
    if known is None and x.is_constant and x.size == 1:
        return None
    value = group.read(x, extent)
    if t.dtype == "bool":
        return Member(group.do("not_equal", value, group.constant(0.0)), extent)
    if whole:
        value = _whole(group, value)
    elif x.dtype == "bool":
        value = group.do("copy", value)
    return Member(value, extent)  # others are converted as they are read


def _whole(group: Group, value: Value) -> Value:
    """The whole part of a float, within int32, and of NaN 0: as a float."""
    zero = group.constant(0.0)
    negative = group.do("less", value, zero)
    value = group.do("where", negative, group.do("ceil", value), group.do("floor", value))
    value = group.do("where", group.do("isnan", value), zero, value)
    most = float(np.array(MOST, group.dtype))  # the nearest, which is written as this one
    value = group.do("minimum", group.do("maximum", value, group.constant(float(LEAST))),
                     group.constant(most))
    return group.do("add", value, zero)  # an integer has no sign of zero


def _broadcast(group: Group, t: Tensor) -> Member | None:
    (x,), extent = t.inputs, next(iter(group.extents_of(t.shape)), None)
    if extent is None or t.dtype not in (group.dtype, "bool"):
        return None
    along = group.extent_within(x.shape, t, extent)
    if along is None or not group.can_read(x, along):
        return None
    return Member(group.read(x, along), extent)


def _same(group: Group, t: Tensor) -> Member | None:
    """The numbers of its input, in another shape maybe."""
    (x,), known = t.inputs, group.known(t.inputs[0])
    extent = known.extent if known else None if t.primitive.view else group.extent_of(t)
    if extent not in group.extents_of(t.shape) or t.dtype not in (group.dtype, "bool", "int32"):
        return None
    return Member(group.read(x, extent), extent) if group.can_read(x, extent) else None


RULES: dict[str, Rule] = {
    **{name: _elementwise for name in OPERANDS},
    **dict.fromkeys(ROW_FOLDS, _fold),
    "cast": _cast,
    "broadcast": _broadcast,
    "same": _same,
}


def joins(group: Group, t: Tensor) -> bool:
    """Whether a tensor fits, and is taken in: what it is made of are members, or there before."""
    rule = RULES.get(t.primitive.loop)
    if rule is None or group.is_full:
        return False
    member = rule(group, t)
    if member is not None:
        group.add(t, member)
    return member is not None
