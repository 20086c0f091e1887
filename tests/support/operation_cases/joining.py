"""Cases of joining, splitting, repeating and padding tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import MOVED, Call, bools, floats, ints, of, oracle

EXACT: Any = {"edges": MOVED, "ulps": 0}
A, B = floats(2, 3), floats(2, 3, seed=1)


def joined(name: str, *xs: np.ndarray, **options: Any) -> Call:
    return of(*xs, by=lambda k, *xs: getattr(k, name)(list(xs), **options))


def parts(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
    return lambda k, x: list(getattr(k, name)(x, *args, **options))


oracle(
    "concatenate",
    *(joined("concatenate", A, B, floats(2, 3, seed=2), axis=a) for a in (0, 1, -1, -2, 2, -3)),
    joined("concatenate", A, floats(0, 3), A), joined("concatenate", A),
    joined("concatenate", ints(3), ints(2)), joined("concatenate", ints(3), floats(2)),
    joined("concatenate", bools(3), floats(2)), joined("concatenate", bools(3), ints(2)),
    joined("concatenate"), joined("concatenate", floats(), floats()),
    joined("concatenate", A, floats(2, 2)), joined("concatenate", A, floats(3)), **EXACT,
)  # fmt: skip
oracle(
    "stack", *(joined("stack", A, B, axis=a) for a in (0, 1, 2, -1, -3, 3, -4)), joined("stack", A),
    joined("stack", A, floats(3)), joined("stack", ints(3), floats(3)), joined("stack"),
    joined("stack", floats(), floats()), joined("stack", A, floats(2, 1)), **EXACT,
)  # fmt: skip
for name in ("hstack", "vstack", "dstack"):
    oracle(
        name, *(
            joined(name, floats(*shape), floats(*shape, seed=1))
            for shape in ((), (3,), (2, 3), (2, 3, 2), (0,))
        ),
        joined(name, floats(2), floats(3)), joined(name, A, floats(2, 2)),
        joined(name, A, floats(3)), joined(name, floats(), floats(2)),
        joined(name, ints(3), floats(3)), **EXACT,
    )  # fmt: skip
oracle(
    "append", of(A, floats(2)), of(A, floats(2, 1), axis=1), of(A, floats(1, 3), axis=0),
    of(ints(2), floats(2)), of(floats(), floats()), of(A, floats(3), axis=0),
    of(floats(0), floats(2)), **EXACT,
)  # fmt: skip

oracle(
    "rearrange", of(floats(2, 4, 6, 3), pattern="b h w c -> b c h w"),
    of(floats(2, 4, 6, 3), pattern="b h w c -> (b h) w c"), of(A, pattern="a b->(b a)"),
    of(floats(2, 4, 6, 3), pattern="b (h p) (w q) c -> (b p q) h w c", p=2, q=3),
    of(floats(2, 4, 6, 3), pattern="b h w c -> h (c w b)"),
    of(ints(6), pattern="(a b) -> b a", a=2),
    of(A, pattern="a b -> a"), of(A, pattern="a b -> a c"), of(floats(2, 0), pattern="a b -> b a"),
    of(floats(5), pattern="(a b) -> a b", a=2), of(A, pattern="a b"), values="keras", **EXACT,
)  # fmt: skip

CUTS = 2, [1, 3], [0, 2, 2], [3, 1], [-1], [9], [], 5, 0, -1, [1, -1], [2, 9], np.int64(2)
oracle(
    "split", *(of(floats(4, 6), by=parts("split", cut, axis=k % 2)) for k, cut in enumerate(CUTS)),
    of(floats(4, 6), by=parts("split", 3, axis=-1)), of(floats(4), by=parts("split", 2, axis=1)),
    of(floats(0), by=parts("split", 2)), of(floats(4), by=parts("split", np.array([1, 2]))),
    of(floats(), by=parts("split", 1)), **EXACT,
)  # fmt: skip
oracle(
    "array_split", *(
        of(floats(5, 7), by=parts("array_split", cut, axis=-(k % 2)))
        for k, cut in enumerate((*CUTS, 3, 9))
    ), **EXACT,
)  # fmt: skip
for name, shapes in (
    ("hsplit", ((3, 4), (4,), (3, 4, 2), ())), ("vsplit", ((4, 3), (4,), (4, 3, 2))),
    ("dsplit", ((3, 2, 4), (3, 4))),
):  # fmt: skip
    oracle(
        name, *(of(floats(*s), by=parts(name, n)) for s in shapes for n in (2, [1], 3)), **EXACT
    )
oracle(
    "unstack", *(of(floats(2, 3), by=parts("unstack", axis=a)) for a in (0, 1, -1, 2)),
    of(floats(), by=parts("unstack")), **EXACT,
)  # fmt: skip

WIDTHS = (
    1, ((1, 0), (2, 3)), (1, 2), ((1, 2),), 0, ((0, 0), (0, 0)), ((1, 2), (3, 4), (5, 6)), (1, 2, 3)
)  # fmt: skip
MIRRORED = (
    1, ((2, 1), (0, 3)), ((0, 0), (2, 1)), ((0, 0), (0, 0)), ((4, 4), (5, 5)), ((7, 9), (0, 0))
)  # fmt: skip
oracle(
    "pad", *(of(A, pad_width=width) for width in (*WIDTHS, 1.5, ((1.5, 0), (0, 0)))),
    *(of(floats(4, 5), pad_width=w, mode=m) for m in ("reflect", "symmetric") for w in MIRRORED),
    of(floats(3), pad_width=2, constant_values=1.5), of(ints(3), pad_width=1, constant_values=7),
    of(bools(3), pad_width=1, constant_values=True), of(bools(3), pad_width=1),
    of(floats(3), pad_width=1, constant_values=np.nan), of(A, pad_width=1, mode="nonsense"),
    of(ints(3), pad_width=1, constant_values=2**31), of(floats(0), pad_width=2),
    of(ints(3), pad_width=1, constant_values=np.inf),
    of(floats(3), pad_width=1, mode="reflect", constant_values=1.0),
    of(floats(0), pad_width=2, mode="reflect"), of(floats(1), pad_width=2, mode="reflect"),
    of(floats(1), pad_width=2, mode="symmetric"), of(ints(3), pad_width=2, mode="reflect"),
    of(bools(3), pad_width=2, mode="symmetric"), of(floats(), pad_width=1), **EXACT,
)  # fmt: skip
oracle(
    "tile",
    *(
        of(A, repeats=times)
        for times in (2, (2,), (2, 3), (3, 1, 2), (1, 1), (0, 2), 0, (), (-1, 2), 1.5, np.int64(2))
    ),
    of(floats(), repeats=3), of(floats(0), repeats=2), of(A, repeats=np.array([2, 1])), **EXACT,
)  # fmt: skip
oracle(
    "repeat", *(of(A, repeats=3, axis=axis) for axis in (None, 0, 1, -1, 2)),
    of(A, repeats=0, axis=0), of(ints(3), repeats=2), of(A, repeats=np.array([1, 0, 3]), axis=1),
    of(A, repeats=np.array([2]), axis=1), of(floats(3), repeats=np.array([1, 2, 0])),
    of(A, repeats=np.array([1, 2]), axis=1), of(floats(3), repeats=-1),
    of(floats(3), repeats=np.array([1, -1, 2])), of(floats(), repeats=2), of(floats(0), repeats=2),
    **EXACT,
)  # fmt: skip
