"""Values to test instructions on, by their types."""

from __future__ import annotations

import numpy as np

__all__ = ["OF_MEMORY", "N", "dtype", "numbers"]

OF_MEMORY = ("ld", "st", "atom", "bar", "membar", "nanosleep", "shfl", "vote")
"""Opcodes that work on memory, or between threads."""
N = 256
EDGES = {
    "f": [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        1e-40,
        3e9,
        -3e9,
        np.inf,
        -np.inf,
        np.nan,
        2.0**31,
        2.0**32,
        2.0**63,
        -(2.0**31),
        -(2.0**63),
        2.0**64,
        3e38,
    ],
    "i": [0, 1, 2, 31, 32, 33, 63, 64, 255, -1, -2, 2**31, 2**63, 2**63 - 1, 2**31 - 1],
}


def dtype(type_: str) -> np.dtype:
    """Return how values of a type lie in memory."""
    if type_ == "pred":
        return np.dtype("u4")
    bits = int(type_[1:]) // 8
    return np.dtype(f"{ {'s': 'i', 'f': 'f'}.get(type_[0], 'u') }{bits}")


def numbers(type_: str, rng: np.random.Generator) -> np.ndarray:
    if type_[0] == "f":
        return rng.choice([*EDGES["f"], *rng.normal(size=9)], N).astype(dtype(type_))
    if type_ == "pred":
        return rng.integers(0, 2, N, "u4")
    values = [int(v) for v in rng.integers(-(2**63), 2**63, 9)] + EDGES["i"]
    chosen = [values[i] % 2**64 for i in rng.integers(0, len(values), N)]
    return np.array(chosen, np.uint64).astype(f"u{dtype(type_).itemsize}").view(dtype(type_))
