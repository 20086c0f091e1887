"""Split rows into training, validation and test sets."""

from __future__ import annotations

import numpy as np

from gpunn.common.names import counted, either

SHARES = {"train": 0.65, "validation": 0.15, "test": 0.20}
FEWEST = 10  # minimum number of rows to split


def check_rows(rows: int) -> None:
    """Raise a ValueError if there are too few rows to split."""
    if rows < FEWEST:
        raise ValueError(
            f"There {either(rows, 'is', 'are')} {counted(rows, 'row')} to learn from; at least "
            f"{FEWEST} are needed to train on some and test on others."
        )


def split(
    y: np.ndarray, classes: int = 0, by_order: bool = False, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return row indices by part: 65% for training, 15% for validation, 20% for testing.

    Args:
        y: targets; class indices for classification.
        classes: number of classes, each split in these shares; 0 for regression.
        by_order: whether the last rows are for testing and those before them for validation, as
            for time series. Otherwise rows are drawn at random.
        seed: seed of the draw.

    Raises:
        ValueError: if there are fewer than 10 rows.

    >>> parts = split(np.arange(100) % 2, 2)
    >>> {name: (len(rows), int((rows % 2).sum())) for name, rows in parts.items()}
    {'train': (64, 32), 'validation': (16, 8), 'test': (20, 10)}
    >>> split(np.arange(20.0), by_order=True)["test"].tolist()
    [16, 17, 18, 19]
    """
    check_rows(len(y))
    if by_order:
        return dict(zip(SHARES, _parted(np.arange(len(y))), strict=True))
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == c) for c in range(classes)] if classes else [np.arange(len(y))]
    parted = [_parted(random.permutation(group)) for group in groups]
    return {
        name: random.permutation(np.concatenate(parts))
        for name, parts in zip(SHARES, zip(*parted, strict=True), strict=True)
    }


def _parted(rows: np.ndarray) -> list[np.ndarray]:
    """Split a group's rows in order; the smallest groups go to training first, then testing."""
    test = round(SHARES["test"] * len(rows)) if len(rows) > 2 else len(rows) // 2
    validation = round(SHARES["validation"] * len(rows)) if len(rows) > 3 else 0
    validation = max(validation, int(len(rows) > 3))
    train = len(rows) - test - validation
    return [rows[:train], rows[train : train + validation], rows[train + validation :]]
