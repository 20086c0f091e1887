"""What the held-out rows say of an answer, in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunn.apps.decisions import Costs, Decision
from gpunn.common.names import counted, either, first_few

from .reading.kinds import Column
from .scoring import (
    COST,
    LOG_LOSS,
    MOST_RECALLS,
    OF_CLASSES,
    R2,
    Metric,
    Score,
    metric_of,
    precision,
    recall,
)

HANDFUL = 30  # held-out rows, below which nothing can be told
RARE = 10  # rows of a class
MANY = 50_000  # rows that are looked at to find one
LEAK = 0.995  # of the target told by one column alone
VISIBLE = 0.01  # relative change of a score that is seen
FOUND = 0.5  # share of a rare class; a smaller one is a warning
UNEVEN = 0.6  # of an even share: a class with fewer rows is rare
MORE = 0.1  # by which a higher cost must raise that share to be worth a word
COSTS_TRIED = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0)


def score(
    predicted: np.ndarray, y: np.ndarray, classes: int, decision: Decision | None = None
) -> Score:
    """Return the accuracy of probabilities, or the R2 of numbers, with its standard error.

    The standard error of the accuracy is computed for (right + 1) / (rows + 2) (Agresti and Coull
    1998). The standard error of R2 is computed as for a ratio of means, by the delta method.

    >>> print(score(np.array([[0.9, 0.1]] * 10), np.array([0] * 8 + [1] * 2), 2))
    .800 ± .125
    """
    return metric_of(None, classes).score(predicted, y, decision or Decision())


def _says_something(
    answer: np.ndarray, constant: np.ndarray, y: np.ndarray, metric: Metric, decision: Decision
) -> bool:
    """Whether an answer is better than a constant: in the metric, or in its probabilities unless
    its mistakes cost as much; for numbers also if R2 is above 0, since a few large targets make
    errors uncertain."""
    better = metric.better(answer, constant, y, decision)
    if better >= 2:
        return True
    if metric.name == COST and better <= 0:
        return False
    if answer.ndim > 1 and answer.shape[1] > 1:
        return LOG_LOSS.better(answer, constant, y, decision) >= 2
    own = R2.score(answer, y, decision)
    return own.value > 2 * own.error


NOUNS = {"network": "this network", "average": "this average", "linear model": "this linear model"}


@dataclass(frozen=True)
class Far:
    """Targets held out that are far from all others, such as typing errors.

    Attributes:
        rows: whether each row held out has such a target.
        numbers: the numbers of these rows in the table, from 1.
    """

    rows: np.ndarray
    numbers: Sequence[int]

    def matter(self, answer: np.ndarray, y: np.ndarray, metric: Metric) -> bool:
        """Whether the score of an answer is visibly another one without them."""
        if not self.rows.any() or self.rows.all():
            return False
        near = ~self.rows
        as_they_are, _ = metric.of(answer, y, Decision())
        without, _ = metric.of(answer[near], y[near], Decision())
        return bool(abs(as_they_are - without) > VISIBLE * max(abs(without), 1e-9))

    def __str__(self) -> str:
        count = len(self.numbers)
        rows = first_few([f"{number:,}" for number in self.numbers], 5)
        return f"the {counted(count, 'far target')} ({either(count, 'row', 'rows')} {rows})"


def verdict(
    predicted: Sequence[np.ndarray],
    y: np.ndarray,
    classes: int,
    kind: str,
    metric: Metric | None = None,
    decision: Decision | None = None,
    far: Far | None = None,
) -> str:
    """Say which model to take, by what a constant, the linear model and the answer, which is of a
    kind in `NOUNS`, predict of the held-out targets.

    Args:
        metric: what models are compared by; accuracy or R2 by default.
        decision: how classes follow from probabilities.
        far: targets far from all others. If the score is visibly another one without them, both
            are said, and models are compared by the other rows.
    """
    metric, decision = metric or metric_of(None, classes), decision or Decision()
    constant, linear, answer = predicted
    rows, name, what = len(y), metric.name, NOUNS[kind]
    own, without = metric.score(answer, y, decision), ""
    on = f"{name} {own} on {counted(rows, 'row')} held out"
    if far is not None and far.matter(answer, y, metric):
        near = ~far.rows
        constant, linear, answer, y = (part[near] for part in (constant, linear, answer, y))
        mine = metric.score(answer, y, decision)
        on = (
            f"{name} {own} on the {counted(rows, 'row')} held out as they are; {mine} without {far}"
        )
        own, without = mine, " without it" if len(far.numbers) == 1 else " without them"
    other = metric.score(linear, y, decision)
    if not _says_something(answer, constant, y, metric, decision):
        than = "R2 0" if metric is R2 else f"{name} {metric.score(constant, y, decision)}"
        because = (
            "so few rows cannot tell more"
            if len(y) < HANDFUL
            else "its mistakes cost more than it saves"
            if metric.name == COST
            else "the columns may say nothing of the target"
        )
        return f"Take none yet: {on}, no better than a constant ({than}): {because}."
    if kind == "linear model":
        return f"Take {what}: {on}; no network was better in cross-validation."
    better = metric.better(answer, linear, y, decision)
    if better <= -2:
        return (
            f"Take the linear model: {name} {other}{without}; {what} {own}, on {len(y):,} rows "
            f"held out."
        )
    told = "clearly better" if better >= 2 else "equal within what so few rows can tell"
    if better < 2 and len(y) >= 10_000:
        told = "equal"
    return f"Take {what}: {on}; linear {other}{without}: {told}."


def about_classes(
    answer: np.ndarray, y: np.ndarray, names: Sequence[str], decision: Decision
) -> str:
    """Say what accuracy hides: AUC, precision and recall of the positive class of two, or the
    recall of each class."""
    if decision.positive is None:
        present = np.unique(y).tolist()
        shares = [recall(answer, y, decision, label)[0] for label in present]
        mean = f"The mean recall of the classes is {_percent(float(np.mean(shares)))}"
        worst = sorted(zip(shares, present, strict=True))
        each = first_few([f"{names[i]!r} {_percent(share)}" for share, i in worst], MOST_RECALLS)
        return f"{mean}: {each}."
    positive, name = decision.positive, repr(names[decision.positive])
    auc = next(m for m in OF_CLASSES if m.name == "AUC").score(answer, y, decision)
    found = recall(answer, y, decision, positive)[0]
    right = precision(answer, y, decision, positive)[0]
    count, named = int((y == positive).sum()), int((decision.named(answer) == positive).sum())
    if not count:
        return f"No row held out is {name}."
    precise = ""
    if named:
        are = f"{counted(named, 'row')} named so {either(named, 'is', 'are')}"
        precise = f"; {_percent(right)} of the {are} (precision)"
    return (
        f"AUC {auc}. It finds {_percent(found)} of the {counted(count, 'row')} that "
        f"{either(count, 'is', 'are')} {name} "
        f"(recall){precise}."
    )


def rarely_found(
    answer: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    decision: Decision,
    known: np.ndarray,
    truth: np.ndarray,
) -> list[str]:
    """Return warnings about rare classes of which an answer finds few rows, with what helps.

    ``known`` are predictions of rows that were not trained on, and ``truth`` their classes.
    """
    labels = np.unique(y).tolist() if decision.positive is None else [decision.positive]
    found = []
    for label in labels:
        share, count = recall(answer, y, decision, label)[0], int((y == label).sum())
        is_rare = count * len(names) <= UNEVEN * len(y)
        if not is_rare or count < RARE or share >= FOUND:
            continue
        text = f"it finds {_percent(share)} of {names[label]!r}"
        if decision.positive is None:
            found.append(f"{text} ({count:,} of {counted(len(y), 'row')} held out)")
            continue
        for cost in COSTS_TRIED:
            tried = Costs(cost).decision(known, truth, label)
            better = recall(known, truth, tried, label)[0]
            if tried.threshold < decision.threshold and better > share + MORE:
                right = precision(known, truth, tried, label)[0]
                text += (
                    f": --cost-false-negative {cost:g} finds more of them (in cross-validation "
                    f"{_percent(better)}, and {_percent(right)} of those named so are)"
                )
                break
        found.append(text)
    return found


def _percent(share: float) -> str:
    return f"{share:.0%}"


def warnings(
    columns: Sequence[Column],
    learn: np.ndarray,
    test: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    own: Score,
) -> list[str]:
    """Return what speaks against trusting an answer: leaks, few rows, an R2 below 0.

    ``learn`` and ``test`` are indices of the rows of ``y``, ``names`` name the classes, and
    ``own`` is the answer's score on the rows held out, without those that are far from all others.
    """
    found = []
    told = [c.name for c in columns if tells(c, learn, test, y, len(names)) >= LEAK]
    if told and len(columns) > 1:
        found.append(
            f"{first_few(map(repr, told), 5)} {either(len(told), 'tells', 'each tell')} the target "
            f"by {either(len(told), 'itself', 'themselves')}. If that is not known when you "
            f"predict, leave it out: {shlex.join(['--leave-out', *told[:5]])}"
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
