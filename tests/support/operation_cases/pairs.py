"""Cases of element-wise operations on two or more tensors."""

from __future__ import annotations

import numpy as np

from .case import bools, floats, ints, of, oracle
from .differences import (
    AT_ORIGIN,
    BY_0,
    FIRST_OF_EQUALS,
    NEGATIVE_BASE,
    OF_NAN,
)
from .edges import ENDS, FEW_ENDS, INTEGERS, SMALL, TRUTHS, pairs

BROADCAST = (
    ((3, 4), (3, 4)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,)), ((3,), ()),
    ((2, 1, 3), (4, 1)), ((0, 3), (1, 3)), ((1,), (1,)), ((1, 1), (5,)), ((), ()),
)  # fmt: skip
SHAPED = [of(floats(*a), floats(*b, seed=1)) for a, b in BROADCAST]
AT_ENDS = of(*pairs(FEW_ENDS, FEW_ENDS))
OF_INTEGERS, OF_SMALL = of(*pairs(INTEGERS, INTEGERS)), of(*pairs(SMALL, SMALL))
TRUE_FALSE, MIXED = of(*pairs(TRUTHS, TRUTHS)), of(*pairs(SMALL, FEW_ENDS))
MISFIT = [of(floats(3), floats(4)), of(floats(2, 3), floats(2))]


def with_numbers(name: str) -> list:
    """Calls with Python numbers, which take the dtype of the other operand."""
    return [
        of(x, by=by)
        for x in (floats(5), ints(5))
        for by in (
            lambda k, x: getattr(k, name)(x, 2), lambda k, x: getattr(k, name)(2, x),
            lambda k, x: getattr(k, name)(x, 2.5), lambda k, x: getattr(k, name)(2.5, x),
        )
    ]  # fmt: skip


for name in ("add", "subtract", "multiply"):
    oracle(
        name, AT_ENDS, OF_SMALL, MIXED, SHAPED, MISFIT, with_numbers(name), edges=(), ulps=1
    )
for name in ("maximum", "minimum", "fmax", "fmin"):
    oracle(
        name, AT_ENDS, OF_INTEGERS, TRUE_FALSE, MIXED, SHAPED, MISFIT, with_numbers(name),
        edges=(), ulps=0, differs=[FIRST_OF_EQUALS, OF_NAN],
    )  # fmt: skip
for name in (
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
    "logical_or", "logical_xor",
):  # fmt: skip
    oracle(
        name, AT_ENDS, OF_INTEGERS, TRUE_FALSE, MIXED, SHAPED, MISFIT, with_numbers(name),
        of(*pairs(TRUTHS, INTEGERS)), edges=(), ulps=0,
    )  # fmt: skip
for name in ("divide", "true_divide", "divide_no_nan", "arctan2", "hypot", "heaviside"):
    oracle(
        name, AT_ENDS, OF_SMALL, TRUE_FALSE, MIXED, SHAPED, MISFIT, with_numbers(name), edges=(),
        differs=[AT_ORIGIN] if name in ("hypot", "arctan2") else [],
    )  # fmt: skip
for name in ("logaddexp", "logaddexp2"):
    oracle(
        name, AT_ENDS, OF_SMALL, TRUE_FALSE, MIXED, SHAPED, MISFIT, with_numbers(name), edges=(),
        scale="one", ulps=8,
    )  # fmt: skip
for name in ("mod", "floor_divide", "fmod"):
    oracle(
        name, AT_ENDS, OF_SMALL, MIXED, SHAPED, MISFIT, with_numbers(name), edges=(), ulps=1,
        differs=[BY_0],
    )  # fmt: skip
oracle(
    "power", AT_ENDS, of(*pairs(SMALL[:-1], SMALL[SMALL >= 0][:-1])), MIXED, SHAPED, MISFIT,
    *(of(FEW_ENDS, by=lambda k, x, n=n: k.power(x, n)) for n in (0, 1, 2, 3, -1, 0.5, 2.5, -2)),
    of(floats(5), by=lambda k, x: k.power(2, x)), edges=(), ulps=8,
    differs=[NEGATIVE_BASE, OF_NAN],
)  # fmt: skip
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    oracle(
        name, OF_INTEGERS, TRUE_FALSE, of(*pairs(TRUTHS, INTEGERS)), of(SMALL, SMALL),
        of(floats(3), floats(3)), edges=(), ulps=0,
    )  # fmt: skip
SHIFTS = np.array([0, 1, 5, 31], np.int32)
for name in ("left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"):
    oracle(name, of(*pairs(INTEGERS, SHIFTS)), of(floats(3), ints(3)), edges=(), ulps=0)

near = floats(9)
CLOSE = [
    of(x, y, rtol=1e-2, equal_nan=equal_nan)
    for x, y in (
        (near, near * (1 + 1e-3)), (near, near * (1 + np.linspace(0, 2e-2, 9))), (ENDS, ENDS),
        (floats(0), floats(0)),
    )
    for equal_nan in (False, True)
]  # fmt: skip
oracle("isclose", CLOSE, AT_ENDS, OF_INTEGERS, SHAPED, edges=(), ulps=0)
oracle("allclose", CLOSE, of(floats(3), floats(1)), of(SMALL, SMALL), edges=(), ulps=0)

oracle(
    "clip", of(ENDS, x_min=-0.5, x_max=0.5), of(ENDS, x_min=1.0, x_max=-1.0),
    of(ENDS, x_min=0.0, x_max=6.0), of(ENDS, x_min=-np.inf, x_max=np.inf),
    of(ENDS, x_min=np.nan, x_max=1.0, smooth=False), of(INTEGERS, x_min=-1, x_max=2),
    of(INTEGERS, x_min=-1.5, x_max=2.5), of(TRUTHS, x_min=0, x_max=1),
    of(floats(3, 4), floats(4) - 0.2, floats(4) + 0.3, by=lambda k, x, a, b: k.clip(x, a, b)),
    edges=(), ulps=0, differs=[OF_NAN],
)  # fmt: skip
oracle(
    "where", of(bools(3, 4), floats(3, 4), floats(4)), of(bools(33), ENDS, floats(33)),
    of(bools(33), floats(33), ENDS), of(ENDS, floats(33), floats(33, seed=1)),
    of(bools(3), ints(3), floats(3)), of(bools(3), floats(1), floats()),
    of(ints(5, low=-1, high=2), floats(5), floats(5, seed=1)),
    of(bools(4, 1), floats(3), floats(1, 3)), of(bools(3), by=lambda k, c: k.where(c, 1, 2)),
    of(bools(3), by=lambda k, c: k.where(c, 1.5, 2)), of(bools(10), INTEGERS, ints(10)),
    of(bools(2), floats(3), floats(3)), ulps=0,
)  # fmt: skip
oracle(
    "select", of(ENDS, by=lambda k, x: k.select([x > 1, x > 0], [x * 2, x * 3], -1.0)),
    of(ENDS, by=lambda k, x: k.select([x > 1], [x])),
    of(SMALL, by=lambda k, x: k.select([x > 1, x < 0], [x, x * 0 + 1], 9)),
    of(SMALL, by=lambda k, x: k.select([x > 1, x < 0], [x], 9)), edges=(), ulps=0,
)  # fmt: skip
