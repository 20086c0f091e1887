"""Cases of operations along axes."""

from __future__ import annotations

import numpy as np

from .case import Call, bools, floats, ints, of, oracle
from .differences import (
    INFINITE_SUM,
    NO_SPREAD,
    OF_NAN,
    OTHERS,
    REPLACED,
    ROW_OF_NAN,
    WRAPPED,
    ZERO_ROW,
)

# A shape and axes of it; every other case keeps the reduced axes with length 1.
AXES = (
    ((3, 4), None), ((3, 4), 0), ((3, 4), -1), ((2, 3, 4), (0, 2)), ((2, 3, 4), 1),
    ((2, 3, 4), (-1, 0)), ((), None), ((1,), 0), ((5,), 0), ((3, 4), ()), ((1, 1), None),
    ((3, 2), (1, 0)), ((7, 33), -1), ((2, 1, 3), 1), ((3, 4), None), ((3, 4), 1),
)  # fmt: skip
EMPTY = ((0,), None), ((0, 3), 0), ((0, 3), 1), ((2, 0, 3), (0, 1)), ((2, 0, 3), -1)
WRONG = 2, -3, (0, 0), (0, -2), 1.5, (0, 5)


def along_axes(cases: tuple) -> list[Call]:
    return [
        of(floats(*shape), axis=axis, keepdims=bool(k % 2))
        for k, (shape, axis) in enumerate(cases)
    ]


REFUSED = [of(floats(3, 4), axis=axis) for axis in WRONG]
NUMBERS = [of(make(3, 4), axis=axis) for make in (ints, bools) for axis in (None, 1)]
TIED = [of(floats(3, 9).round(), axis=1), of(floats(3, 9).round())]
HOLES = np.array([[np.nan, 1.0, -2.0], [np.nan, np.nan, 3.0], [0.5, 0.25, 4.0]])

HUGE = of(np.array([2**31 - 1, 2], np.int32))
EDGES = "zeros", "ties", "tiny", "inf", "nan"
OVER = tuple(case for case in AXES if case[1] != ())  # given no axis, PyTorch reduces all
DIFFERING = {
    "sum": [WRAPPED], "nansum": [WRAPPED, OF_NAN], "prod": [WRAPPED, OTHERS], "nanmean": [OF_NAN],
    "nanprod": [WRAPPED, OTHERS], "nanvar": [OF_NAN],
}  # fmt: skip
for name in ("sum", "nansum", "prod", "nanprod", "mean", "nanmean", "var", "nanvar"):
    oracle(
        name, along_axes(OVER if "nan" in name or name == "var" else AXES), along_axes(EMPTY),
        NUMBERS, REFUSED, of(floats(4, 5) * (floats(4, 5, seed=1) > 0), axis=1), of(HOLES, axis=0),
        of(HOLES, axis=1), HUGE, scale="largest", ulps=16,
        edges=[edge for edge in EDGES if edge != "inf" or not name.endswith("var")],
        differs=DIFFERING.get(name, []),
    )  # fmt: skip
for name in ("std", "nanstd"):
    oracle(
        name, along_axes(OVER), along_axes(EMPTY), NUMBERS, REFUSED, of(HOLES, axis=0),
        of(HOLES, axis=1), scale="largest", ulps=16, edges=EDGES, differs=[NO_SPREAD],
    )  # fmt: skip
oracle(
    "psnr", *(of(floats(*shape), floats(*shape, seed=1), max_val=most)
              for shape, most in (((3, 4), 1.0), ((2, 4, 4, 3), 255), ((5,), 0.5), ((), 2))),
    of(floats(3), floats(4), max_val=1.0), of(floats(3), floats(1), max_val=1.0),
    values="keras", scale="one", ulps=64,
)  # fmt: skip


