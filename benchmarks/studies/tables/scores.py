"""The metrics, and what they show: ranks, paired tests and their correction. Fixed in advance.

The primary metric of a classification is the log loss, of a regression the root of the mean squared
error, on the target's own scale. Accuracy, and the mean absolute error and R2, are reported beside
them. Probabilities below `SMALLEST` count as that.

Tests use the loss of each test row: its log loss or squared error. A row may be in the test of
several splits, so rows are the units, not rows of splits. The rows of a table are counted off into
`BLOCKS` blocks, in turn; a result keeps the sums of the blocks, which suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

PRIMARY = {"classification": "log_loss", "regression": "rmse"}
SMALLEST = 1e-7  # float32 probabilities next to 0 and 1 are this far from them
BLOCKS = 100
LEVEL = 0.05


def of_classes(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[Any]
) -> tuple[dict[str, float], np.ndarray]:
    """Return log loss and accuracy, and the loss of each row.

    >>> shares = np.array([[0.5, 0.5], [1, 0]])
    >>> scores, losses = of_classes(np.array(["b", "a"]), shares, ["a", "b"])
    >>> scores["accuracy"], losses.round(4).tolist()
    (0.5, [0.6931, 0.0])
    """
    places = {str(label): place for place, label in enumerate(classes)}
    true = np.array([places[str(target)] for target in targets])
    shares = np.asarray(probabilities, np.float64)
    shares = np.clip(shares, SMALLEST, None)
    shares = shares / shares.sum(axis=1, keepdims=True)
    losses = -np.log(shares[np.arange(len(true)), true])
    accuracy = float(np.mean(np.asarray(probabilities).argmax(axis=1) == true))
    return {"log_loss": float(losses.mean()), "accuracy": accuracy}, losses


def of_numbers(targets: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Return the scores of a regression, and the squared error of each row.

    >>> scores, losses = of_numbers(np.array([1.0, 3.0]), np.array([1.0, 5.0]))
    >>> round(scores["rmse"], 3), scores["mae"], scores["r2"], losses.tolist()
    (1.414, 1.0, -1.0, [0.0, 4.0])
    """
    errors = np.asarray(predicted, np.float64).reshape(len(targets)) - targets
    losses = errors**2
    spread = float(np.mean((targets - targets.mean()) ** 2))
    scores = {
        "rmse": math.sqrt(losses.mean()), "mae": float(np.abs(errors).mean()),
        "r2": 1 - float(losses.mean()) / spread,
    }  # fmt: skip
    return scores, losses


def in_blocks(rows: np.ndarray, losses: np.ndarray) -> dict[str, list[Any]]:
    """Return the sum of the losses of each block of rows, and the number of rows there.

    >>> found = in_blocks(np.array([0, 1, 100]), np.array([1.0, 2.0, 3.0]))
    >>> found["sums"][:3], found["counts"][:3]
    ([4.0, 2.0, 0.0], [2, 1, 0])
    """
    blocks = rows % BLOCKS
    sums = np.bincount(blocks, losses, BLOCKS)
    counts = np.bincount(blocks, minlength=BLOCKS)
    return {"sums": [float(f"{value:.7g}") for value in sums], "counts": counts.tolist()}


class Estimate(NamedTuple):
    """A mean over rows, its interval, and the probability of one as far from 0 by chance."""

    mean: float
    low: float
    high: float
    p: float


def mean_of_rows(sums: np.ndarray, counts: np.ndarray, level: float = LEVEL) -> Estimate:
    """Return the mean of rows that are grouped in blocks, with its interval.

    Rows of one block may depend on each other, as one row in two splits does; blocks do not.

    Args:
        sums, counts: per block, summed over splits; of differences in a paired test.
        level: the interval holds the mean with a probability of ``1 - level``.
    """
    from scipy import stats

    used = counts > 0
    sums, counts = sums[used], counts[used]
    mean = float(sums.sum() / counts.sum())
    number = len(sums)
    rest = sums - mean * counts
    error = math.sqrt(number / (number - 1) * float(rest @ rest)) / float(counts.sum())
    if error == 0:
        return Estimate(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    reach = float(stats.t.ppf(1 - level / 2, number - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, number - 1))
    return Estimate(mean, mean - reach, mean + reach, p)


def holm(values: Sequence[float]) -> list[float]:
    """Return probabilities corrected for their number, by Holm's method.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def verdict(difference: float, corrected: float, level: float = LEVEL) -> str:
    """Return whether a loss is ``better``, ``worse`` or, as far as is known, ``equal``.

    >>> verdict(-0.1, 0.01), verdict(0.1, 0.01), verdict(-0.1, 0.2)
    ('better', 'worse', 'equal')
    """
    if corrected >= level:
        return "equal"
    return "better" if difference < 0 else "worse"


def ranks(losses: dict[str, float]) -> dict[str, float]:
    """Return the rank of each contestant, 1 for the smallest loss; equal ones share theirs.

    >>> ranks({"a": 0.3, "b": 0.1, "c": 0.3})
    {'a': 2.5, 'b': 1.0, 'c': 2.5}
    """
    values = list(losses.values())
    return {
        name: sum(other < value for other in values) + (values.count(value) + 1) / 2
        for name, value in losses.items()
    }
