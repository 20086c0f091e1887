"""What the held-out rows say of an answer, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunn.common.names import counted, either, first_few

from .reading.kinds import Column

HANDFUL = 30  # held-out rows, below which nothing can be told
RARE = 10  # rows of a class
MANY = 50_000  # rows that are looked at to find one
LEAK = 0.995  # of the target told by one column alone


@dataclass(frozen=True)
class Score:
    """Accuracy or R2 on held-out rows, with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{_decimals(self.value)} ± {_decimals(self.error)}"


def score(predicted: np.ndarray, y: np.ndarray, classes: int) -> Score:
    """Return the accuracy of probabilities, or the R2 of numbers.

    The standard error of the accuracy is that of (right + 1) / (rows + 2) (Agresti and Coull 1998).
    The standard error of R2 is that of a ratio of means, by the delta method.

    >>> print(score(np.array([[0.9, 0.1]] * 10), np.array([0] * 8 + [1] * 2), 2))
    .800 ± .125
    """
    if classes:
        right = float((predicted.argmax(axis=1) == y).mean())
        near = (right * len(y) + 1) / (len(y) + 2)  # so that few right answers leave a doubt
        return Score(right, (near * (1 - near) / (len(y) + 2)) ** 0.5)
    squares, away = (predicted.reshape(-1) - y) ** 2, (y - y.mean()) ** 2
    if not away.any():
        return Score(float("nan"), float("nan"))
    share = float(squares.mean() / away.mean())
    error = float((squares - share * away).std() / away.mean() / len(y) ** 0.5)
    return Score(1 - share, error)


def compared(mine: np.ndarray, other: np.ndarray, y: np.ndarray, classes: int) -> float:
    """Return by how many standard errors the first predictions are better, row by row."""
    errors = [_errors(predicted, y, classes) for predicted in (mine, other)]
    return _in_errors(errors[1] - errors[0])


