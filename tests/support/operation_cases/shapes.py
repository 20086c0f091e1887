"""Of operations on shapes."""

from __future__ import annotations

import torch

from .case import bools, called, case, floats, ints

for x in (floats(2, 3, 4), ints(2, 3, 4), bools(2, 3, 4)):
    for shape in ((-1,), (6, 4), (4, -1), (2, 3, 4), (1, 24, 1), -1):
        case("reshape", called("reshape", shape), lambda x, s=shape: x.reshape(s), x)
    case("transpose", called("transpose"), lambda x: x.permute(2, 1, 0), x)
    case("transpose", called("transpose", (1, 0, -1)), lambda x: x.permute(1, 0, 2), x)
case("reshape", called("reshape", ()), lambda x: x.reshape(()), floats(1))
case("reshape", called("reshape", (0, 5)), lambda x: x.reshape(0, 5), floats(2, 0))
case("reshape", called("reshape", (-1, 2)), lambda x: x.reshape(-1, 2), floats(0, 3))
case("transpose", called("transpose"), lambda x: x, floats(4))
case("transpose", called("transpose"), lambda x: x.T, floats(0, 3))
case("transpose", lambda x: x.T, lambda x: x.T, floats(2, 3))
case("ravel", called("ravel"), torch.ravel, floats(2, 3))
case("ravel", called("ravel"), torch.ravel, floats())

for axis in (0, 1, -1, 2):
    case("expand_dims", called("expand_dims", axis), lambda x, a=axis: x.unsqueeze(a), floats(2, 3))
case("expand_dims", called("expand_dims", (0, -1)), lambda x: x[None, ..., None], floats(2, 3))
for axis in (0, 2, -2, (0, 2), (2, -4)):
    case(
        "squeeze", called("squeeze", axis), lambda x, a=axis: x.squeeze(a), floats(1, 3, 1, 4)
    ) if axis != -2 else None
case("squeeze", called("squeeze"), lambda x: x.squeeze(), floats(1, 3, 1, 4))
case("squeeze", called("squeeze", -2), lambda x: x.squeeze(-2), floats(1, 3, 1, 4))

for a, b in ((0, 1), (0, -1), (-1, -2)):
    case(
        "swapaxes", called("swapaxes", a, b), lambda x, a=a, b=b: x.swapaxes(a, b), floats(2, 3, 4)
    )
for a, b in ((0, -1), (-1, 0), (1, 2), ((0, 1), (-1, 0)), ((2, 0), (0, 1))):
    case("moveaxis", called("moveaxis", a, b), lambda x, a=a, b=b: x.movedim(a, b), floats(2, 3, 4))
for axis in (0, -1, (0, 1)):
    over = (axis,) if isinstance(axis, int) else axis
    case("flip", called("flip", axis), lambda x, a=over: x.flip(a), floats(2, 3))
case("flip", called("flip"), lambda x: x.flip(0, 1, 2), floats(2, 3, 2))
case("flip", called("flip"), lambda x: x.flip(0), floats(0))

for shape, wide in (
    ((3,), (2, 3)), ((3, 1), (3, 4)), ((), (2, 2)), ((1, 3), (5, 2, 3)), ((2, 3), (2, 3)),
    ((1,), (0,)), ((1, 2), (0, 2)),
):  # fmt: skip
    case(
        "broadcast_to", called("broadcast_to", wide), lambda x, w=wide: x.expand(w), floats(*shape)
    )

case("shape", called("shape"), lambda x: torch.tensor(x.shape), floats(2, 3))
case("ndim", called("ndim"), lambda x: torch.tensor(x.ndim), floats(2, 3))
case("size", called("size"), lambda x: torch.tensor(x.numel()), floats(2, 3))

case("fliplr", called("fliplr"), torch.fliplr, floats(2, 3))
case("flipud", called("flipud"), torch.flipud, floats(2, 3))
for k in (-1, 0, 1, 2, 3, 4):
    case("rot90", called("rot90", k), lambda x, k=k: torch.rot90(x, k), floats(2, 3))
case("rot90", called("rot90", 1, (1, 2)), lambda x: torch.rot90(x, 1, (1, 2)), floats(2, 3, 4))
for shift, axis in ((1, 0), (-2, 1), (5, -1), (2, None), ((1, -1), (0, 1)), (0, 0)):
    case(
        "roll", called("roll", shift, axis),
        lambda x, s=shift, a=axis: torch.roll(x, s, a) if a is not None else torch.roll(x, s),
        floats(3, 4),
    )  # fmt: skip
for k in (-2, -1, 0, 1, 2, 5):
    case("diag", called("diag", k), lambda x, k=k: torch.diag(x, k), floats(3))
    case("diagflat", called("diagflat", k), lambda x, k=k: torch.diagflat(x, k), floats(2, 2))
    if k == 5:
        continue
    case("diag", called("diag", k), lambda x, k=k: torch.diag(x, k), floats(3, 4))
    case(
        "diagonal",
        called("diagonal", k, 0, -1),
        lambda x, k=k: torch.diagonal(x, k, 0, -1),
        floats(3, 2, 4),
    )
    case("trace", called("trace", k), lambda x, k=k: torch.diagonal(x, k).sum(-1), floats(3, 4))
for n in (1, 2, 5):
    case("diff", called("diff", n), lambda x, n=n: torch.diff(x, n), floats(3, 4))
case("diff", called("diff", axis=0), lambda x: torch.diff(x, dim=0), bools(3, 4))
