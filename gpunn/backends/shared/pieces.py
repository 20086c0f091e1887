"""Pieces of flat arrays, for operations that sum over them or distribute them."""

from __future__ import annotations

import numpy as np


def cut(segments: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Split segments, rows of `ParameterStorage.segments`, into pieces of up to ``size`` elements.

    A piece is (start, stop, first, last); its segment has the pieces first to last (exclusive).
    The indices of the pieces' segments are also returned.
    """
    rows: list[tuple[int, ...]] = []
    owners: list[int] = []
    for number, segment in enumerate(segments):
        start, stop = int(segment["offset"]), int(segment["offset"] + segment["size"])
        ats, first = range(start, stop, size), len(rows)
        rows += [(at, min(at + size, stop), first, first + len(ats)) for at in ats]
        owners += [number] * len(ats)
    return np.array(rows, np.int64).reshape(-1, 4), np.array(owners, np.int64)


def cut_penalized(segments: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pieces of segments with a penalty l1 sum(|w|) + l2 sum(w^2), and their (l1, l2)."""
    has_penalty = (segments["l1"] != 0) | (segments["l2"] != 0)
    segments = segments[segments["trainable"] & has_penalty]
    pieces, owners = cut(segments, size)
    return pieces, np.stack([segments["l1"], segments["l2"]], axis=1)[owners]
