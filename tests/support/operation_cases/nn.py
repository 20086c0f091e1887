"""Cases of neural-network operations."""

from __future__ import annotations

import numpy as np

from .case import Call, bools, floats, ints, of, oracle
from .differences import ALL_MASKED
from .edges import pairs

oracle(
    "glu", of(floats(3, 4)), of(floats(4, 3), axis=0), of(floats(3, 3)), of(ints(4)),
    of(floats(2, 4, 3), axis=1), of(floats(0, 4)), of(floats(3, 4), axis=2), values="keras",
    scale="one", edges=("zeros", "tiny", "nan"),
)  # fmt: skip
oracle(
    "sparsemax", of(floats(3, 5)), of(floats(3, 5), axis=0),
    of(floats(1)), of(floats(3, 5) * 100), values="keras", edges=("zeros", "tiny", "nan"),
    scale="largest",
)  # fmt: skip

# -- cross-entropies

CHANCES = np.exp(floats(5, 4)) / np.exp(floats(5, 4)).sum(1, keepdims=True)
CHANCES = CHANCES.astype(np.float32).astype(float)
TRUTH = np.eye(4)[[0, 3, 1, 1, 2]]
SURE = of(*pairs(np.array([0.0, 1.0, 0.25]), np.array([0.0, 1.0, 0.5, 1e-9, 1 - 2**-24])))
LOGITS = of(
    *pairs(np.array([0.0, 1.0, 0.25]), np.array([0.0, -0.0, 88.0, -88.0, 1e4, -1e4, np.nan])),
    from_logits=True,
)
oracle(
    "binary_crossentropy", of((floats(3, 4) > 0).astype(float), floats(3, 4, low=0.1, high=0.9)),
    of(floats(3, 4, low=0, high=1), floats(3, 4) * 9, from_logits=True), SURE, LOGITS,
    of(floats(3, 1, low=0), floats(3, 4, low=0.1, high=0.9)),
    of(floats(3, low=0), floats(3, 1, low=0.1, high=0.9)),
    of(floats(3, 4, low=0), floats(4, low=0.1, high=0.9)), values="keras", edges=(), scale="one",
    ulps=16,
)  # fmt: skip
oracle(
    "categorical_crossentropy", of(TRUTH, CHANCES), of(TRUTH, floats(5, 4) * 9, from_logits=True),
    of(TRUTH, floats(5, 4) * 9, from_logits=True, axis=0), of(TRUTH, CHANCES * 3),
    of(TRUTH, np.eye(4)[[0, 1, 1, 2, 2]]), of(TRUTH * 2, CHANCES), of(TRUTH[:1], CHANCES),
    of(TRUTH[:, :3], CHANCES), of(floats(4, low=0), floats(4, low=0.1, high=0.9)),
    of(np.ones((2, 3, 4)) / 4, floats(2, 3, 4, low=0.1, high=0.9), axis=1),
    of(TRUTH, CHANCES, axis=2), values="keras", edges=(), scale="one", ulps=16,
)  # fmt: skip
WORDS = np.array([[1, 2, 3], [2, 2, 0], [3, 0, 0], [1, 1, 1], [0, 0, 0]], np.int32)
COUNTS, STEPS = np.array([3, 2, 1, 3, 0], np.int32), np.array([6, 6, 3, 5, 4], np.int32)
oracle(
    "ctc_loss", of(WORDS, floats(5, 6, 4), COUNTS, STEPS),
    of(WORDS % 3, floats(5, 6, 4) * 9, COUNTS, STEPS, mask_index=3),
    of(WORDS, floats(5, 6, 4), COUNTS[:3], STEPS), of(WORDS[0], floats(5, 6, 4), COUNTS, STEPS),
    of(WORDS, floats(6, 4), COUNTS, STEPS), values="keras", edges=(), scale="one", ulps=64,
)  # fmt: skip
LABELS = ints(5, low=0, high=4)
HIDDEN = np.where(np.arange(4) == 3, -np.inf, floats(5, 4))
oracle(
    "sparse_categorical_crossentropy",
    *(
        of(labels, x, from_logits=logits)
        for labels in (LABELS, LABELS[:, None])
        for x, logits in ((floats(5, 4) * 9, True), (CHANCES, False))
    ),
    of(ints(2, 3, low=0, high=4), floats(2, 3, 4), from_logits=True),
    of(ints(2, 3, low=0, high=4), floats(2, 4, 3), from_logits=True, axis=1),
    of(ints(5, low=0, high=3), HIDDEN, from_logits=True), of(LABELS[:3], CHANCES),
    *(of(np.array([bad, 3, 0, 1, 2], np.int32), CHANCES) for bad in (-1, 4)),
    of(ints(5, 2, low=0, high=4), CHANCES), values="keras", edges=("nan",), scale="one", ulps=16,
)  # fmt: skip

