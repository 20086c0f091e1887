"""The checks that compare training and test data: common rows, and their distributions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunn.common.names import counted, either
from gpunn.common.numeric.moments import deviation, mean

from .checked_data import Data, Finding, error, finding, warning
from .statistics import equal_rows, g_test, ks_statistic

PRODUCTS = 1.2e10  # multiplications spent on looking for near copies
CHUNK = 1 << 12  # training rows at a time
NEAR = 0.05  # fraction of the usual distance between nearest training rows


def leakage(data: Data) -> Iterator[Finding]:
    """Rows of the test data that are exact or near copies of training rows."""
    if data.x_test is None:
        return
    first = equal_rows(data.x_test, data.x)
    rows = np.flatnonzero(first >= 0)
    if len(rows):
        yield finding(
            "error" if len(rows) > 0.01 * len(data.x_test) else "warning",
            f"{len(rows):,} of {counted(len(data.x_test), 'test row')} "
            f"({len(rows) / len(data.x_test):.1%}) {either(len(rows), 'is', 'are')} also in the "
            f"training data, such as test row {data.numbers_test[rows[0]]}, which is training row "
            f"{data.numbers[first[rows[0]]]}: "
            f"metrics on {either(len(rows), 'it', 'them')} measure memorization.",
            rows,
        )
    near, looked = _near_copies(data, np.setdiff1d(data.sample_test, rows))
    if len(near):
        yield warning(
            f"{len(near):,} of {counted(looked, 'test row')} examined "
            f"{either(len(near), 'is', 'are')} nearly equal to a training row, such as test row "
            f"{data.numbers_test[near[0]]}: less than {NEAR:.0%} of the usual distance between "
            f"neighbours.",
            near,
        )


def _near_copies(data: Data, candidates: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the candidates that are near copies of training rows, and how many were examined."""
    assert data.x_test is not None
    sample = data.sampled()
    spread = deviation(sample, 0)
    varied = np.flatnonzero(spread > 0)
    if len(data.x) < 20 or not len(candidates) or not len(varied):
        return candidates[:0], 0
    most = int(np.clip(PRODUCTS / data.x.size, 20, 2000))
    candidates = candidates[_spaced(len(candidates), most)]
    own = _spaced(len(data.x), most)
    points = np.concatenate([data.x_test[candidates], data.x[own]])[:, varied] / spread[varied]
    distances = _nearest(points, data.x, varied, spread[varied], own)
    close, usual = distances[: len(candidates)], distances[len(candidates) :]
    usual = usual[np.isfinite(usual)]
    radius = NEAR * float(np.median(usual)) if len(usual) else 0.0
    near = candidates[close < radius]
    # In few dimensions some rows are that close by chance, among the training rows too.
    expected = float(np.mean(usual < radius)) * len(candidates) if len(usual) else 0.0
    return near if len(near) > expected + 4 * np.sqrt(expected + 1) else near[:0], len(candidates)


def _spaced(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def _nearest(
    points: np.ndarray, x: np.ndarray, columns: np.ndarray, scale: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """Return each point's distance to the nearest row of ``x / scale``; infinity if it has NaN.

    The last ``len(own)`` points are rows of x themselves, with the indices ``own``: a row does
    not count as its own neighbour.
    """
    narrow = points.astype(np.float32)
    best = np.full(len(points), np.inf, np.float32)
    nearest = np.zeros(len(points), int)
    first = len(points) - len(own)
    for start in range(0, len(x), CHUNK):
        part = (x[start : start + CHUNK][:, columns] / scale).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            distances = (part**2).sum(axis=1) - 2 * narrow @ part.T
        distances[np.isnan(distances)] = np.inf
        here = np.flatnonzero((own >= start) & (own < start + CHUNK))
        distances[first + here, own[here] - start] = np.inf
        found = distances.argmin(axis=1)
        least = distances[np.arange(len(points)), found]
        nearest = np.where(least < best, start + found, nearest)
        best = np.minimum(best, least)
    # Exact differences: the products above lose the small differences of near copies.
    result = np.linalg.norm(points - x[nearest][:, columns] / scale, axis=1)
    return np.where(np.isfinite(result), result, np.inf)


def shift(data: Data) -> Iterator[Finding]:
    """Features and labels that are distributed differently in the test data."""
    if data.x_test is None or len(data.x_test) < 20 or len(data.x) < 20:
        return
    train, test = data.sampled(), data.sampled(test=True)
    found = np.array([ks_statistic(a, b) for a, b in zip(train.T, test.T, strict=True)])
    distance, chance = found[:, 0], found[:, 1] * data.columns  # Bonferroni
    apart = np.flatnonzero((chance < 0.001) & (distance >= 0.1))
    if len(apart):
        worst = apart[distance[apart].argmax()]
        yield finding(
            "warning" if distance[worst] >= 0.2 else "note",
            f"{len(apart):,} of {counted(data.columns, 'feature')} "
            f"{either(len(apart), 'is', 'are')} distributed differently in the test data, most "
            f"of all {data.names[worst]}: Kolmogorov-Smirnov distance "
            f"{distance[worst]:.2f}, means {mean(train[:, worst]):.4g} and "
            f"{mean(test[:, worst]):.4g}. Test metrics say little about data like the "
            f"training data.",
            columns=apart,
        )
    if data.labels is None:
        if data.y is None or data.y_test is None:
            return
        far, p = ks_statistic(data.y, data.y_test)
        if p < 0.001 and far >= 0.1:
            yield finding(
                "warning" if far >= 0.2 else "note",
                f"y is distributed differently in the test data: Kolmogorov-Smirnov distance "
                f"{far:.2f}, means {mean(data.y):.4g} and {mean(data.y_test):.4g}.",
            )
        return
    if data.y_test is None or data.y is None:
        return
    counts = np.array([np.bincount(y, minlength=data.classes) for y in (data.y, data.y_test)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    unknown = data.labels[(counts[0] == 0) & (counts[1] > 0)]
    if len(unknown):
        yield error(
            f"The test data have labels that the training data lack: {unknown.tolist()}.",
            np.flatnonzero(np.isin(data.labels[data.y_test], unknown)),
        )
    most = int(np.abs(shares[0] - shares[1]).argmax())
    difference = abs(shares[0, most] - shares[1, most])
    if difference >= 0.05 and g_test(counts)[1] < 0.001:
        yield finding(
            "warning" if difference >= 0.1 else "note",
            f"Class {data.labels[most]} is {shares[0, most]:.1%} of the training and "
            f"{shares[1, most]:.1%} of the test data.",
        )
