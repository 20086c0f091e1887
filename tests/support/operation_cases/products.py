"""Cases of products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Call, bools, floats, ints, of, oracle
from .differences import UNEQUAL_LENGTHS

MATRICES = (
    ((3, 4), (4, 2)), ((4,), (4, 2)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 2)),
    ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)),
    ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((3, 4), (4, 0)),
    ((1, 1), (1, 1)), ((2, 0, 4), (4, 3)), ((2, 3, 0), (2, 0, 5)), ((0,), (0,)), ((), (3,)),
    ((3,), ()), ((3, 4), (3, 4)), ((2, 3, 4), (3, 4, 5)), ((3,), (4,)), ((0, 3, 4), (4, 2)),
)  # fmt: skip


def pairs(*shapes: Any) -> list[Call]:
    return [of(floats(*a), floats(*b, seed=1)) for a, b in shapes]


WHOLE = [
    of(ints(3, 4), ints(4, 2)), of(bools(3, 4), bools(4, 2)), of(ints(3, 4), floats(4, 2)),
    of(bools(3, 4), floats(4, 2)),
    of(np.full((2, 2), 2**24 + 1, np.int32), np.eye(2, dtype=np.int32)),
]  # fmt: skip
SUMS: Any = {"scale": "largest", "ulps": 16, "edges": ("zeros", "ties", "tiny", "inf", "nan")}

oracle(
    "matmul", pairs(*MATRICES), WHOLE,
    of(floats(3, 4), by=lambda k, x: k.matmul(x, k.transpose(x))),
    of(floats(3, 4), by=lambda k, x: k.matmul(k.transpose(x), x)), **SUMS,
)  # fmt: skip
oracle(
    "dot", pairs(*MATRICES, ((), ()), ((2, 3, 4), (5, 4, 2)), ((3,), (2, 3, 4))), WHOLE,
    of(ints(), ints(3)), of(ints(3), floats()), **SUMS,
)  # fmt: skip
oracle(
    "vdot", pairs(
        ((3,), (3,)), ((2, 3), (3, 2)), ((2, 3), (6,)), ((), ()), ((0,), (0,)), ((3,), (4,)),
        ((3,), ()),
    ), of(ints(3), ints(3)), **SUMS,
)  # fmt: skip
oracle(
    "inner", pairs(
        ((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((), (3,)), ((3,), ()), ((), ()),
        ((2, 2, 3), (4, 3)), ((0, 3), (4, 3)), ((2, 0), (3, 0)), ((2, 3), (2, 4)),
    ), of(ints(3), ints(3)), of(ints(2, 3), floats(3)), **SUMS,
)  # fmt: skip
oracle(
    "outer", pairs(((3,), (2,)), ((3,), (2, 2)), ((), (3,)), ((), ()), ((0,), (3,))),
    of(ints(3), ints(2)), of(bools(3), bools(2)), of(ints(3), floats(2)), ulps=1,
)  # fmt: skip
oracle(
    "tensordot",
    *(
        of(floats(*a), floats(*b, seed=1), axes=axes)
        for a, b, axes in (
            ((2, 3, 4), (4, 3), 1), ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (4,), 0),
            ((2, 3, 4), (4, 2, 5), ((0, -1), (1, 0))), ((2, 3), (3, 4), (1, 0)),
            ((2, 3), (3, 4), ((1,), (0,))), ((2, 3), (2, 3), 2), ((2, 3), (2, 3), 3),
            ((2, 3), (3, 4), (2, 0)), ((2, 3), (4, 3), 1), ((2, 2), (2, 2), ((0, 0), (0, 1))),
            ((2, 0), (0, 3), 1), ((2, 3), (2, 3), ((0, 1), (0,))), ((2, 3), (2, 3), ((), ())),
            ((), (3,), 0), ((2, 3), (3, 2), ((0, 1), (1, 0))), ((2, 2), (2, 2), ((0, -2), (0, 1))),
        )
    ),
    of(floats(2, 3, 4), floats(3, 4)), of(ints(2, 3), ints(3, 2), axes=1), **SUMS,
)  # fmt: skip

# Subscripts, and the sizes of each operand's axes.
EINSUMS = (
    "ij,jk->ik: 23,34", "ij,kj->ik: 23,43", "ij,jk: 23,34", "ij->ji: 23", "ij->: 23", "ij->i: 23",
    "ij->j: 23", "ba: 23", "i,i->: 3,3", "i,j->ij: 3,2", "ij,ij->ij: 23,23", "->: ",
    "bij,bjk->bik: 234,245", "bqhd,bkhd->bhqk: 2324,2524", "bhqk,bkhd->bqhd: 2235,2524",
    "abc,cde->abde: 234,423", "bi,ij,kj->bk: 23,34,54", "ij,j->i: 23,3", ",->: ,",
    "ij,kl->jl: 23,45", "i,ij,j->: 2,23,3", ",i->i: ,3", "ij,jk->ki: 03,34", "ij,jk->ij: 23,34",
    "I,i->Ii: 2,3", " i j , j k -> i k : 23,34", "ij,ik,il->jkl: 23,24,25", "zyx,xw->zyw: 234,45",
    "ji,kj: 23,42",
    # the diagonal
    "ii->: 33", "ii->i: 33", "ii: 33", "iij->j: 332", "ij,jj->i: 23,33", "iij,jk->ik: 332,24",
    "ii,ii->i: 33,33", "aab->ab: 223", "iii->i: 222", "ijij->ij: 2323",
    # further axes
    "...i,ij->...j: 234,42", "...ij->...ji: 234", "b...,b->b...: 23,2", "...ij,jk->ik...: 234,45",
    "...,...i->i...: 23,234", "...ii->...i: 233", "...ii->...: 233", "...: 23", "i...: 23",
    "...i,...i: 23,23", "i...i: 323", "...ij,...jk: 234,245", "...ij,...jk->...ik: 234,45",
    "i...,...i->...: 32,23", "a...b,b...->a...: 234,43", "...a,...b->...ab: 213,45", "...j,j: 23,3",
    "j...,j: 23,2",
    # rejected
    "i->ii: 3", "ij->k: 23", "ij,jk->iik: 23,34", "ij: 234", "ijk: 23", "ij,jk->ik: 23,45",
    "i$->i: 3", "ij,jk-ik: 23,34", "i.j->ij: 23", "......->...: 2", "i,j: 23,3", "ij,jk->: 23",
    "i...->i......: 2", "ii->i: 23",
)  # fmt: skip


def summed(entry: str) -> Call:
    subscripts, _, sizes = entry.partition(": ")
    shapes = [map(int, digits) for digits in sizes.split(",")]
    return of(
        *(floats(*shape, seed=i) for i, shape in enumerate(shapes)),
        by=lambda k, *xs: k.einsum(subscripts, *xs),
    )


oracle(
    "einsum", *map(summed, EINSUMS),
    of(ints(2, 3), ints(3, 4), by=lambda k, *xs: k.einsum("ij,jk->ik", *xs)),
    of(ints(2, 3), by=lambda k, x: k.einsum("ij->i", x)),
    of(bools(2, 3), by=lambda k, x: k.einsum("ij->ji", x)),
    of(ints(2, 3), floats(3), by=lambda k, *xs: k.einsum("ij,j->i", *xs)),
    of(
        floats(2, 3), floats(1, 3), by=lambda k, *xs: k.einsum("ij,ij", *xs),
        refused=UNEQUAL_LENGTHS,
    ),
    **{**SUMS, "edges": ("zeros", "ties", "tiny", "nan")},
)  # fmt: skip

oracle(
    "cross", pairs(
        ((4, 3), (4, 3)), ((4, 2), (4, 2)), ((4, 2), (4, 3)), ((4, 3), (4, 2)), ((3,), (4, 3)),
        ((1, 3), (4, 3)), ((2, 1, 3), (4, 3)), ((4, 4), (4, 4)), ((0, 3), (0, 3)), ((), (3,)),
    ),
    *(
        of(floats(*a), floats(*b, seed=1), **options)
        for a, b, options in (
            ((3, 4), (3, 4), {"axis": 0}), ((2, 4), (2, 4), {"axis": 0}),
            ((3, 4), (4, 3), {"axisa": 0, "axisb": 1}), ((4, 3), (4, 3), {"axisc": 0}),
            ((2, 4, 3), (2, 4, 3), {"axisc": 1}), ((3, 4), (3, 4), {"axis": 2}),
            ((5, 3, 4), (5, 3, 4), {"axis": 1}),
        )
    ),
    of(ints(3), ints(3)), of(ints(3), floats(3)), **SUMS,
)  # fmt: skip
oracle(
    "kron", pairs(
        ((2, 3), (3, 2)), ((2,), (3,)), ((2,), (2, 2)), ((2, 1, 2), (2, 2)), ((), (3,)), ((), ()),
        ((0,), (3,)), ((2, 2), (3,)), ((2, 3, 2), (2,)),
    ), of(ints(2, 2), ints(2, 2)), of(bools(2, 2), bools(2, 2)), of(ints(2, 2), floats(2)), ulps=1,
)  # fmt: skip
