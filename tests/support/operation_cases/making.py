"""Cases of creating tensors from values and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import Call, floats, of, oracle

NONE: Any = {"edges": (), "ulps": 0}


def made(*functions: Callable[[Any], Any]) -> list[Call]:
    """Calls of functions of the library only; the one tensor gives the step an input."""
    return [of(floats(), by=lambda k, x, f=function: f(k)) for function in functions]


SIZES = (2, 3), 3, (), (0, 2), [2]
for name in ("zeros", "ones"):
    oracle(
        name,
        made(*(
            lambda k, n=name, s=shape, d=dtype: getattr(k, n)(s, dtype=d)
            for shape in SIZES for dtype in ("float32", "int32", "bool")
        )),
        made(lambda k, n=name: getattr(k, n)((-1,), dtype="float32")), **NONE,
    )  # fmt: skip
oracle(
    "empty", made(*(lambda k, s=shape: k.shape(k.empty(s, dtype="int32")) for shape in SIZES)),
    **NONE,
)  # fmt: skip
oracle(
    "full", made(
        lambda k: k.full((2, 3), 2.5), lambda k: k.full((2,), 3),
        lambda k: k.full(2, 3, dtype="float32"),
        lambda k: k.full((2,), True), lambda k: k.full((2,), 2.7, dtype="int32"),
        lambda k: k.full((), 1.0), lambda k: k.full((2, 3), np.array([1.0, 2, 3])),
        lambda k: k.full((2,), np.nan), lambda k: k.full((2,), 2**31, dtype="float32"),
        lambda k: k.full((0,), 1.0),
    ),
    of(floats(), by=lambda k, x: k.full((2,), x)), of(floats(3), by=lambda k, x: k.full((2, 3), x)),
    of(floats(3), by=lambda k, x: k.full((2, 4), x)), smooth=False, **NONE,
)  # fmt: skip
ARANGES = (
    (3,), (1, 7, 2), (5, 0, -2), (2, 5), (5, 2), (0,), (-3,), (0, 1, 0.25), (0, 1, 0.1), (0.5, 3),
    (1, 2, 0), (0.0, 1.0, -0.1), (3.0,), (0, 10, 3), (2**31 - 2, 2**31), (0, 1, 1 / 3),
    (np.int64(5),), (np.float32(2.5),), (0, np.inf), (np.nan,),
)  # fmt: skip
oracle(
    "arange", made(*(lambda k, g=given: k.arange(*g) for given in ARANGES)),
    made(*(
        lambda k, g=given, d=dtype: k.arange(*g, dtype=d)
        for given in ((3,), (0, 1, 0.25), (5, 0, -2), (0.5, 5.5))
        for dtype in ("float32", "int32", "float64")
    )), edges=(),
)  # fmt: skip
LINES = (
    (0.0, 1.0, 3), (0, 1, 1), (0, 1, 0), (5, 5, 4), (1, -1, 5), (0, 10, 50), (0, 1, -1),
    (0, 2**30, 4),
)  # fmt: skip
oracle(
    "linspace", made(*(
        lambda k, a=a, b=b, n=n, e=end: k.linspace(a, b, num=n, endpoint=e)
        for a, b, n in LINES for end in (True, False)
    )),
    made(*(
        lambda k, a=a, b=b: k.linspace(a, b, 4, dtype="int32")
        for a, b in ((0, 1), (0, 10), (-10, 0))
    )),
    of(floats(3), floats(), by=lambda k, a, b: k.linspace(a, b, 5)),
    of(floats(3), floats(2, 1), by=lambda k, a, b: k.linspace(a, b, 5, axis=-1)),
    of(floats(3), floats(2, 1), by=lambda k, a, b: k.linspace(a, b, 5, axis=1)),
    of(floats(2), floats(3), by=lambda k, a, b: k.linspace(a, b, 5)),
    *(
        of(floats(2), by=lambda k, a, n=n, e=end: tuple(
            k.linspace(a, 1.0, n, endpoint=e, retstep=True)))
        for n, end in ((3, True), (3, False))
    ), smooth=False, edges=(), scale="one",
)  # fmt: skip
oracle(
    "logspace", made(
        lambda k: k.logspace(0, 3, 4, base=2.0), lambda k: k.logspace(0, 3, 4),
        lambda k: k.logspace(0.0, 2.0, 5), lambda k: k.logspace(0, 3, 4, endpoint=False),
        lambda k: k.logspace(0, 3, 1), lambda k: k.logspace(0, 3, 0),
        lambda k: k.logspace(0, 3, 4, dtype="int32"),
        lambda k: k.logspace(0, 2, 3, dtype="float32"),
    ), of(floats(2), by=lambda k, a: k.logspace(a, 1.0, 3)), smooth=False, edges=(), scale="one",
    ulps=16,
)  # fmt: skip
for name in ("eye", "tri"):
    oracle(
        name,
        made(*(
            lambda k, n=name, g=given, o=offset: getattr(k, n)(*g, k=o, dtype="float32")
            for given in ((3,), (2, 3), (3, 2), (0,)) for offset in (0, 1, -1, 5, -5)
        )),
        made(*(
            lambda k, n=name, d=dtype: getattr(k, n)(3, dtype=d) for dtype in ("int32", "bool")
        )),
        **NONE,
    )  # fmt: skip
oracle(
    "identity", made(
        lambda k: k.identity(3), lambda k: k.identity(0), lambda k: k.identity(2, dtype="int32")
    ), **NONE,
)  # fmt: skip
oracle("convert_to_numpy", of(floats(2, 3), by=lambda k, x: k.abs(x)), **NONE)
