"""Cases of shape operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import MOVED, bools, floats, ints, of, oracle

EXACT: Any = {"edges": MOVED, "ulps": 0}
NONE: Any = {"edges": (), "ulps": 0}

oracle(
    "reshape",
    *(
        of(make(2, 3, 4), newshape=shape)
        for make in (floats, ints, bools)
        for shape in ((-1,), (6, 4), (4, -1), (2, 3, 4), (1, 24, 1))
    ),
    of(floats(1), newshape=()), of(floats(2, 0), newshape=(0, 5)), of(floats(2, 3), newshape=6),
    of(floats(0, 3), newshape=(-1, 2)), of(floats(2, 3), newshape=(-1, -1)),
    of(floats(2, 3), newshape=(4, -1)),
    of(floats(2, 3), newshape=(5,)), of(floats(2, 3), newshape=(2.0, 3.0)),
    of(floats(0, 3), newshape=(-1,)), **EXACT,
)  # fmt: skip
oracle(
    "transpose",
    *(
        of(make(2, 3, 4), axes=axes)
        for make in (floats, ints)
        for axes in (None, (1, 0, -1), (2, 0, 1))
    ),
    of(floats(4)), of(floats()), of(floats(0, 3)),
    *(of(floats(2, 3), axes=axes) for axes in ((0,), (0, 0), (0, 2), (-3, 0))), **EXACT,
)  # fmt: skip
oracle("ravel", of(floats(2, 3)), of(floats()), of(floats(0, 2)), **EXACT)
oracle(
    "expand_dims",
    *(
        of(floats(2, 3), axis=axis)
        for axis in (0, 1, 2, -1, -3, (0, -1), (0, 1), [1], 3, -4, (3, 4), (0, 5), np.int64(1))
    ),
    of(floats(), axis=0), **EXACT,
)  # fmt: skip
oracle(
    "squeeze",
    *(
        of(floats(1, 3, 1, 4), axis=axis)
        for axis in (None, 0, 2, -2, (0, 2), (2, -4), 1, 4, -5, (0, 0), (), np.int64(0))
    ),
    of(floats()), of(floats(1)), of(floats(1, 1), axis=0), **EXACT,
)  # fmt: skip
oracle(
    "swapaxes",
    *(
        of(floats(2, 3, 4), axis1=a, axis2=b)
        for a, b in ((0, 1), (0, -1), (-1, -2), (1, 1), (0, 3), (-4, 0))
    ),
    **EXACT,
)  # fmt: skip
oracle(
    "moveaxis",
    *(
        of(floats(2, 3, 4), source=a, destination=b)
        for a, b in (
            (0, -1), (-1, 0), (1, 2), ((0, 1), (-1, 0)), ((2, 0), (0, 1)), ((0, 1, 2), (2, 1, 0)),
            (3, 0), (0, 3), ((0, 0), (0, 1)), ((0, 1), (0, 0)), ((0, 1), (0,)), (-4, 0),
        )
    ),
    **EXACT,
)  # fmt: skip
oracle(
    "flip",
    *(
        of(floats(2, 3, 2), axis=axis)
        for axis in (None, 0, -1, (0, 1), (0, -1), 3, -4, (0, 0), ())
    ),
    of(floats(0)), of(floats()), **EXACT,
)  # fmt: skip
oracle("fliplr", of(floats(2, 3)), of(floats(3)), of(floats(2, 3, 2)), **EXACT)
oracle("flipud", of(floats(2, 3)), of(floats(3)), of(floats()), **EXACT)
oracle(
    "rot90", *(of(floats(2, 3), k=k) for k in (-1, 0, 1, 2, 3, 4, 5, -6)), of(floats(3)),
    *(of(floats(2, 3, 4), k=1, axes=axes) for axes in ((1, 2), (2, 0), (-1, 0))),
    *(of(floats(2, 3), axes=axes) for axes in ((0, 0), (0, 2), (0, -2), (0, 1, 1))), **EXACT,
)  # fmt: skip
oracle(
    "roll",
    *(
        of(floats(3, 4), shift=shift, axis=axis)
        for shift, axis in (
            (1, 0), (-2, 1), (5, -1), (2, None), ((1, -1), (0, 1)), (0, 0), (-13, None),
            ((1, 2), (1, 1)), (1, (0, 1)), ((1, 2), 0), (1, 2), ((1, 2), None), ((1,), (0, 1)),
            (np.int64(1), np.int64(0)),
        )
    ),
    of(floats(0), shift=2), of(floats(), shift=1), **EXACT,
)  # fmt: skip
oracle(
    "broadcast_to",
    *(
        of(floats(*shape), shape=wide)
        for shape, wide in (
            ((3,), (2, 3)), ((3, 1), (3, 4)), ((), (2, 2)), ((1, 3), (5, 2, 3)), ((2, 3), (2, 3)),
            ((1,), (0,)), ((1, 2), (0, 2)), ((3,), (2, 4)), ((2, 3), (3,)), ((1,), ()),
            ((3,), (2, -1)), ((1,), 3),
        )
    ),
    **EXACT,
)  # fmt: skip
oracle("shape", of(floats(2, 3)), of(floats()), **NONE)
oracle("ndim", of(floats(2, 3)), of(floats()), **NONE)
oracle("size", of(floats(2, 3)), of(floats()), of(floats(0, 3)), **NONE)

# -- diagonals and triangles

oracle(
    "diag", *(of(floats(3), k=k) for k in (-2, 0, 1, 5)), of(floats()), of(floats(0)),
    *(of(floats(3, 4), k=k) for k in (-2, -1, 0, 1, 3, 4, -3, -9)), of(floats(2, 2, 2)),
    of(floats(0), k=2), of(ints(3)), of(bools(3)), of(floats(0, 3)), of(floats(3, 0)), **EXACT,
)  # fmt: skip
oracle(
    "diagflat", *(of(floats(2, 2), k=k) for k in (-2, 0, 1)), of(floats()), of(floats(0)),
    of(ints(2, 2)), **EXACT,
)  # fmt: skip
oracle(
    "diagonal",
    *(
        of(floats(3, 2, 4), offset=k, axis1=a, axis2=b)
        for k in (-2, 0, 1, 9)
        for a, b in ((0, 1), (0, -1), (2, 0), (1, 2))
    ),
    of(floats(3)), of(floats(3, 3), axis1=0, axis2=0), of(floats(3, 3), axis1=0, axis2=2),
    of(floats(0, 3)), of(floats(3, 0)), of(floats(2, 0, 3), axis1=0, axis2=2), **EXACT,
)  # fmt: skip
oracle(
    "trace", *(of(floats(3, 4), offset=k) for k in (-1, 0, 1, 5)), of(ints(3, 3)), of(bools(3, 3)),
    of(floats(3, 2, 4), axis1=-1, axis2=0), of(floats(3)), of(floats(0, 3)), scale="largest",
    edges=MOVED,
)  # fmt: skip
for name in ("tril", "triu"):
    oracle(
        name, *(of(floats(3, 4), k=k) for k in (0, 1, -1, 5, -5)), of(floats(2, 3, 3), k=1),
        of(floats(0, 3)), of(ints(3, 3)), of(bools(3, 3)), of(floats()), **EXACT,
    )  # fmt: skip

# -- others

oracle(
    "diff", *(of(floats(3, 4), n=n) for n in (0, 1, 2, 3, 4, 5, -1)), of(bools(3, 4), axis=0),
    of(ints(5)), of(floats(3, 4), axis=0), of(floats(3, 4), axis=2), of(floats()), of(floats(0)),
    of(bools(5), n=2), edges=MOVED, scale="largest",
)  # fmt: skip
oracle(
    "meshgrid",
    *(
        of(*xs, by=lambda k, *xs, i=indexing: list(k.meshgrid(*xs, indexing=i)))
        for indexing in ("xy", "ij")
        for xs in (
            (floats(2), floats(3), floats(4)), (floats(3),), (floats(), floats(3)),
            (floats(2, 2), floats(3)), (floats(0), floats(3)), (floats(2), ints(3)),
        )
    ),
    of(floats(2), floats(3), by=lambda k, *xs: list(k.meshgrid(*xs, indexing="ab"))), **EXACT,
)  # fmt: skip
oracle(
    "vander", of(floats(4)), of(floats(4), N=3, increasing=True), of(floats(4), N=0),
    of(floats(4), N=1), of(ints(3)), of(floats(0)), of(floats(2, 2)), of(floats()),
    of(np.array([0.0, 2.0])), edges=("zeros", "tiny", "inf", "nan"),
)  # fmt: skip
