"""Scores of predictions, each with its standard error: how models are reported and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gpunn.apps.decisions import Costs, Decision
from gpunn.apps.learning import figures

LEAST = 1e-7  # probability in a log loss
MOST_RECALLS = 10  # classes whose recall is printed


@dataclass(frozen=True)
class Score:
    """A score of rows held out, with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{_decimals(self.value)} ± {_decimals(self.error)}"


Found = tuple[float, np.ndarray]
"""A score, and by how much each row changes it: the values of its influence function, whose mean is
0 and whose deviation, divided by the root of the number of rows, is the score's standard error."""


@dataclass(frozen=True)
class Metric:
    """A score of predictions by targets.

    Attributes:
        name: as it is printed.
        of: returns `Found` from predictions, targets and the decision.
        rows: losses of the rows, of whose mean the score is a function: models are compared by
            them, row by row; None: by ``of``.
        is_loss: whether less is better.
        is_scaled: whether it is in the target's unit.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray, Decision], Found]
    rows: Callable[[np.ndarray, np.ndarray, Decision], np.ndarray] | None = None
    is_loss: bool = False
    is_scaled: bool = False

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return self.name.lower().replace(" ", "_")

    def score(self, predicted: np.ndarray, y: np.ndarray, decision: Decision) -> Score:
        """Return the score of probabilities (rows, classes) or numbers (rows,), and its error."""
        value, influence = self.of(predicted, y, decision)
        if self is ACCURACY:  # so that few right answers leave a doubt (Agresti and Coull 1998)
            near = (value * len(y) + 1) / (len(y) + 2)
            return Score(value, (near * (1 - near) / (len(y) + 2)) ** 0.5)
        return Score(value, float(influence.std() / len(y) ** 0.5))

    def better(
        self, mine: np.ndarray, other: np.ndarray, y: np.ndarray, decision: Decision
    ) -> float:
        """Return by how many standard errors the first predictions are better."""
        if self.rows is not None:
            return in_errors(self.rows(other, y, decision) - self.rows(mine, y, decision))
        (value, rows), (second, others) = (self.of(p, y, decision) for p in (mine, other))
        return in_errors((rows - others) + (value - second))


def in_errors(better: np.ndarray) -> float:
    """Return the mean of values in its standard errors."""
    error = better.std(ddof=1) / len(better) ** 0.5 if len(better) > 1 else 0.0
    if not error:
        return float(np.sign(better.mean())) * np.inf if better.mean() else 0.0
    return float(better.mean() / error)


def _mean(losses: np.ndarray) -> Found:
    return float(losses.mean()), losses - losses.mean()


def _ratio(above: np.ndarray, below: np.ndarray) -> Found:
    """Return a ratio of means, 0 where both are 0; see the delta method."""
    if not below.any():
        return 0.0, np.zeros(len(below))
    value = float(above.mean() / below.mean())
    return value, (above - value * below) / below.mean()


def _average(found: Sequence[Found], rows: int) -> Found:
    if not found:
        return float("nan"), np.zeros(rows)
    return float(np.mean([v for v, _ in found])), np.mean([rows for _, rows in found], axis=0)


def _wrong(p: np.ndarray, y: np.ndarray, decision: Decision) -> np.ndarray:
    return (decision.named(p) != y).astype(np.float64)


def _accuracy(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    return _mean(1 - _wrong(p, y, decision))


def _logs(p: np.ndarray, y: np.ndarray, decision: Decision) -> np.ndarray:
    return -np.log(np.maximum(p[np.arange(len(y)), y].astype(np.float64), LEAST))


def _log_loss(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    return _mean(_logs(p, y, decision))


def recall(p: np.ndarray, y: np.ndarray, decision: Decision, label: int) -> Found:
    """The share of a class's rows that are found."""
    own = (y == label).astype(np.float64)
    return _ratio(own * (decision.named(p) == label), own)


def precision(p: np.ndarray, y: np.ndarray, decision: Decision, label: int) -> Found:
    """The share of the rows named as a class that are of it; 0 if none is."""
    named = (decision.named(p) == label).astype(np.float64)
    return _ratio(named * (y == label), named)


