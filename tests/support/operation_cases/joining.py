"""Of tensors put together, cut up, repeated and padded."""

from __future__ import annotations

import torch

from gpunn import ops

from .case import bools, called, case, floats, ints

for axis in (0, 1, -1):
    two = floats(2, 3), floats(2, 3, seed=1)
    case(
        "concatenate", lambda *xs, a=axis: ops.concatenate(xs, a),
        lambda *xs, a=axis: torch.cat(xs, a), *two, floats(2, 3, seed=2),
    )  # fmt: skip
    case(
        "stack", lambda *xs, a=axis: ops.stack(xs, a), lambda *xs, a=axis: torch.stack(xs, a), *two
    )
case(
    "concatenate", lambda a, b: ops.concatenate([a, b, a], 0), lambda a, b: torch.cat([a, b, a]),
    floats(2, 3), floats(0, 3),
)  # fmt: skip
case("concatenate", lambda a: ops.concatenate([a]), lambda a: a, floats(2, 3))
case(
    "concatenate",
    lambda a, b: ops.concatenate([a, b], 0),
    lambda a, b: torch.cat([a, b]),
    ints(3),
    ints(2),
)
case(
    "stack",
    lambda a: ops.stack([a, 1.0, 2]),
    lambda a: torch.stack([a, a * 0 + 1, a * 0 + 2]),
    floats(),
)
case("stack", lambda a: ops.stack([a, a], -1), lambda a: torch.stack([a, a], -1), bools(2, 3))
for name, theirs in (("hstack", torch.hstack), ("vstack", torch.vstack)):
    for shape in ((3,), (2, 3)):
        case(
            name, lambda *xs, n=name: getattr(ops, n)(xs), lambda *xs, f=theirs: f(xs),
            floats(*shape), floats(*shape, seed=1),
        )  # fmt: skip

for axis in (0, 1, -1):
    case(
        "split", called("split", 2, axis),
        lambda x, a=axis: list(torch.tensor_split(x, 2, a)), floats(4, 6),
    )  # fmt: skip
    case(
        "split", called("split", [1, 3], axis),
        lambda x, a=axis: list(torch.tensor_split(x, [1, 3], a)), floats(4, 6),
    )  # fmt: skip
    case("unstack", called("unstack", axis=axis), lambda x, a=axis: list(x.unbind(a)), floats(2, 3))
case("split", lambda x: ops.split(x, 3)[1], lambda x: torch.tensor_split(x, 3)[1], floats(6))
case(
    "split", called("split", [0, 2, 2]), lambda x: list(torch.tensor_split(x, [0, 2, 2])), floats(4)
)

pad = torch.nn.functional.pad
case("pad", called("pad", 1), lambda x: pad(x, (1, 1, 1, 1)), floats(2, 3))
case("pad", called("pad", ((1, 0), (2, 3))), lambda x: pad(x, (2, 3, 1, 0)), floats(2, 3))
case("pad", called("pad", (1, 2)), lambda x: pad(x, (1, 2)), floats(3))
case("pad", called("pad", ((1, 2),)), lambda x: pad(x, (1, 2, 1, 2)), floats(2, 3))
case("pad", called("pad", 2, constant_values=1.5), lambda x: pad(x, (2, 2), value=1.5), floats(3))
case("pad", called("pad", 2), lambda x: pad(x, (2, 2)), floats(0))
case("pad", called("pad", 1, constant_values=7), lambda x: pad(x, (1, 1), value=7), ints(3))
case(
    "pad",
    called("pad", ((0, 0), (2, 1)), "reflect"),
    lambda x: pad(x, (2, 1), "reflect"),
    floats(2, 4),
)
case(
    "pad", called("pad", ((2, 1),), "symmetric"),
    lambda x: torch.cat([x[:2].flip(0), x, x[-1:]]), floats(4),
)  # fmt: skip

for times in (2, (2,), (2, 3), (3, 1, 2), (1, 1), (0, 2)):
    each = (times,) if isinstance(times, int) else times
    case("tile", called("tile", times), lambda x, t=each: x.tile(t), floats(2, 3))
case("tile", called("tile", 3), lambda x: x.tile(3), floats())
for axis in (None, 0, 1, -1):
    case(
        "repeat",
        called("repeat", 3, axis),
        lambda x, a=axis: x.repeat_interleave(3, a),
        floats(2, 3),
    )
case("repeat", called("repeat", 0, 0), lambda x: x.repeat_interleave(0, 0), floats(2, 3))
case("repeat", called("repeat", 2), lambda x: x.repeat_interleave(2), ints(3))

for shape in ((3,), (2, 3), (2, 3, 2)):
    case(
        "dstack",
        lambda *xs: ops.dstack(xs),
        lambda *xs: torch.dstack(xs),
        floats(*shape),
        floats(*shape, seed=1),
    )
case("append", ops.append, lambda a, b: torch.cat([a.ravel(), b.ravel()]), floats(2, 3), floats(2))
case(
    "append",
    lambda a, b: ops.append(a, b, 1),
    lambda a, b: torch.cat([a, b], 1),
    floats(2, 3),
    floats(2, 1),
)
for count in (2, 3, [1, 4]):
    case(
        "array_split",
        called("array_split", count),
        lambda x, c=count: list(torch.tensor_split(x, c)),
        floats(5, 2),
    )
case("hsplit", called("hsplit", 2), lambda x: list(torch.hsplit(x, 2)), floats(3, 4))
case("hsplit", called("hsplit", 2), lambda x: list(torch.hsplit(x, 2)), floats(4))
case("vsplit", called("vsplit", [1]), lambda x: list(torch.vsplit(x, [1])), floats(3, 4))
case("dsplit", called("dsplit", 2), lambda x: list(torch.dsplit(x, 2)), floats(3, 2, 4))
for indexing in ("xy", "ij"):
    case(
        "meshgrid", lambda *xs, i=indexing: ops.meshgrid(*xs, indexing=i),
        lambda *xs, i=indexing: list(torch.meshgrid(*xs, indexing=i)), floats(2), floats(3),
        floats(4),
    )  # fmt: skip
case("meshgrid", lambda x: ops.meshgrid(x), lambda x: [x], floats(3))
case("pad", called("pad", 1, constant_values=True), lambda x: pad(x, (1, 1), value=True), bools(3))
case(
    "repeat", called("repeat", [1, 0, 3], 1),
    lambda x: x.repeat_interleave(torch.tensor([1, 0, 3]), 1), floats(2, 3),
)  # fmt: skip