def from_initial(name: str) -> list[Call]:
    """Calls with a number that a result is at least, or at most; also of no elements."""
    return [
        *(
            of(x, by=lambda k, x, i=initial: getattr(k, name)(x, axis=1, initial=i))
            for x, least in ((floats(3, 4), 0.25), (ints(3, 4), 0)) for initial in (least, -7, 7)
        ),
        *(
            of(x, by=lambda k, x, o=options: getattr(k, name)(x, initial=2.0, **o))
            for x in (floats(3, 0), floats(0))
            for options in ({}, {"keepdims": True}, {"axis": 0}, {"axis": -1, "keepdims": True})
        ),
    ]  # fmt: skip


for name in ("max", "min", "amax", "amin", "nanmax", "nanmin", "ptp"):
    oracle(
        name, along_axes(OVER), along_axes(EMPTY), NUMBERS[:2], REFUSED, TIED, of(HOLES, axis=1),
        from_initial(name) if name in ("max", "min") else [], ulps=1, differs=[ROW_OF_NAN],
    )  # fmt: skip
for name in ("all", "any"):
    oracle(name, along_axes(AXES), along_axes(EMPTY), NUMBERS, REFUSED, TIED, ulps=0)
oracle(
    "logsumexp", along_axes(OVER), of(floats(3, 4) * 500, axis=-1), of(ints(3, 4), axis=0),
    of(np.full((2, 3), -np.inf), axis=1), along_axes(EMPTY[:1]), values="keras", scale="one",
    ulps=16, differs=[INFINITE_SUM],
)  # fmt: skip
oracle(
    "nonzero",
    *(of(x, eager_only=True) for x in (floats(3, 4).round(), ints(7), bools(2, 3), floats(0, 3))),
    edges=(), ulps=0,
)  # fmt: skip
oracle(
    "count_nonzero",
    *(
        of(x, axis=axis)
        for x in (floats(3, 4).round(), ints(3, 4, low=-1, high=2), bools(3, 4), floats(0, 3))
        for axis in (None, 0, -1, (0, 1), ())
    ),
    ulps=0,
)  # fmt: skip
oracle(
    "moments",
    *(
        of(floats(*shape), axes=axes, keepdims=keepdims)
        for shape, axes in (((3, 4), 0), ((3, 4, 2), (0, 2)), ((3, 4), -1), ((3, 4), (0, 1)))
        for keepdims in (False, True)
    ),
    values="keras", scale="largest", ulps=16, edges=("zeros", "ties", "tiny", "nan"),
)  # fmt: skip
oracle(
    "average", of(floats(3, 4)), of(floats(3, 4), axis=1), of(ints(3, 4), axis=0), of(bools(3, 4)),
    of(floats(2, 3, 4), axis=(0, 2)),
    *(
        of(x, w, by=lambda k, x, w, axis=axis: k.average(x, axis=axis, weights=w))
        for x, w, axis in (
            (floats(3, 4), floats(3, low=0.2, high=1), 0),
            (floats(3, 4), floats(4, low=0.2, high=1), -1),
            (floats(3, 4), floats(3, 4, low=0.2, high=1), None),
            (floats(3, 4), floats(3, 4, low=0.2, high=1), 1),
            (ints(3, 4), ints(3, low=1, high=4), 0), (floats(3, 4), floats(4), None),
            (floats(3, 4), floats(4), 0), (floats(3, 4), floats(3, 1), 1),
            (floats(2, 3, 4), floats(2, 4, low=0.2), (0, 2)),
        )
    ),
    scale="largest", ulps=16, edges=("zeros", "tiny"),
)  # fmt: skip

