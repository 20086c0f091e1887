"""Of choices and loops."""

from __future__ import annotations

from typing import Any

import torch

from gpunn import ops

from .case import case, floats


def either(x: Any) -> Any:
    return ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x * x)


def both(x: Any) -> Any:
    return ops.cond(x[0] > 0, lambda: (x, [x[1]]), lambda: (-x, [x[2]]))[1][0]


for sign in (1, -1):
    x = abs(floats(3)) * sign
    case("cond", either, lambda x: x * 2 if x.sum() > 0 else x * x, x)
    case("cond", both, lambda x: x[1] if x[0] > 0 else x[2], x)
case("cond", lambda x: ops.cond(True, lambda: x, lambda: 1 / 0), lambda x: x, floats(3))

for name in ("map", "vectorized_map"):
    case(
        name, lambda x, n=name: getattr(ops, n)(lambda row: ops.sum(row * row), x),
        lambda x: torch.square(x).sum(1), floats(4, 3),
    )  # fmt: skip
    case(
        name, lambda a, b, n=name: getattr(ops, n)(lambda two: (two[0] * two[1], two[0]), (a, b)),
        lambda a, b: (a * b, a), floats(4, 3), floats(4, 1),
    )  # fmt: skip
case(
    "fori_loop", lambda x: ops.fori_loop(1, 4, lambda i, v: v * x + i, x),
    lambda x: ((x * x + 1) * x + 2) * x + 3, floats(3),
)  # fmt: skip
case(
    "while_loop",
    lambda x: ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * x), (0, x))[1],
    lambda x: x**4, floats(3),
)  # fmt: skip
case(
    "while_loop", lambda x: ops.while_loop(lambda v: True, lambda v: v * 2, x, 3),
    lambda x: x * 8, floats(3),
)  # fmt: skip


def deep(x: torch.Tensor, by: int) -> torch.Tensor:
    parts = [x[:, i::by, j::by] for i in range(by) for j in range(by)]
    return torch.cat(parts, -1)


def wide(x: torch.Tensor, by: int) -> torch.Tensor:
    rows = []
    parts = x.split(x.shape[-1] // by**2, -1)
    for i in range(by):
        rows.append(torch.stack(parts[i * by : (i + 1) * by], 3).flatten(2, 3))
    return torch.stack(rows, 2).flatten(1, 2)


case("space_to_depth", lambda x: ops.space_to_depth(x, 2), lambda x: deep(x, 2), floats(2, 4, 6, 3))
case("depth_to_space", lambda x: ops.depth_to_space(x, 2), lambda x: wide(x, 2), floats(2, 2, 3, 8))
case(
    "space_to_depth", lambda x: ops.space_to_depth(x, 3, "channels_first"),
    lambda x: deep(x.movedim(1, -1), 3).movedim(-1, 1), floats(1, 2, 3, 6),
)  # fmt: skip
case(
    "depth_to_space", lambda x: ops.depth_to_space(x, 2, "channels_first"),
    lambda x: wide(x.movedim(1, -1), 2).movedim(-1, 1), floats(1, 4, 3, 2),
)  # fmt: skip
