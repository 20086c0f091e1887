"""Statistics for `check_data`: tests of independence and of equal distribution, row hashes.

They use NumPy alone; the tests compare each with SciPy's.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 10
HASH_ROWS = 1 << 8  # rows hashed at a time, so that they stay in the cache


def chi2_sf(x: float, freedom: int) -> float:
    """Return P(X >= x) for a chi-squared X with ``freedom`` degrees of freedom.

    This is the regularized incomplete gamma function Q(freedom / 2, x / 2): its series below the
    mean, its continued fraction (by Lentz's method) above. Abramowitz and Stegun, 6.5.29 and
    6.5.31.

    >>> round(chi2_sf(3.841, 1), 4)
    0.05
    """
    a, z = freedom / 2, x / 2
    if z <= 0 or freedom < 1:
        return 1.0
    front = math.exp(-z + a * math.log(z) - math.lgamma(a))
    if z < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > 1e-15 * total:
            n += 1
            term *= z / n
            total += term
        return max(0.0, 1 - front * total)
    b = z + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2
        d = 1 / (step * d + b)
        c = b + step / c
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return front * fraction


def kolmogorov_sf(t: float) -> float:
    """Return P(K >= t) for Kolmogorov's distribution: 2 sum (-1)^(k-1) exp(-2 k^2 t^2).

    >>> round(kolmogorov_sf(1.3581), 4)
    0.05
    """
    if t < 0.2:
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * t) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * sum(terms)))


def ks_statistic(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the largest distance D between two samples' CDFs, and its asymptotic p-value.

    >>> ks_statistic(np.arange(4.0), np.arange(2.0, 6.0))[0]
    0.5
    """
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    shares = [np.searchsorted(s, both, side="right") / len(s) for s in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    return distance, kolmogorov_sf(distance * math.sqrt(len(a) * len(b) / len(both)))


def g_test(table: np.ndarray) -> tuple[float, float]:
    """Return G = 2 sum n ln(n / expected) of a table of counts, and its p-value.

    The p-value assumes independent rows and columns. G / (2 total) is their mutual information,
    in nats.

    >>> round(g_test(np.array([[30, 10], [10, 30]]))[0], 3)
    20.93
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(np.float64)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(1.0, table.sum())
    filled = table > 0
    g = 2 * float(np.sum(table[filled] * np.log(table[filled] / expected[filled])))
    return g, chi2_sf(g, (table.shape[0] - 1) * (table.shape[1] - 1))


def binned(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return each value's bin index; bins are equally full as far as ties allow.

    >>> binned(np.array([0.0, 1, 2, 3, 4, 5]), 3).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return np.searchsorted(distinct, values)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    return np.searchsorted(edges, values, side="left")


def counts_table(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Count how often each pair of two whole numbers occurs."""
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)


def row_hashes(x: np.ndarray) -> np.ndarray:
    """Hash each row of (rows, columns) to 64 bits; equal rows of one dtype have equal hashes.

    The hash is the sum of the row's words, each times a random odd number, modulo 2^64.
    """
    size = x.dtype.itemsize * x.shape[1]
    words = -(-size // 8)
    factors = np.random.default_rng(0).integers(0, 2**63, words, dtype=np.uint64) * 2 + 1
    result = np.empty(len(x), np.uint64)
    for start in range(0, len(x), HASH_ROWS):
        part = np.ascontiguousarray(x[start : start + HASH_ROWS])
        if x.dtype.kind == "f":
            part = part + x.dtype.type(0)  # -0.0 becomes 0.0
        whole = part.view(np.uint8).reshape(len(part), size)
        if size % 8:
            whole = np.pad(whole, ((0, 0), (0, 8 * words - size)))
        mixed = whole.view(np.uint64)
        result[start : start + HASH_ROWS] = (mixed ^ (mixed >> np.uint64(29))) @ factors
    return result


def equal_rows(x: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return, for each row of ``x``, the index of the first equal row of ``among``, or -1.

    >>> equal_rows(np.array([[1, 2], [3, 4]]), np.array([[0, 0], [3, 4], [3, 4]])).tolist()
    [-1, 1]
    """
    itself = x is among
    if not itself:
        common = np.result_type(x, among)
        x, among = x.astype(common, copy=False), among.astype(common, copy=False)
    own = row_hashes(x)
    hashes, first = np.unique(own if itself else row_hashes(among), return_index=True)
    place = np.minimum(np.searchsorted(hashes, own), len(hashes) - 1)
    found = np.where(hashes[place] == own, first[place], -1)
    rows = np.flatnonzero((found >= 0) & ((found != np.arange(len(x))) | (not itself)))
    same = (x[rows] == among[found[rows]]).all(axis=1)
    found[rows[~same]] = -1  # hash collisions, or rows with NaN
    return found