ORDERS = None, 1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc"
SINGULAR = 2, -2, "nuc"  # computed from singular values
oracle(
    "norm",
    *(of(floats(3, 4), ord=o, axis=k % 2) for k, o in enumerate((None, 0, 1, 2, 3, -1, -2, 0.5))),
    *(of(floats(3, 4), ord=o, axis=-1, keepdims=True) for o in (None, np.inf, -np.inf)),
    *(
        of(floats(3, 4), ord=o, axis=(0, 1), keepdims=bool(k % 2), once=o in SINGULAR)
        for k, o in enumerate(ORDERS)
    ),
    *(of(floats(3, 4), ord=o, once=o in SINGULAR) for o in ORDERS),
    *(of(floats(2, 3, 4), ord=o, axis=(-1, 0), once=o in SINGULAR) for o in ORDERS),
    of(floats(2, 3, 4)), of(floats(5)), of(floats(5), ord=3), of(floats(5), ord="fro"),
    of(floats(2, 3, 4), ord=2), of(ints(5)), of(floats(3, 4), ord="x"), of(floats(0)),
    of(floats(0, 3), axis=1),
    of(np.zeros((2, 3)), axis=1, once=True),  # the second gradient is 0, not NaN as PyTorch's
    scale="largest", ulps=64, edges=("zeros", "ties", "tiny"),
)  # fmt: skip

for name in ("argmax", "argmin"):
    oracle(
        name,
        *(
            of(x, axis=axis, keepdims=bool(k % 2))
            for x in (floats(3, 4), ints(3, 4, low=0, high=3), bools(3, 4), floats(3, 4).round())
            for k, axis in enumerate((None, 0, -1, 1))
        ),
        of(floats(2, 3, 4), axis=1), of(floats(5), axis=0), of(floats()), of(floats(0)),
        of(floats(0, 3), axis=0), of(floats(0, 3), axis=1), of(floats(3, 4), axis=2),
        of(np.array([np.nan, np.nan, 1.0])), of(np.array([1, -(2**31), 5], np.int32)),
        of(np.array([0.0, -0.0])), of(np.array([-0.0, 0.0])), of(np.array([-np.inf, -np.inf])),
        ulps=0,
    )  # fmt: skip
for name in ("cumsum", "cumprod", "nancumsum", "nancumprod"):
    oracle(
        name,
        *(
            of(floats(*shape), axis=axis)
            for shape, axis in (
                ((3, 4), None), ((3, 4), 0), ((3, 4), -1), ((5,), 0), ((0,), 0), ((2, 3, 4), 1),
                ((1,), 0), ((), None), ((0, 3), 1), ((2, 70), 1), ((3,), 1),
            )
        ),
        of(ints(3, 4)), of(ints(3, 4), axis=0), of(bools(3, 4), axis=0),
        of(ints(3, 4), axis=0, dtype="float32"), HUGE, edges=EDGES,
        scale="largest", ulps=16, differs=[
            WRAPPED, *([OTHERS] if name.endswith("prod") else []),
            *([REPLACED] if name.startswith("nan") else []),
        ],
    )  # fmt: skip
for name in ("softmax", "log_softmax"):
    oracle(
        name,
        *(
            of(floats(*shape) * 3, axis=axis)
            for shape, axis in (((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((1, 1), -1))
        ),
        of(floats(3, 4) * 500), of(ints(3, 4)), of(bools(3)), of(floats(2, 3, 4), axis=(1, 2)),
        of(floats(2, 3, 4), axis=(0, 2)), of(floats(0, 3)), of(floats(3, 0)),
        of(np.full((2, 3), -np.inf)), of(np.full((2, 3), np.inf)), of(floats(3, 4), axis=2),
        values="keras", scale="one", ulps=16,
    )  # fmt: skip
oracle(
    "normalize",
    *(of(floats(*shape), axis=axis) for shape in ((3, 4), (2, 3, 4)) for axis in (-1, 0)),
    *(of(floats(3, 4), axis=k % 2, order=order) for k, order in enumerate((1, 2, 3, np.inf, 0))),
    of(floats(3, 4) * 1e-9), of(floats(3, 4), epsilon=0.5), of(ints(3, 4)), of(np.zeros((2, 3))),
    of(floats(3, 4) * 1e-22), of(floats(0, 3)), values="keras", scale="one", ulps=16,
    edges=("zeros", "ties", "tiny"),
    differs=[ZERO_ROW],
)  # fmt: skip
