"""Cases of linear algebra.

Singular vectors and eigenvectors have any sign: their squares are compared, and products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Call, bools, floats, ints, of, oracle
from ..differences import SINGULAR_DET, SINGULAR_TRIANGLE

CLOSE: Any = {"edges": (), "scale": "largest", "ulps": 64}


def regular(*shape: int, seed: int = 0) -> np.ndarray:
    """Matrices that are not nearly singular."""
    return floats(*shape, seed=seed, low=-1) + 2 * np.eye(*shape[-2:])


def definite(*shape: int) -> np.ndarray:
    x = floats(*shape)
    return np.float32(x @ x.swapaxes(-1, -2) + np.eye(shape[-1])).astype(float)


SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
SOME = [(3, 3), (2, 4, 4), (2, 1, 2, 2), (1, 1), (0, 3, 3)]
NONE = [of(floats(*shape)) for shape in ((0, 3), (3, 0), (2, 0, 0))]
NO_SQUARE = [of(floats(*shape)) for shape in ((3,), (), (2, 3), (3, 3, 2))]
NO_MATRIX = [of(floats(*shape)) for shape in ((3,), ())]

oracle(
    "cholesky", *(of(definite(*s), upper=bool(n % 2)) for n, s in enumerate(SOME)),
    of(np.array([[2, 1], [1, 3]], np.int32)), NO_SQUARE,
    of(np.array([definite(2, 2), -np.eye(2)]), unseen=True),
    of(SINGULAR * -1, unseen=True), **CLOSE,
)  # fmt: skip
oracle(
    "cholesky_inverse",
    *(
        of(regular(*s), by=lambda k, x: k.cholesky_inverse(k.tril(x))) for s in SOME[:3]
    ),
    of(regular(3, 3), by=lambda k, x: k.cholesky_inverse(k.triu(x), upper=True)),
    of(np.array([[2, 0], [1, 3]], np.int32), smooth=False), NO_SQUARE, values="keras", **CLOSE,
)  # fmt: skip

TALL, WIDE = (5, 3), (3, 5)
oracle(
    "qr", *(of(regular(*s), mode=m) for s in (*SOME, WIDE, (2, 2, 3)) for m in (
        "reduced", "complete")),
    of(floats(*TALL)), of(floats(2, *TALL)), of(ints(3, 2)), of(floats(*TALL), mode="complete"),
    of(floats(3, 3), mode="other"), NONE, NO_MATRIX, **CLOSE,
)  # fmt: skip


def of_signs(k: Any, x: Any, **how: Any) -> Any:
    """Return what has one sign of all that a factorization returns."""
    u, s, v = k.svd(x, **how)
    n = min(x.shape[-2:])
    u, v = u[..., :n], v[..., :n, :]
    return [u * u, s, v * v, k.matmul(u, v)]


oracle(
    "svd",
    *(
        of(floats(*s), by=lambda k, x, how=how: of_signs(k, x, **how))
        for s in (*SOME[:3], TALL, WIDE, (2, *WIDE)) for how in ({}, {"full_matrices": False})
    ),
    *(of(floats(*s), compute_uv=False) for s in (*SOME, TALL, WIDE)),
    of(np.diag([2.0, 2.0, 0.5]), compute_uv=False, once=True), of(ints(3, 2), compute_uv=False),
    *(of(x.arrays[0], compute_uv=False) for x in NONE), NO_MATRIX, **CLOSE,
)  # fmt: skip


def of_symmetric(k: Any, x: Any) -> Any:
    w, v = k.eigh(x + k.swapaxes(x, -1, -2))
    return [w, v * v]


oracle(
    "eigh", *(of(floats(*s), by=of_symmetric) for s in SOME),
    of(np.diag([2.0, 2.0, 1.0]), by=lambda k, x: k.eigh(x)[0], once=True),
    of(np.array([[2, 1], [1, 3]], np.int32), by=lambda k, x: k.eigh(x)[0]), NO_SQUARE, **CLOSE,
)  # fmt: skip
oracle(
    "lu_factor", *(of(floats(*s)) for s in ((3, 3), (2, 4, 4), (2, 1, 2, 2))),
    *(of(floats(*s), by=lambda k, x: k.lu_factor(x)[0]) for s in (TALL, WIDE, (1, 1))), NONE,
    of(np.array([[1, 2], [4, 4]], np.int32)), NO_MATRIX, values="keras", **CLOSE,
)  # fmt: skip
oracle(
    "matrix_rank", *(of(floats(*s)) for s in ((3, 3), (2, 5, 3), (2, 1, 2, 2))),
    of(np.array([SINGULAR, np.eye(2), np.zeros((2, 2))])), of(np.diag([3.0, 1.0, 0.1]), tol=0.5),
    of(ints(3, 2)), of(floats(0, 0, 3)), edges=(), ulps=0,
)  # fmt: skip

SYSTEMS = (
    ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3)), ((2, 3, 3), (2, 3, 2)),
    ((1, 1), (1,)), ((2, 1, 3, 3), (2, 1, 3, 2)),
)  # fmt: skip
NO_SYSTEMS = (
    ((3, 3), (4,)), ((3, 3), ()), ((2, 3), (2,)), ((3,), (3,)), ((2, 3, 3), (3, 3, 2)),
    ((3, 3), (4, 2)),
)  # fmt: skip


def systems(*options: dict[str, Any]) -> list[Call]:
    return [
        *(
            of(regular(*a), floats(*b, seed=1), **how)
            for a, b in SYSTEMS for how in options or [{}]
        ),
        *(of(floats(*a), floats(*b, seed=1)) for a, b in NO_SYSTEMS),
    ]


oracle(
    "solve", systems(), of(np.array([[2, 1], [1, 3]], np.int32), floats(2, 1), values="numpy"),
    of(np.array([np.eye(2), SINGULAR]), floats(2, 2), unseen=True), values="keras", **CLOSE,
)  # fmt: skip
oracle(
    "solve_triangular", systems({"lower": True}, {"lower": False}),
    of(np.diag([1.0, 0.0]), floats(2), unseen=True, refused=SINGULAR_TRIANGLE), values="keras",
    **CLOSE,
)  # fmt: skip
oracle(
    "lstsq",
    *(of(floats(*a), floats(*b, seed=1)) for a, b in (
        ((3, 3), (3,)), ((5, 3), (5, 2)), ((5, 3), (5,)))),
    # PyTorch's has no derivative for wide matrices.
    of(floats(3, 5), floats(3, 2, seed=1), by=lambda k, a, b: k.matmul(k.pinv(a), b)),
    of(SINGULAR, floats(2), rcond=1e-3, smooth=False),
    of(floats(3, 3), floats(4)), of(floats(3), floats(3)), values="keras", **CLOSE,
)  # fmt: skip
oracle(
    "inv", *(of(regular(*s)) for s in SOME), of(np.array([[2, 1], [1, 3]], np.int32)), NO_SQUARE,
    of(SINGULAR, unseen=True), **CLOSE,
)  # fmt: skip
oracle(
    "pinv", *(of(floats(*s)) for s in ((3, 3), (2, *TALL), WIDE, (2, 1, 2, 2))), of(ints(3, 2)),
    NONE, of(SINGULAR, rcond=1e-5), of(np.diag([2.0, 2.0, 1e-3]), rcond=0.01), NO_MATRIX, **CLOSE,
)  # fmt: skip
oracle(
    "det", *(of(floats(*s)) for s in SOME), of(ints(3, 3)), of(bools(2, 2)), NO_SQUARE,
    of(SINGULAR), differs=[SINGULAR_DET], **CLOSE,
)  # fmt: skip
oracle(
    "slogdet", *(of(floats(*s)) for s in SOME), of(np.array([[2, 1], [1, 3]], np.int32)),
    NO_SQUARE, **CLOSE,
)  # fmt: skip
oracle(
    "logdet", *(of(definite(*s)) for s in SOME), of(-np.eye(3)), NO_SQUARE, values="keras", **CLOSE,
)  # fmt: skip