# -- attention

Q, K, V = floats(2, 3, 2, 4), floats(2, 5, 2, 4, seed=1), floats(2, 5, 2, 4, seed=2)


def attended(mask: np.ndarray, causal: bool = False, q: np.ndarray = Q) -> Call:
    return of(q, K, V, mask, smooth=q is Q, by=lambda k, q, y, v, m: k.dot_product_attention(
        q, y, v, mask=m, is_causal=causal))  # fmt: skip


ROW = np.array([True, False, True, True, False])
oracle(
    "dot_product_attention", of(Q, K, V), of(Q, K, V, is_causal=True), of(Q, K, V, scale=0.0),
    of(Q, K, V, floats(1, 2, 3, 5), by=lambda k, q, y, v, b: k.dot_product_attention(
        q, y, v, b, scale=0.3)),
    of(floats(2, 5, 2, 4), K, V, is_causal=True), attended(bools(2, 2, 3, 5)),
    attended(bools(2, 1, 3, 5)), attended(np.zeros((2, 1, 3, 5), bool)),
    attended(np.broadcast_to(ROW, (2, 2, 3, 5)).copy(), causal=True),
    attended(np.broadcast_to(ROW, (2, 2, 3, 5)).copy(), q=Q * -1e20),
    of(Q, K, floats(2, 5, 2, 7)), of(Q, K[..., :3], V),
    of(floats(2, 3, 6, 4), K, V), of(floats(2, 3, 6, 4), K, V, is_causal=True), of(Q, K[:, :, :1],
    V[:, :, :1], flash_attention=False), of(floats(2, 3, 3, 4), K, V),
    of(floats(3, 2, 4), floats(3, 2, 4), floats(3, 2, 4)), of(*[floats(1, 1, 1, 1)] * 3),
    of(floats(2, 0, 2, 4), K, V), values="keras", edges=("zeros", "ties", "tiny"), scale="one",
    ulps=32, differs=[ALL_MASKED],
)  # fmt: skip

# -- normalization

POSITIVE = floats(3, low=0.2, high=1)


def normalized(x: np.ndarray, *parts: np.ndarray, axis: int = -1, epsilon: float = 1e-3) -> Call:
    return of(x, *parts, by=lambda k, x, mean, variance, *rest: k.batch_normalization(
        x, mean, variance, axis, *rest, epsilon=epsilon))  # fmt: skip


oracle(
    "batch_normalization",
    normalized(floats(2, 3, 4), floats(3), POSITIVE, floats(3, seed=1), floats(3, seed=2), axis=1,
               epsilon=1e-2),
    normalized(floats(4, 3), floats(3), POSITIVE), normalized(floats(4, 3), floats(3), np.zeros(3)),
    normalized(floats(4, 3), floats(3), -POSITIVE), normalized(floats(4, 3), floats(4), POSITIVE),
    normalized(ints(4, 3), floats(3), POSITIVE),
    normalized(floats(4, 3), floats(3), POSITIVE, axis=2),
    values="keras", edges=("zeros", "tiny", "nan"), scale="largest", ulps=16,
)  # fmt: skip
oracle(
    "layer_normalization",
    of(floats(3, 4), floats(4), floats(4, seed=1), by=lambda k, x, g, b: k.layer_normalization(
        x, g, b, epsilon=1e-3)),
    of(floats(2, 3, 4), axis=(1, 2)), of(floats(3, 4)), of(np.ones((2, 3))),
    of(floats(3, 4), floats(3), by=lambda k, x, g: k.layer_normalization(x, g)),
    of(floats(3, 4) * 1e-6), of(floats(0, 4)), values="keras",
    edges=("zeros", "ties", "tiny", "nan"), scale="one", ulps=64,
)  # fmt: skip
oracle(
    "rms_normalization",
    of(floats(3, 4), floats(4), by=lambda k, x, g: k.rms_normalization(x, g, epsilon=1e-3)),
    of(floats(3, 4)), of(floats(2, 3, 4), axis=(1, 2)), of(np.zeros((2, 3))),
    of(floats(3, 4) * 1e-6), values="keras", edges=("zeros", "ties", "tiny", "nan"), scale="one",
    ulps=64,
)  # fmt: skip
