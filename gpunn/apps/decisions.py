"""How a class follows from probabilities: the most probable one, or one of two by a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.common.stored import ByName, Number, Text


@dataclass(frozen=True)
class Decision:
    """The rule by which a class is named.

    Attributes:
        positive: index of the class, of two, that is named where its probability is at least the
            threshold; None for several classes, of which the most probable one is named.
    """

    positive: int | None = None
    threshold: float = 0.5

    @classmethod
    def usual(cls, y: np.ndarray, classes: int) -> Decision:
        """Name the most probable class; of two, the rarer one in the class indices y is the
        positive one."""
        if classes != 2:
            return cls()
        counts = np.bincount(y, minlength=2)
        return cls(int(counts[1] <= counts[0]))

    @property
    def is_usual(self) -> bool:
        """Whether the most probable class is named."""
        return self.positive is None or self.threshold == 0.5

    def weighed(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes) scaled so that the named class has the largest: the
        threshold becomes 1/2.

        >>> Decision(1, 0.2).weighed(np.array([[0.8, 0.2], [0.9, 0.1]])).round(2).tolist()
        [[0.5, 0.5], [0.69, 0.31]]
        """
        if self.is_usual or self.positive is None:
            return probabilities
        factors = np.full(2, self.threshold)
        factors[self.positive] = 1 - self.threshold
        found: np.ndarray = probabilities.astype(np.float64) * factors
        return found / found.sum(axis=1, keepdims=True)

    def named(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the index of the class that is named for each row."""
        if self.is_usual or self.positive is None:
            return np.asarray(probabilities.argmax(axis=1))
        is_positive = probabilities[:, self.positive] >= self.threshold
        return np.where(is_positive, self.positive, 1 - self.positive)

    def document(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the entries for ``model.trained_on``; none for several classes."""
        if self.positive is None:
            return {}
        return {"decision": {"class": classes[self.positive], "threshold": self.threshold}}

    @classmethod
    def of(cls, about: dict[str, Any]) -> Decision:
        """Return the rule of a model that is described by ``model.trained_on``.

        Raises:
            ValueError: if the entry is invalid.

        >>> Decision.of({"classes": ["no", "yes"], "decision": {"class": "no", "threshold": 0.3}})
        Decision(positive=0, threshold=0.3)
        """
        if "decision" not in about:
            return cls()
        place = "trained_on/decision"
        entries = ByName().check(about["decision"], place)
        name = Text().check(entries.get("class"), f"{place}/class")
        threshold = Number(0, finite=True).check(entries.get("threshold"), f"{place}/threshold")
        classes = list(about.get("classes", []))
        if len(classes) != 2 or name not in classes:
            raise ValueError(f"the entry '{place}/class' is {name!r}, not one of two classes.")
        if not 0 < threshold < 1:
            raise ValueError(
                f"the entry '{place}/threshold' is {threshold}: a number between 0 and 1 expected."
            )
        return cls(classes.index(name), threshold)


@dataclass(frozen=True)
class Costs:
    """What mistakes cost: a row of the positive class that is not found, and another row that is
    taken for one."""

    false_negative: float = 1.0
    false_positive: float = 1.0

    @property
    def threshold(self) -> float:
        """The threshold of least expected cost for calibrated probabilities (Elkan 2001, "The
        foundations of cost-sensitive learning").

        >>> Costs(false_negative=4.0).threshold
        0.2
        """
        return self.false_positive / (self.false_positive + self.false_negative)

    def of(self, named: np.ndarray, y: np.ndarray, positive: int) -> np.ndarray:
        """Return the cost of each row, from the named classes and the true ones."""
        is_positive, is_named = y == positive, named == positive
        return (
            self.false_negative * (is_positive & ~is_named)
            + self.false_positive * (~is_positive & is_named)
        )

    def constant(self, share: float, decision: Decision) -> float:
        """Return the probability of the positive class of a constant that costs least: its share in
        training, or the nearest one for which the decision names the class that costs less.

        >>> Costs(false_positive=20.0).constant(0.2, Decision(1, 0.5))
        0.2
        >>> Costs(false_negative=20.0).constant(0.2, Decision(1, 0.5))
        0.5
        """
        if share * self.false_negative >= (1 - share) * self.false_positive:
            return max(share, decision.threshold)
        return min(share, float(np.nextafter(decision.threshold, 0)))

    def decision(self, probabilities: np.ndarray, y: np.ndarray, positive: int) -> Decision:
        """Return the decision of least cost on rows that the model was not trained on.

        It is the threshold for calibrated probabilities, unless another one costs less by more than
        two standard errors, also with one more row for which it names the wrong class: few rows
        hold no dear mistakes, and the least cost of few is also due to chance.

        >>> p = np.array([0.1, 0.2, 0.3, 0.9])
        >>> Costs(3.0).decision(np.stack([1 - p, p], 1), np.array([0, 0, 1, 1]), 1)
        Decision(positive=1, threshold=0.25)
        """
        p, is_positive = probabilities[:, positive].astype(np.float64), y == positive
        values, at = np.unique(p, return_inverse=True)
        positives = np.bincount(at.reshape(-1), weights=is_positive)
        others = np.bincount(at.reshape(-1), weights=~is_positive)
        # Total costs of the thresholds below the first value, between two values, above the last.
        missed = np.concatenate([[0.0], np.cumsum(positives)])
        wrong = np.concatenate([np.cumsum(others[::-1])[::-1], [0.0]])
        costs = self.false_negative * missed + self.false_positive * wrong
        ends = np.concatenate([[0.0], values, [1.0]])
        ends = (ends[1:] + ends[:-1]) / 2
        costs[(ends == 0) | (ends == 1)] = np.inf  # thresholds that probabilities may be equal to
        usual = self.threshold
        cheapest = ends[costs <= costs.min() * (1 + 1e-12)]
        found = Decision(positive, float(cheapest[np.abs(cheapest - usual).argmin()]))
        first = Decision(positive, usual)
        more = [self.of(one.named(probabilities), y, positive) for one in (first, found)]
        lower = found.threshold < usual  # then it may name others positive, else positives not
        mistake = self.false_positive if lower else self.false_negative
        saved = np.append(more[0] - more[1], -mistake)
        error = saved.std(ddof=1) / len(saved) ** 0.5 if len(saved) > 1 else np.inf
        return found if saved.mean() > 2 * error else first
