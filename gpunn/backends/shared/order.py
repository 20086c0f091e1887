"""The order in which rows are visited: a permutation computed from a key.

A shuffled order is a function of (seed, pass, position), not a stored list: a
kernel evaluates it for its own row, NumPy for a whole pass at once. It is a Feistel
network on the smallest power of two that holds all rows. The network is applied again
until it gives a row that exists: cycle walking (Black and Rogaway, "Ciphers with Arbitrary
Finite Domains", 2002). ``kernels/formulas/random.cuh`` has the same function in C++.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6  # half-rounds: left half, right half, left half, ...
ROWS_AT_ONCE = 4096  # for small data, the orders of several passes are computed at once
NO_PASSES = np.empty((0, 0), np.int64)


def round_keys(seed: int, first_pass: int, passes: int = 1) -> np.ndarray:
    """Return keys (passes, ROUNDS), uint32: SplitMix64 (Steele et al., 2014) of seed and pass."""
    numbers = np.arange(first_pass, first_pass + passes, dtype=np.uint64)
    state = np.uint64(seed) + numbers * np.uint64(0xD1342543DE82EF95)
    keys = np.empty((passes, ROUNDS), np.uint32)
    for i in range(ROUNDS):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        keys[:, i] = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
    return keys


def _mix(x: np.ndarray, key: np.ndarray) -> np.ndarray:
    h = (x + key) * np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(13)
    return h


def _encrypt(x: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """Apply the Feistel network to integers x (n,) of ``bits`` bits; keys (n or 1, ROUNDS)."""
    low = bits // 2
    right_mask, left_mask = np.uint32((1 << low) - 1), np.uint32((1 << (bits - low)) - 1)
    left, right = x >> np.uint32(low), x & right_mask
    for i in range(0, ROUNDS, 2):
        left = left ^ (_mix(right, keys[:, i]) & left_mask)
        right = right ^ (_mix(left, keys[:, i + 1]) & right_mask)
    return (left << np.uint32(low)) | right


def permutations(rows: int, seed: int, first_pass: int, passes: int = 1) -> np.ndarray:
    """Return the orders of some passes: row indices (passes, rows) int64, each row once per pass.

    >>> sorted(permutations(5, seed=1, first_pass=0)[0].tolist())
    [0, 1, 2, 3, 4]
    """
    bits = max(2, (rows - 1).bit_length())
    keys = round_keys(seed, first_pass, passes)
    if passes > 1:  # each row of each pass with the keys of its pass
        keys = np.repeat(keys, rows, axis=0)
    x = _encrypt(np.tile(np.arange(rows, dtype=np.uint32), passes), bits, keys)
    while (outside := np.flatnonzero(x >= rows)).size:
        x[outside] = _encrypt(x[outside], bits, keys[outside] if passes > 1 else keys)
    return x.astype(np.int64).reshape(passes, rows)


def permutation(rows: int, seed: int, pass_number: int) -> np.ndarray:
    """Return the order of one pass (rows,)."""
    return permutations(rows, seed, pass_number)[0]


class Order:
    """The row at each position of a pass: shuffled by a key, or in the order of the data.

    Args:
        rows: number of rows in the data, at most 2**32 - 1.
        seed: 64-bit key of the shuffle; None keeps the order of the data.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self.rows = rows
        self.seed = seed
        self._first = 0
        self._passes = NO_PASSES if seed is not None else np.arange(rows)

    def __repr__(self) -> str:
        return f"Order(rows={self.rows}, seed={self.seed})"

    def indices(self, pass_number: int) -> np.ndarray:
        """Return the whole pass on the host; kept until another pass is requested."""
        if self.seed is None:
            return self._passes
        if not 0 <= pass_number - self._first < len(self._passes):
            count = max(1, ROWS_AT_ONCE // max(1, self.rows))
            self._passes = permutations(self.rows, self.seed, pass_number, count)
            self._first = pass_number
        return self._passes[pass_number - self._first]
