"""Of the operations of neural networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from gpunn import ops

from .case import called, case, floats, ints

ACTIVATIONS = {
    "relu6": F.relu6, "silu": F.silu, "log_sigmoid": F.logsigmoid,
    "hard_sigmoid": lambda x: torch.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * torch.clip(x / 6 + 0.5, 0, 1), "softsign": F.softsign,
    "elu": F.elu, "selu": F.selu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
}  # fmt: skip
for name, theirs in ACTIVATIONS.items():
    for shape in ((), (0,), (3, 4)):
        case(name, getattr(ops, name), theirs, floats(*shape) * 3)
    case(name, getattr(ops, name), lambda x, f=theirs: f(x.float()), ints(9))
case("leaky_relu", called("leaky_relu", 0.01), F.leaky_relu, floats(9))
case("elu", called("elu", alpha=0.5), lambda x: F.elu(x, 0.5), floats(9))

probabilities = np.exp(floats(5, 4)) / np.exp(floats(5, 4)).sum(1, keepdims=True)
probabilities = probabilities.astype(np.float32).astype(float)
truth = np.eye(4)[[0, 3, 1, 1, 2]]
case(
    "binary_crossentropy", ops.binary_crossentropy,
    lambda t, y: F.binary_cross_entropy(y, t, reduction="none"),
    (floats(3, 4) > 0).astype(float), floats(3, 4, low=0.1, high=0.9), smooth=False,
)  # fmt: skip
case(
    "binary_crossentropy", lambda t, y: ops.binary_crossentropy(t, y, from_logits=True),
    lambda t, y: F.softplus(y) - t * y, floats(3, 4, low=0, high=1), floats(3, 4) * 9,
)  # fmt: skip
case(
    "binary_crossentropy", ops.binary_crossentropy,
    lambda t, y: -(t * torch.log(y) + (1 - t) * torch.log(1 - y)),
    floats(3, 4, low=0, high=1), floats(3, 4, low=0.1, high=0.9),
)  # fmt: skip
case(
    "categorical_crossentropy", ops.categorical_crossentropy,
    lambda t, y: -(t * torch.log(y / y.sum(-1, keepdim=True))).sum(-1), truth, probabilities,
)  # fmt: skip
case(
    "categorical_crossentropy", lambda t, y: ops.categorical_crossentropy(t, y, True, axis=0),
    lambda t, y: -(t * torch.log_softmax(y, 0)).sum(0), truth, floats(5, 4) * 9,
)  # fmt: skip
for labels in (ints(5, low=0, high=4), ints(5, 1, low=0, high=4)):
    case(
        "sparse_categorical_crossentropy",
        lambda t, y: ops.sparse_categorical_crossentropy(t, y, from_logits=True),
        lambda t, y: F.cross_entropy(y, t.long().reshape(-1), reduction="none"),
        labels, floats(5, 4),
    )  # fmt: skip
    case(
        "sparse_categorical_crossentropy", ops.sparse_categorical_crossentropy,
        lambda t, y: F.nll_loss(
            torch.log(y / y.sum(-1, keepdim=True)), t.long().reshape(-1), reduction="none"
        ),
        labels, probabilities,
    )  # fmt: skip

FURTHER = {
    "swish": F.silu, "hard_swish": lambda x: x * torch.clip(x / 6 + 0.5, 0, 1),
    "celu": F.celu, "hard_tanh": F.hardtanh, "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink, "tanh_shrink": F.tanhshrink,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "sparse_plus": lambda x: torch.where(
        x <= -1, 0.0, torch.where(x < 1, torch.square(x + 1) / 4, x)
    ),
    "sparse_sigmoid": lambda x: torch.clip((x + 1) / 2, 0, 1),
    "squareplus": lambda x: (x + torch.sqrt(torch.square(x) + 4)) / 2,
}  # fmt: skip
for name, theirs in FURTHER.items():
    for shape in ((), (0,), (3, 4)):
        case(name, getattr(ops, name), theirs, floats(*shape) * 3)
case("gelu", called("gelu", approximate=False), F.gelu, floats(3, 4) * 3)
case("celu", called("celu", 0.5), lambda x: F.celu(x, 0.5), floats(9))
case("glu", called("glu"), F.glu, floats(3, 4))
case("glu", called("glu", 0), lambda x: F.glu(x, 0), floats(4, 3))
case("threshold", called("threshold", 0.5, -3.0), lambda x: F.threshold(x, 0.5, -3.0), floats(9))


def sparsemax(x: torch.Tensor) -> torch.Tensor:
    ordered = x.sort(-1, descending=True).values
    ranks = torch.arange(1, x.shape[-1] + 1)
    inside = 1 + ranks * ordered > ordered.cumsum(-1)
    over = (torch.where(inside, ordered, 0).sum(-1, True) - 1) / inside.sum(-1, True)
    return torch.relu(x - over)


case("sparsemax", called("sparsemax"), sparsemax, floats(3, 5))
case("sparsemax", called("sparsemax", 0), lambda x: sparsemax(x.T).T, floats(3, 5))


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scores = q @ k.mT * options.get("scale", q.shape[-1] ** -0.5) + options.get("bias", 0)
    return (torch.softmax(scores, -1) @ v).transpose(1, 2)


three = floats(2, 3, 2, 4), floats(2, 5, 2, 4, seed=1), floats(2, 5, 2, 4, seed=2)
case("dot_product_attention", ops.dot_product_attention, attention, *three)
case(
    "dot_product_attention",
    lambda q, k, v, b: ops.dot_product_attention(q, k, v, b, scale=0.3),
    lambda q, k, v, b: attention(q, k, v, bias=b, scale=0.3), *three, floats(1, 2, 3, 5),
)  # fmt: skip
hidden = torch.full((3, 5), -torch.inf).triu(1)
case(
    "dot_product_attention", lambda *xs: ops.dot_product_attention(*xs, is_causal=True),
    lambda q, k, v: attention(q, k, v, bias=hidden), *three,
)  # fmt: skip
mask = np.array([True, False, True, True, False])
case(
    "dot_product_attention", lambda *xs: ops.dot_product_attention(*xs, mask=mask),
    lambda q, k, v: attention(q, k, v, bias=torch.where(torch.tensor(mask), 0.0, -torch.inf)),
    *three,
)  # fmt: skip

positive = floats(3, low=0.2, high=1)
case(
    "batch_normalization",
    lambda x, m, v, b, g: ops.batch_normalization(x, m, v, 1, b, g, epsilon=1e-2),
    lambda x, m, v, b, g: (x - m[:, None]) / torch.sqrt(v + 1e-2)[:, None] * g[:, None] + b[:,
    None],
    floats(2, 3, 4), floats(3), positive, floats(3, seed=1), floats(3, seed=2),
)  # fmt: skip
case(
    "batch_normalization", lambda x, m, v: ops.batch_normalization(x, m, v, -1),
    lambda x, m, v: (x - m) / torch.sqrt(v + 1e-3), floats(4, 3), floats(3), positive,
)  # fmt: skip
case(
    "layer_normalization", lambda x, g, b: ops.layer_normalization(x, g, b, epsilon=1e-3),
    lambda x, g, b: F.layer_norm(x, (4,), g, b, 1e-3), floats(3, 4), floats(4), floats(4, seed=1),
)  # fmt: skip
case(
    "layer_normalization", called("layer_normalization", axis=(1, 2)),
    lambda x: F.layer_norm(x, (3, 4), eps=1e-7), floats(2, 3, 4),
)  # fmt: skip
case(
    "rms_normalization", lambda x, g: ops.rms_normalization(x, g, epsilon=1e-3),
    lambda x, g: F.rms_norm(x, (4,), g, 1e-3), floats(3, 4), floats(4),
)  # fmt: skip
