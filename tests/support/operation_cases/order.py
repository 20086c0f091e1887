"""Cases of sorting and searching operations."""

from __future__ import annotations

import numpy as np

from .case import bools, floats, ints, of, oracle
from .differences import BETWEEN_INFINITE, OF_NONE, OTHER_METHOD, TIED

SHAPES = ((3, 4), 0), ((3, 4), -1), ((5,), 0), ((0,), 0), ((2, 3, 4), 1), ((1,), 0), ((0, 3), 1)
LIMITS = np.array([1, 0, -(2**31), 2**31 - 1, -1], np.int32)
ENDED = np.array([np.nan, np.inf, -np.inf, 2.0])

SORTED = [
    *(of(floats(*shape), axis=axis) for shape, axis in SHAPES),
    *(of(x) for x in (ints(3, 4), bools(5), floats(3, 9).round(), LIMITS)),
    of(floats(3, 4), axis=None), of(floats(3, 4), axis=2), of(floats(), axis=None),
]  # fmt: skip
oracle("sort", SORTED, ulps=0)
# Equal values keep their order.
oracle("argsort", SORTED, values="keras", ulps=0)
oracle(
    "top_k", *(of(floats(3, 4), k=k) for k in (0, 1, 2, 4)), of(floats(3, 4), k=2, sorted=False),
    *(
        # The order of the indices of equal values is undefined there.
        of(x, by=lambda k, x, n=n: k.top_k(x, n)[0], smooth=False)
        for x, n in ((ints(2, 9, low=0, high=3), 4), (floats(3, 9).round(), 5), (bools(6), 2),
                     (LIMITS, 2), (LIMITS, 5))
    ),
    of(floats(3, 4), k=5), of(floats(3, 4), k=-1),
    values="keras", edges=("huge", "tiny", "inf", "nan"), ulps=0,
)  # fmt: skip

METHODS = "linear", "lower", "higher", "midpoint", "nearest"
SHARES = 0.3, np.array([0.0, 0.25, 1.0]), 0.5, 1.0, 0.0
for name, by in (
    ("quantile", 1.0), ("percentile", 100.0), ("nanquantile", 1.0), ("nanpercentile", 100.0)
):  # fmt: skip
    oracle(
        name,
        *(of(floats(3, 6), q=q * by, axis=-1, method=m) for m in METHODS for q in SHARES[:3]),
        *(of(floats(3, 6), q=q * by, axis=0) for q in SHARES[3:]),
        *(
            of(floats(2, 3, 4), q=np.array([0.5, 0.25]) * by, axis=axis, keepdims=keepdims)
            for axis, keepdims in ((None, True), (0, False), ((0, 2), True))
        ),
        of(ints(7), q=0.3 * by), of(floats(1), q=0.3 * by),
        of(floats(5), q=1.5 * by), of(floats(5), q=-0.5 * by), of(floats(11), q=0.1 * by),
        of(floats(101), q=0.29 * by),
        of(floats(5), q=0.5 * by, method="hazen", refused=OTHER_METHOD),
        of(floats(5), q=np.array([[0.5, 0.25]]) * by),
        of(floats(0), q=0.5 * by, refused=OF_NONE), scale="one",
        differs=[BETWEEN_INFINITE, TIED],
    )  # fmt: skip
for name in ("median", "nanmedian"):
    oracle(
        name,
        *(
            of(floats(*shape), axis=axis, keepdims=bool(k % 2))
            for k, (shape, axis) in enumerate((
                ((3, 4), None), ((3, 4), 0), ((3, 5), -1), ((2, 3, 4), (0, 2)), ((1,), 0),
                ((), None), ((0, 3), 1), ((3, 4), 2),
            ))
        ),
        of(ints(7)), of(bools(4)), of(floats(0), refused=OF_NONE), scale="one",
        differs=[BETWEEN_INFINITE, TIED],
    )  # fmt: skip

RISING = np.sort(floats(6))
SOUGHT = [
    (RISING, floats(3, 4)), (RISING, RISING[[0, 3, 3]]), (RISING, floats()),
    (np.array([1.0, 2.0, 3.0]), ENDED), (np.array([1.0, np.inf, np.nan]), ENDED),
    (np.array([1, 5, 9], np.int32), ints(4)), (floats(0), floats(3)), (RISING, floats(0)),
    (np.array([1, 5, 9], np.int32), np.array([4.5, 5.0])), (np.sort(LIMITS), LIMITS),
    (np.array([2**24, 2**24 + 1], np.int32), np.array([2.0**24 + 2])),
    (np.sort(floats(2, 3), -1), floats(2, 2)),
]  # fmt: skip
oracle(
    "searchsorted", *(of(a, v, side=side) for a, v in SOUGHT for side in ("left", "right")),
    of(RISING, floats(3), side="middle"), edges=(), ulps=0,
)  # fmt: skip
oracle(
    "digitize", of(floats(9), RISING), of(ints(9), np.array([-2.0, 0.0, 3.0])),
    of(floats(9), RISING[::-1].copy()), of(ENDED, np.array([0.0, 1.0])), of(floats(2, 3), RISING),
    of(floats(3), floats(0)), of(RISING, RISING), of(ints(9), np.array([-2, 0, 3], np.int32)),
    of(floats(3), np.array([0.0, 1.0, 0.5]), unseen=True), edges=(), ulps=0,
)  # fmt: skip
oracle(
    "isin", of(ints(3, 4), ints(3)), of(ints(3), ints(2, 2), invert=True),
    of(floats(5).round(), floats(3).round()),
    of(np.array([np.nan, 0.0, -0.0]), np.array([np.nan, 0.0])),
    of(ints(4), np.array([1.0, 2.5])), of(ints(4), ints(0)), of(ints(0), ints(3)),
    of(bools(3), ints(2)), of(np.array([2**24 + 1], np.int32), np.array([2.0**24])), edges=(),
)  # fmt: skip

COUNTED = ints(20, low=0, high=6)
oracle(
    "bincount", of(COUNTED, minlength=9),
    of(COUNTED, eager_only=True), of(ints(0), eager_only=True),
    of(COUNTED, minlength=3, eager_only=True),
    of(ints(0), minlength=4), of(np.array([0, -1], np.int32)),
    of(COUNTED, floats(20), by=lambda k, x, w: k.bincount(x, weights=w, minlength=6)),
    of(COUNTED, ints(20), by=lambda k, x, w: k.bincount(x, weights=w, minlength=6)),
    of(COUNTED, minlength=-1), edges=("inf", "nan"), scale="one", ulps=16,
)  # fmt: skip
oracle(
    "argpartition", of(floats(3, 5), by=lambda k, x: k.take_along_axis(
        x, k.argpartition(x, 2), -1)[..., 2]),
    of(floats(3, 5), by=lambda k, x: k.take_along_axis(x, k.argpartition(x, -2, axis=0), 0)[-2]),
    of(floats(3, 5), by=lambda k, x: k.take(x, k.argpartition(x, 4, axis=None)[4])),
    of(floats(5), kth=5), of(floats(5), kth=-6), edges=("ties", "inf", "nan"), smooth=False, ulps=0,
)  # fmt: skip
TARGETS = ints(7, low=0, high=4)
oracle(
    "in_top_k", *(of(TARGETS, floats(7, 4), k=k) for k in (1, 2, 4)),
    of(TARGETS, floats(7, 4).round(), k=2), of(np.array([0, 4, -1], np.int32), floats(3, 4), k=2),
    values="keras", edges=("nan",),
)  # fmt: skip
