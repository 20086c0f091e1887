"""Cases of slicing and indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import MOVED, Call, bools, floats, ints, of, oracle
from .differences import OVERWRITTEN, ROW_OF_NAN

EXACT: Any = {"edges": MOVED, "ulps": 0}
X, S = floats(3, 4, 5), np.s_
KEYS: tuple[Any, ...] = (
    S[0], S[-1], S[1:], S[:-1], S[:, 0], S[..., -1], S[:, None], S[None], S[..., None],
    S[1:2, ::2], S[:, 1:3, -1], S[0, ..., 0], S[:], S[...], S[0, 1, 2], S[2:2], S[:, :0],
    S[np.int64(1)], S[5:], S[-9:], S[1:, None, 2], S[()], S[::0], S[-1:0:-1],
    # reversed
    S[::-1], S[:, ::-2], S[::-1, 1:], S[:, ::-1, 1:], S[2::-1, ::-1, ::-1],
    # by indices
    S[[0, 2, 2]], S[:, [1, -1]], S[[1, 0], 1:], S[[0, 1], [1, -1]], S[0, [1, 2]], S[..., [1, 2]],
    S[1:, [1, 2]], S[[0, 2], :, [1, 1]], S[:, [[0], [1]], [1, 2, 4]], S[[2, 0], ..., -1],
    S[:, [0, 1], 1:3], S[0, :, [1, 1]], S[np.array([0, 2])], S[np.array([[0, 2], [1, 1]])],
    S[np.array(1)], S[1, np.array(1)], S[np.array([0, 2], np.uint8)], S[[0, 1], [0, 1], [0, 1]],
    S[[0, 1], 0, [0, 1]], S[0, 0, [0, 1]], S[[0, 1], 1, :],
    # rejected
    S[3], S[-4], S[0, 0, 0, 0], S[[3]], S[[-4]], S[[0], [4]], S[1.0], S["a"], S[..., ...],
    S[[0.0, 1.0]],
)  # fmt: skip


def part(x: np.ndarray, *indices: np.ndarray, by: Any) -> Call:
    """x[key], with further tensors in the key."""
    return of(x, *indices, by=lambda k, x, *indices: by(x, *indices))


oracle(
    "get_item", *(of(X, by=lambda k, x, key=key: k.get_item(x, key)) for key in KEYS),
    *(of(ints(3, 4, 5), by=lambda k, x, key=key: k.get_item(x, key)) for key in KEYS[:4]),
    part(floats(3, 4), ints(5, low=-3, high=3), by=lambda x, i: x[i]),
    part(floats(3, 4), ints(2, 2, low=0, high=4), by=lambda x, i: x[:, i]),
    part(floats(3, 4), ints(3, low=-4, high=4), by=lambda x, i: x[np.arange(3), i]),
    part(floats(3, 4), ints(low=0, high=3), by=lambda x, i: x[i]),
    part(floats(3, 4), ints(2, low=3, high=5), by=lambda x, i: x[i]),
    part(floats(3, 4), floats(2), by=lambda x, i: x[i]),
    part(floats(5), by=lambda x: x[1:] - x[:-1]), **EXACT,
)  # fmt: skip
oracle(
    "slice",
    *(
        of(floats(4, 5), by=lambda k, x, a=start, n=shape: k.slice(x, a, n))
        for start, shape in (((1, 0), (2, 3)), ((0, 2), (4, 2)), ((3, 4), (1, 1)), ((0, 0), (0, 5)))
    ),
    values="keras", **EXACT,
)  # fmt: skip

PLACES = ([2, 2, 0], [[0, 1], [1, 2]], 1, [-1], [-3], [], [3], [4], [-4], [-5])
oracle(
    "take",
    *(
        of(floats(3, 4), indices=np.array(places, np.int32), axis=axis)
        for places in PLACES
        for axis in (0, -1)
    ),
    of(floats(3, 4), indices=np.array([0, 1]), axis=2), of(floats(3, 4), indices=np.array([5, 0])),
    of(floats(3, 4), indices=np.array([12])), of(ints(3, 4), indices=np.array([1, 1]), axis=0),
    of(floats(3, 4), ints(2, 3, low=-3, high=3), by=lambda k, x, i: k.take(x, i, axis=0)),
    of(floats(3, 4, 2), ints(5, low=0, high=4), by=lambda k, x, i: k.take(x, i, axis=1)),
    of(floats(), indices=np.array([0])),
    of(floats(0, 4), indices=np.array([], np.int32), axis=0),
    of(floats(0, 4), indices=np.array([0]), axis=0),
    of(floats(3, 4), indices=np.array([2**32]), axis=0),
    of(floats(3000, 2), ints(6, 7, low=-9, high=9), by=lambda k, x, i: k.take(x, i, axis=0)),
    of(floats(2, 2500, 3), ints(31, low=-9, high=9), by=lambda k, x, i: k.take(x, i, axis=1)),
    **EXACT,
)  # fmt: skip
oracle(
    "take_along_axis",
    *(
        of(floats(3, 4), ints(*shape, low=0, high=3), axis=axis)
        for axis, shape in (
            (1, (3, 2)), (0, (2, 4)), (-1, (3, 7)), (0, (0, 4)), (1, (1, 2)), (1, (2, 2)),
            (1, (3,)), (2, (3, 2)),
        )
    ),
    of(floats(3, 4), ints(5, low=0, high=12), axis=None),
    of(floats(3, 4, 2), ints(3, 2, 2, low=-4, high=4), axis=1),
    of(floats(1, 4), ints(3, 2, low=0, high=3), axis=1),
    of(floats(3, 4), ints(3, 2, low=4, high=5), axis=1),
    of(floats(3, 4), ints(3, 2, low=-6, high=-5), axis=1),
    of(floats(0, 4), ints(0, 2, low=0), axis=1),
    of(floats(40, 50), ints(40, 5, low=0, high=50), axis=1),
    of(floats(2, 3, 4), ints(2, 1, 4, low=0, high=3), axis=1),
    of(floats(2, 3, 4), ints(1, 1, 4, low=0, high=3), axis=1), **EXACT,
)  # fmt: skip
CLASSES = ints(2, 3, low=0, high=4)
oracle(
    "one_hot",
    *(
        of(x, num_classes=4, axis=axis)
        for x in (ints(5, low=0, high=4), CLASSES, ints(0, low=0, high=4), ints(low=0, high=4))
        for axis in (-1, 0)
    ),
    *(of(CLASSES, num_classes=4, axis=axis) for axis in (1, 2, -2, -3)),
    *(of(CLASSES, num_classes=4, dtype=dtype) for dtype in ("int32", "bool")),
    of(bools(3), num_classes=2), values="keras", edges=(), ulps=0,
)  # fmt: skip
oracle(
    "multi_hot",
    *(
        of(x, num_classes=5, dtype=dtype)
        for x in (
            ints(4, 3, low=0, high=5), ints(3, low=0, high=5), ints(2, 4, 3, low=0, high=5),
            ints(0, low=0),
        )
        for dtype in (None, "int32", "bool")
    ),
    values="keras", edges=(), ulps=0,
)  # fmt: skip

# -- updates


def updated(reduction: str | None, x: np.ndarray, places: Any, new: np.ndarray) -> Call:
    places = np.array(places)
    if reduction is None:
        return of(x, new, by=lambda k, x, new: k.scatter_update(x, places, new))
    return of(x, new, by=lambda k, x, new: k.scatter_update(x, places, new, reduction=reduction))


oracle(
    "slice_update",
    *(
        of(floats(4, 5), floats(*shape, seed=1),
           by=lambda k, x, u, s=start: k.slice_update(x, s, u))
        for start, shape in (((1, 0), (2, 3)), ((0, 2), (4, 1)), ((3, 4), (1, 1)), ((0, 0), (0, 5)))
    ),
    of(ints(4), ints(2), by=lambda k, x, u: k.slice_update(x, (1,), u)), values="keras", **EXACT,
)  # fmt: skip
IN_TWO = ints(6, 2, low=0, high=3)


def scattered(values: np.ndarray, places: Any, shape: tuple[int, ...]) -> Call:
    return of(values, by=lambda k, v: k.scatter(np.array(places), v, shape))


oracle(
    "scatter", scattered(floats(6), IN_TWO, (3, 3)), scattered(floats(6, 2), IN_TWO[:, :1], (3, 2)),
    scattered(floats(6), IN_TWO, (300, 300)), scattered(ints(6), IN_TWO, (3, 3)),
    scattered(floats(2), [[-1], [0]], (3,)), scattered(floats(2), [[3], [0]], (3,)),
    scattered(floats(2), [[-4], [0]], (3,)), scattered(floats(0), np.zeros((0, 1), int), (3,)),
    scattered(floats(2, 3), np.zeros((2, 3, 1), int), (3,)),
    values="keras", edges=MOVED, scale="largest",
)  # fmt: skip
oracle(
    "scatter_update", updated(None, floats(3, 3), [[0, 1], [2, -1]], floats(2)),
    updated(None, floats(3, 3), [[2], [0]], floats(2, 3, seed=1)),
    *(
        updated(reduction, floats(4), [[1], [1], [3]], floats(3, seed=1))
        for reduction in (None, "add", "nonsense")  # "max" and "min": test_rearranging.py
    ),
    updated(None, ints(3), [[1]], ints(1)), updated(None, floats(3), [[3]], floats(1)),
    updated(None, floats(3), [[-4]], floats(1)),
    updated(None, floats(3), np.zeros((0, 1), int), floats(0)),
    updated(None, floats(300, 300), IN_TWO, floats(6)), values="keras", edges=MOVED,
    differs=[OVERWRITTEN],
)  # fmt: skip
SEGMENTS = np.array([0, 0, 2, 1, 2])
for name in ("segment_sum", "segment_max"):

    def segments(x: np.ndarray, ids: Any = SEGMENTS, name: str = name, **options: Any) -> Call:
        return of(x, by=lambda k, x: getattr(k, name)(x, np.array(ids), **options))

    oracle(
        name, *(segments(x) for x in (floats(5, 4), ints(5, 4), floats(5))),
        *(segments(floats(5, 4), num_segments=count) for count in (3, 4, 20000)),
        of(
            floats(5), ints(5, low=0, high=4),
            by=lambda k, x, ids, n=name: getattr(k, n)(x, ids, num_segments=4),
        ),
        segments(floats(5, 4), [0, 0, 1, 1, 2], num_segments=3, sorted=True),
        segments(floats(0, 4), np.zeros(0, int), num_segments=2), values="keras", edges=MOVED,
        scale="largest", differs=[ROW_OF_NAN] if name == "segment_max" else [],
    )  # fmt: skip
oracle(
    "unravel_index",
    *(
        of(np.asarray(x, np.int32), by=lambda k, x: tuple(k.unravel_index(x, (3, 2, 4))))
        for x in (range(24), [[5, 6]], 7, [24], [-25], [-1])
    ),
    edges=(),
)  # fmt: skip
oracle(
    "trapezoid", of(floats(4, 3), dx=0.5, axis=0), of(floats(1)), of(floats(0)), of(ints(5)),
    *(
        of(floats(3, 4), x, by=lambda k, y, x, axis=axis: k.trapezoid(y, x, axis=axis))
        for x, axis in ((floats(4), -1), (floats(3, 4), -1), (floats(3), 0), (floats(5), -1))
    ),
    of(floats(3, 4), axis=2), scale="largest", edges=MOVED,
)  # fmt: skip
