"""Of tensors made of numbers and shapes, and of triangles."""

from __future__ import annotations

import torch

from gpunn import ops

from .case import called, case, floats, ints

# What is made of no tensor is multiplied by one, so that a step has something to compute.
MADE = {
    "zeros": (lambda: ops.zeros((2, 3)), lambda: torch.zeros(2, 3)),
    "ones": (lambda: ops.ones([2, 3], "float32"), lambda: torch.ones(2, 3)),
    "full": (lambda: ops.full((2, 3), 2.5), lambda: torch.full((2, 3), 2.5)),
    "arange": (lambda: ops.arange(3), lambda: torch.arange(3)),
    "linspace": (lambda: ops.linspace(0.0, 1.0, 3), lambda: torch.linspace(0, 1, 3)),
    "eye": (lambda: ops.eye(2, 3), lambda: torch.eye(2, 3)),
    "identity": (lambda: ops.identity(3), lambda: torch.eye(3)),
}
for name, (ours, theirs) in MADE.items():
    case(
        name,
        lambda x, f=ours: x * f(),
        lambda x, f=theirs: x * f(),
        floats(2, 3) if name != "identity" else floats(3, 3),
    )
case("zeros", lambda x: ops.zeros(3) + x, lambda x: x, floats(3))
case("zeros", lambda x: ops.zeros((), "int32") + x, lambda x: x, ints(3))
case("ones", lambda x: x * ops.ones(x.shape[1:], x.dtype), lambda x: x, floats(2, 3))
case("full", lambda x: ops.full((2,), x), lambda x: x.expand(2), floats())
case("full", lambda x: ops.full(2, 3, "float32") * x, lambda x: x * 3, floats(2))
for given in ((1, 7, 2), (5, 0, -2), (2, 5)):
    case(
        "arange",
        lambda x, g=given: ops.arange(*g) * x,
        lambda x, g=given: torch.tensor(range(*g)) * x,
        floats(),
    )
case(
    "arange",
    lambda x: ops.arange(0.0, 1.0, 0.25) * x,
    lambda x: torch.arange(0.0, 1, 0.25) * x,
    floats(4),
)
case(
    "linspace",
    lambda x: ops.linspace(0, 1, 4, endpoint=False) * x,
    lambda x: torch.arange(4) / 4 * x,
    floats(4),
)
case("eye", lambda x: x * ops.eye(3, k=1), lambda x: x * torch.diag(torch.ones(2), 1), floats(3, 3))

for name, theirs in (("zeros_like", torch.zeros_like), ("ones_like", torch.ones_like)):
    for x in (floats(2, 3), floats(0), ints(3)):
        case(name, called(name), theirs, x)
    case(name, lambda x, n=name: x * getattr(ops, n)(x), lambda x, f=theirs: x * f(x), floats(3))
    case(name, called(name, "int32"), lambda x, f=theirs: f(x, dtype=torch.int32), floats(3))
case("full_like", called("full_like", 2.5), lambda x: torch.full_like(x, 2.5), floats(2, 3))
case("full_like", lambda x: ops.full_like(x, 3) * x, lambda x: 3 * x, ints(2, 3))

for k in (0, 1, -1, 5):
    for shape in ((3, 4), (2, 3, 3), (0, 3)):
        case("tril", called("tril", k), lambda x, k=k: torch.tril(x, k), floats(*shape))
        case("triu", called("triu", k), lambda x, k=k: torch.triu(x, k), floats(*shape))
case("convert_to_tensor", called("convert_to_tensor"), lambda x: x, floats(2, 3))
case(
    "convert_to_tensor",
    lambda x: ops.convert_to_tensor([x, [x[0], 2.0]]),
    lambda x: torch.stack([x, torch.stack([x[0], x[0] * 0 + 2])]),
    floats(2),
)
case("convert_to_tensor", called("convert_to_tensor", "float64"), lambda x: x.double(), ints(2, 3))

case("array", called("array"), lambda x: x, floats(2, 3))
case("copy", called("copy"), lambda x: x, floats(2, 3))
case("empty", lambda x: ops.shape(ops.empty((2, 3))), lambda x: torch.tensor((2, 3)), floats())
case(
    "empty_like",
    lambda x: ops.shape(ops.empty_like(x)),
    lambda x: torch.tensor((2, 3)),
    floats(2, 3),
)
case("tri", lambda x: ops.tri(3, 4, 1) * x, lambda x: torch.ones(3, 4).tril(1) * x, floats(3, 4))


def vander(x: torch.Tensor, n: int = 4, increasing: bool = False) -> torch.Tensor:
    powers = torch.stack([x**i for i in range(n)], -1)
    return powers if increasing else powers.flip(-1)


case("vander", called("vander"), vander, floats(4))
case("vander", called("vander", 3, increasing=True), lambda x: vander(x, 3, True), floats(4))
case(
    "logspace",
    lambda x: ops.logspace(0, 3, 4, base=2.0) * x,
    lambda x: torch.tensor([1, 2, 4, 8]) * x,
    floats(4),
)
case(
    "linspace",
    lambda a, b: ops.linspace(a, b, 5),
    lambda a, b: torch.stack([a + (b - a) * i / 4 for i in range(5)]),
    floats(3),
    floats(),
)
case(
    "linspace",
    lambda a: ops.linspace(a, 1.0, 3, retstep=True),
    lambda a: (torch.stack([a, (a + 1) / 2, a * 0 + 1]), (1 - a) / 2),
    floats(2),
)
