"""Of products."""

from __future__ import annotations

import torch

from gpunn import ops

from .case import bools, case, floats, ints

MATRICES = (
    ((3, 4), (4, 2)), ((4,), (4, 2)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 2)),
    ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)),
    ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((3, 4), (4, 0)),
    ((1, 1), (1, 1)), ((2, 0, 4), (4, 3)), ((2, 3, 0), (2, 0, 5)),
)  # fmt: skip
for shape, other in MATRICES:
    case("matmul", ops.matmul, torch.matmul, floats(*shape), floats(*other, seed=1))
case("matmul", ops.matmul, torch.matmul, ints(3, 4), ints(4, 2))
case("matmul", lambda x: x @ x.T, lambda x: x @ x.T, floats(3, 4))
case("matmul", lambda x: x.T @ x, lambda x: x.T @ x, floats(3, 4))
case("matmul", ops.matmul, lambda a, b: a.int() @ b.int(), bools(3, 4), bools(4, 2))

for shape, other in (((3, 4), (4, 2)), ((4,), (4,)), ((3, 4), (4,)), ((2, 3, 4), (4,))):
    case("dot", ops.dot, torch.matmul, floats(*shape), floats(*other, seed=1))
case("dot", ops.dot, torch.multiply, floats(), floats(3))
case(
    "dot", ops.dot, lambda a, b: torch.tensordot(a, b, ([2], [1])), floats(2, 3, 4), floats(5, 4, 2)
)
for count in (0, 1, 2):
    case(
        "tensordot", lambda a, b, n=count: ops.tensordot(a, b, n),
        lambda a, b, n=count: torch.tensordot(a, b, n),
        floats(2, 3, 4), floats(*(3, 4, 2) if count == 2 else (4, 3)),
    )  # fmt: skip
case(
    "tensordot", lambda a, b: ops.tensordot(a, b, [[0, -1], [1, 0]]),
    lambda a, b: torch.tensordot(a, b, ([0, 2], [1, 0])), floats(2, 3, 4), floats(4, 2, 5),
)  # fmt: skip
case(
    "tensordot", lambda a, b: ops.tensordot(a, b, (1, 0)),
    lambda a, b: torch.tensordot(a, b, ([1], [0])), floats(2, 3), floats(3, 4),
)  # fmt: skip
case("outer", ops.outer, lambda a, b: torch.outer(a.ravel(), b.ravel()), floats(3), floats(2, 2))

SUMS = {
    "...i,ij->...j": ((2, 3, 4), (4, 2)), "...ij->...ji": ((2, 3, 4),),
    "b...,b->b...": ((2, 3), (2,)),
    "...ij,jk->ik...": ((2, 3, 4), (4, 5)), "...,...i->i...": ((2, 3), (2, 3, 4)),
    "ij,jk->ik": ((2, 3), (3, 4)), "ij,kj->ik": ((2, 3), (4, 3)), "ij,jk": ((2, 3), (3, 4)),
    "ij->ji": ((2, 3),), "ij->": ((2, 3),), "ij->i": ((2, 3),), "ij->j": ((2, 3),),
    "i,i->": ((3,), (3,)), "i,j->ij": ((3,), (2,)), "ij,ij->ij": ((2, 3), (2, 3)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "bqhd,bkhd->bhqk": ((2, 3, 2, 4), (2, 5, 2, 4)),
    "bhqk,bkhd->bqhd": ((2, 2, 3, 5), (2, 5, 2, 4)), "abc,cde->abde": ((2, 3, 4), (4, 2, 3)),
    "bi,ij,kj->bk": ((2, 3), (3, 4), (5, 4)), "ij,j->i": ((2, 3), (3,)),
    "ij,kl->jl": ((2, 3), (4, 5)),
    "i,ij,j->": ((2,), (2, 3), (3,)), "ij,jk->ki": ((0, 3), (3, 4)), "ij,jk->ij": ((2, 3), (3, 4)),
    " i j , j k -> i k ": ((2, 3), (3, 4)), "b i, b i -> b": ((2, 3), (2, 3)),
}  # fmt: skip
for subscripts, given in SUMS.items():
    case(
        "einsum", lambda *xs, s=subscripts: ops.einsum(s, *xs),
        lambda *xs, s=subscripts: torch.einsum(s, *xs),
        *(floats(*shape, seed=i) for i, shape in enumerate(given)),
    )  # fmt: skip

case("vdot", ops.vdot, lambda a, b: a.ravel() @ b.ravel(), floats(2, 3), floats(3, 2))
for shape, other in (
    ((3,), (3,)),
    ((2, 3), (4, 3)),
    ((2, 3), (3,)),
    ((), (3,)),
    ((2, 2, 3), (4, 3)),
):
    case("inner", ops.inner, torch.inner, floats(*shape), floats(*other, seed=1))
case("cross", ops.cross, torch.linalg.cross, floats(4, 3), floats(4, 3, seed=1))
case(
    "cross", lambda a, b: ops.cross(a, b, axis=0),
    lambda a, b: torch.linalg.cross(a, b, dim=0), floats(3, 4), floats(3, 4, seed=1),
)  # fmt: skip
case(
    "cross", ops.cross, lambda a, b: a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
    floats(4, 2), floats(4, 2, seed=1),
)  # fmt: skip
case(
    "cross", ops.cross, lambda a, b: torch.linalg.cross(torch.nn.functional.pad(a, (0, 1)), b),
    floats(4, 2), floats(4, 3, seed=1),
)  # fmt: skip
for shape, other in (((2, 3), (3, 2)), ((2,), (3,)), ((2,), (2, 2)), ((2, 1, 2), (2, 2))):
    case("kron", ops.kron, torch.kron, floats(*shape), floats(*other, seed=1))
