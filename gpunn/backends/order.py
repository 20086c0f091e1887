"""The order in which rows are visited: a permutation computed from a key.

A shuffled order is a function of (seed, pass, position), not a stored list: a
kernel evaluates it for its own row, NumPy for a whole pass at once. It is a Feistel
network on the smallest power of two that holds all rows, walked along its cycle
until it lands on a row that exists (Black and Rogaway, "Ciphers with Arbitrary
Finite Domains", 2002). ``kernels/random.cuh`` holds the same function in C++.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6  # half-rounds: left half, right half, left half, ...
_MASK64 = (1 << 64) - 1


def round_keys(seed: int, pass_number: int) -> np.ndarray:
    """`ROUNDS` keys (uint32) of one pass: SplitMix64 (Steele et al., 2014) over the seed."""
    state = (seed + pass_number * 0xD1342543DE82EF95) & _MASK64
    keys = np.empty(ROUNDS, np.uint32)
    for i in range(ROUNDS):
        state = (state + 0x9E3779B97F4A7C15) & _MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
        keys[i] = (z ^ (z >> 31)) >> 32
    return keys


def _mix(x: np.ndarray, key: np.uint32) -> np.ndarray:
    h = (x + key) * np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(13)
    return h


def _encrypt(x: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """One application of the Feistel network to numbers of ``bits`` bits (uint32)."""
    low = bits // 2
    right_mask, left_mask = np.uint32((1 << low) - 1), np.uint32((1 << (bits - low)) - 1)
    left, right = x >> np.uint32(low), x & right_mask
    for i in range(0, ROUNDS, 2):
        left = left ^ (_mix(right, keys[i]) & left_mask)
        right = right ^ (_mix(left, keys[i + 1]) & right_mask)
    return (left << np.uint32(low)) | right


def permutation(rows: int, seed: int, pass_number: int) -> np.ndarray:
    """The order of one pass: row indices (rows,) int64, each row once.

    >>> sorted(permutation(5, seed=1, pass_number=0).tolist())
    [0, 1, 2, 3, 4]
    """
    bits = max(2, (rows - 1).bit_length())
    keys = round_keys(seed, pass_number)
    x = _encrypt(np.arange(rows, dtype=np.uint32), bits, keys)
    while (outside := np.flatnonzero(x >= rows)).size:
        x[outside] = _encrypt(x[outside], bits, keys)
    return x.astype(np.int64)


class Order:
    """Which row comes at which position of a pass: shuffled by a key, or as they stand.

    Args:
        rows: number of rows in the data, at most 2**32 - 1.
        seed: 64-bit key of the shuffle; None keeps the rows in their order.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self.rows = rows
        self.seed = seed
        self._pass = -1
        self._indices = np.arange(rows) if seed is None else np.empty(0, np.int64)

    def indices(self, pass_number: int) -> np.ndarray:
        """The whole pass on the host; kept until another pass is asked for."""
        if self.seed is not None and pass_number != self._pass:
            self._indices = permutation(self.rows, self.seed, pass_number)
            self._pass = pass_number
        return self._indices