def _errors(predicted: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    if classes:
        return (predicted.argmax(axis=1) != y).astype(float)
    return (predicted.reshape(-1) - y) ** 2


def _in_errors(better: np.ndarray) -> float:
    error = better.std(ddof=1) / len(better) ** 0.5 if len(better) > 1 else 0.0
    if not error:
        return float(np.sign(better.mean())) * np.inf if better.mean() else 0.0
    return float(better.mean() / error)


def _says_something(
    answer: np.ndarray, constant: np.ndarray, y: np.ndarray, classes: int, own: Score
) -> bool:
    """Whether an answer is better than a constant: in its errors, or in its probabilities; for
    numbers also if R2 is above 0, since a few large targets make errors uncertain."""
    if compared(answer, constant, y, classes) >= 2:
        return True
    if not classes:
        return own.value > 2 * own.error
    logs = [np.log(np.maximum(p[np.arange(len(y)), y], 1e-7)) for p in (answer, constant)]
    return _in_errors(logs[0] - logs[1]) >= 2


NOUNS = {"network": "this network", "average": "this average", "linear model": "this linear model"}


def verdict(predicted: Sequence[np.ndarray], y: np.ndarray, classes: int, kind: str) -> str:
    """Say which model to take, by what a constant, the linear model and the answer, which is of a
    kind in `NOUNS`, predict of the held-out targets."""
    constant, linear, answer = predicted
    own, other = score(answer, y, classes), score(linear, y, classes)
    what, name = NOUNS[kind], "accuracy" if classes else "R2"
    on = f"{name} {own} on {counted(len(y), 'row')} held out"
    if not _says_something(answer, constant, y, classes, own):
        than = f"{name} {score(constant, y, classes)}" if classes else "R2 0"
        because = (
            "so few rows cannot tell more"
            if len(y) < HANDFUL
            else ("the columns may say nothing of the target")
        )
        return f"Take none yet: {on}, no better than a constant ({than}): {because}."
    if kind == "linear model":
        return f"Take {what}: {on}; no network was better in cross-validation."
    better = compared(answer, linear, y, classes)
    if better <= -2:
        return f"Take the linear model: {name} {other}; {what} {own}, on {len(y):,} rows held out."
    told = "clearly better" if better >= 2 else "equal within what so few rows can tell"
    if better < 2 and len(y) >= 10_000:
        told = "equal"
    return f"Take {what}: {on}; linear {other}: {told}."


def warnings(
    columns: Sequence[Column],
    learn: np.ndarray,
    test: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    own: Score,
) -> list[str]:
    """Return what speaks against trusting an answer: leaks, few rows, an R2 below 0.

    ``learn`` and ``test`` are indices of the rows of ``y``, ``names`` those of the classes, and
    ``own`` is the answer's score on the rows held out.
    """
    found = []
    told = [c.name for c in columns if tells(c, learn, test, y, len(names)) >= LEAK]
    if told and len(columns) > 1:
        found.append(
            f"{first_few(map(repr, told), 5)} {either(len(told), 'tells', 'each tell')} the target "
            f"by {either(len(told), 'itself', 'themselves')}. If that is not known when you "
            f"predict, leave it out: --leave-out {' '.join(told[:5])}"
        )
    if len(test) < HANDFUL:
        found.append(f"{counted(len(test), 'row')} held out: a score of so few says little")
    counts = np.bincount(y, minlength=len(names)) if names else np.zeros(0)
    rare = [f"{name!r} ({counts[i]})" for i, name in enumerate(names) if counts[i] < RARE]
    if rare:
        found.append(
            f"classes with fewer than {RARE} rows are hardly learned: {first_few(rare, 5)}"
        )
    if not names and own.value < 0:
        found.append("R2 is below 0: the mean of the target would be a better prediction")
    return found


def tells(
    column: Column, learn: np.ndarray, test: np.ndarray, y: np.ndarray, classes: int
) -> float:
    """Return how well one column alone predicts held-out targets: R2, or what it adds to the
    accuracy of the most frequent class, as a share of what is missing there.

    Numbers and dates are interpolated between the rows learned from; rows beyond these are not
    judged. Of many rows, some are looked at.
    """
    learn, test = (rows[:: -(-len(rows) // MANY)] for rows in (learn, test))
    told = np.eye(classes)[y] if classes else y[:, None].astype(np.float64)  # (rows, classes or 1)
    found = np.tile(told[learn].mean(axis=0), (len(test), 1))
    if column.kind in ("number", "date"):
        known, at = (rows[np.isfinite(column.values[rows])] for rows in (learn, test))
        x, means = _means(column.values[known], told[known])
        if len(x) > 1:
            here = np.isfinite(column.values[test])
            for k in range(told.shape[1]):
                found[here, k] = np.interp(column.values[at], x, means[:, k])
            values = column.values[test]
            inside = ~here | ((x[0] <= values) & (values <= x[-1]))
            found, test = found[inside], test[inside]
    else:
        known, asked = (column.cells[rows].astype(str) for rows in (learn, test))
        x, means = _means(known, told[learn])
        place = np.minimum(np.searchsorted(x, asked), len(x) - 1)
        here = x[place] == asked
        found[here] = means[place[here]]
    if classes:
        if not len(test):
            return 0.0
        right = float((found.argmax(axis=1) == y[test]).mean())
        usual = float((y[test] == np.bincount(y[learn]).argmax()).mean())
        return (right - usual) / (1 - usual) if usual < 1 else 0.0
    spread = float(((y[test] - y[test].mean()) ** 2).sum()) if len(test) else 0.0
    return 1 - float(((found[:, 0] - y[test]) ** 2).sum()) / spread if spread else 0.0


def _means(values: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values in order, and the mean of each one's rows of ``told``."""
    x, of = np.unique(values, return_inverse=True)
    sums = np.zeros((len(x), told.shape[1]))
    np.add.at(sums, of.reshape(-1), told)
    return x, sums / np.maximum(np.bincount(of.reshape(-1), minlength=len(x)), 1)[:, None]


def _decimals(value: float) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