def _balanced(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    return _average([recall(p, y, decision, label) for label in np.unique(y).tolist()], len(y))


def _f1_of(p: np.ndarray, y: np.ndarray, decision: Decision, label: int) -> Found:
    own, named = (part.astype(np.float64) for part in (y == label, decision.named(p) == label))
    return _ratio(2 * own * named, own + named)


def _f1(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    """F1 of the positive class, or the mean of all classes that occur."""
    if decision.positive is not None:
        return _f1_of(p, y, decision, decision.positive)
    present = np.union1d(y, decision.named(p))
    return _average([_f1_of(p, y, decision, label) for label in present.tolist()], len(y))


def _auc_of(scores: np.ndarray, own: np.ndarray) -> Found:
    """The share of the pairs of an own row and another in which the own one scores higher (DeLong
    et al. 1988, "Comparing the areas under two or more correlated ROC curves")."""
    own_scores, others = np.sort(scores[own]), np.sort(scores[~own])

    def below(values: np.ndarray, among: np.ndarray) -> np.ndarray:
        sides = [np.searchsorted(among, values, side) for side in ("left", "right")]
        return np.asarray((sides[0] + sides[1]) / (2 * len(among)))

    places = np.empty(len(scores))
    places[own] = below(scores[own], others)
    places[~own] = 1 - below(scores[~own], own_scores)
    value = float(places[own].mean())
    share = np.where(own, own.mean(), 1 - own.mean())
    return value, (places - value) / share


def _auc(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    """The area under the ROC curve; of several classes the mean, each against the others."""
    labels = range(p.shape[1]) if decision.positive is None else [decision.positive]
    parts = [(p[:, label], y == label) for label in labels]
    found = [_auc_of(scores, own) for scores, own in parts if own.any() and not own.all()]
    return _average(found, len(y))


def _away(p: np.ndarray, y: np.ndarray, decision: Decision) -> np.ndarray:
    return np.abs(p.reshape(-1).astype(np.float64) - y)


def _squares(p: np.ndarray, y: np.ndarray, decision: Decision) -> np.ndarray:
    return _away(p, y, decision) ** 2


def _mae(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    return _mean(_away(p, y, decision))


def _rmse(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    value, rows = _mean(_squares(p, y, decision))
    return value**0.5, rows / (2 * value**0.5 or 1.0)


def _r2(p: np.ndarray, y: np.ndarray, decision: Decision) -> Found:
    away = (y - y.mean()) ** 2
    if not away.any():
        return float("nan"), np.full(len(y), np.nan)
    share, rows = _ratio(_squares(p, y, decision), away)
    return 1 - share, -rows


ACCURACY = Metric("accuracy", _accuracy, _wrong)
LOG_LOSS = Metric("log loss", _log_loss, _logs, is_loss=True)
R2 = Metric("R2", _r2, _squares)
OF_CLASSES = (
    ACCURACY, Metric("AUC", _auc), Metric("F1", _f1), LOG_LOSS,
    Metric("balanced accuracy", _balanced),
)
OF_NUMBERS = (
    R2, Metric("MAE", _mae, _away, is_loss=True, is_scaled=True),
    Metric("RMSE", _rmse, _squares, is_loss=True, is_scaled=True),
)
COST = "cost"  # the name of the metric that is the mean cost of mistakes
OPTIONS = [metric.option for metric in (*OF_CLASSES, *OF_NUMBERS)]


def metric_of(
    option: str | None, classes: int, costs: Costs | None = None, called: str = "metric"
) -> Metric:
    """Return the metric that models are compared by: the one that the user chose, the cost of
    mistakes, or accuracy or R2.

    Raises:
        ValueError: if the metric, which the user chose by the option ``called`` so, is unknown or
            for another task.
    """
    known = OF_CLASSES if classes else OF_NUMBERS
    if option is not None:
        found = [metric for metric in known if metric.option == option]
        if not found:
            names = ", ".join(metric.option for metric in known)
            raise ValueError(
                f"{called} {option} is not for a target of {'classes' if classes else 'numbers'}; "
                f"pass one of {names}."
            )
        return found[0]
    if costs is None:
        return known[0]

    def rows(p: np.ndarray, y: np.ndarray, decision: Decision) -> np.ndarray:
        assert decision.positive is not None
        return costs.of(decision.named(p), y, decision.positive)

    return Metric(COST, lambda *given: _mean(rows(*given)), rows, is_loss=True)


def all_figures(
    predicted: np.ndarray, y: np.ndarray, classes: int, decision: Decision,
    first: Metric | None = None,
) -> dict[str, float]:
    """Return the metrics of predictions that are shown, the one models are compared by first.

    For two classes they include AUC, and the precision and the recall of the positive class.

    >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> found = all_figures(p, np.array([0, 1, 1, 0]), 2, Decision(1))
    >>> found.pop("log loss") < 1, found
    (True, {'accuracy': 0.75, 'AUC': 1.0, 'precision': 1.0, 'recall': 0.5})
    """
    found = figures(predicted, y, classes)
    if classes:
        found["accuracy"] = ACCURACY.of(predicted, y, decision)[0]
    if decision.positive is not None:
        found["AUC"] = _auc(predicted, y, decision)[0]
        found["precision"] = precision(predicted, y, decision, decision.positive)[0]
        found["recall"] = recall(predicted, y, decision, decision.positive)[0]
    elif classes:
        found["balanced accuracy"] = _balanced(predicted, y, decision)[0]
    if first is None:
        return found
    found.setdefault(first.name, first.of(predicted, y, decision)[0])
    return {first.name: found[first.name], **found}


def _decimals(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
