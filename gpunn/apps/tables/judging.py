"""What the user asks of a model of a table: a metric, or what mistakes cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpunn.apps.decisions import Costs, Decision
from gpunn.common.arguments import check_number

from .scoring import Metric, metric_of

MOST = 1e6  # cost of a mistake, in costs of another that nothing is said of


@dataclass(frozen=True)
class Judging:
    """How answers are judged.

    Attributes:
        metric: what models are compared by.
        first: the metric to show first; None for the usual order.
        costs: of mistakes; None if all cost the same.
    """

    metric: Metric
    first: Metric | None = None
    costs: Costs | None = None

    @classmethod
    def asked(
        cls,
        metric: str | None,
        missed: float | None,
        false_alarm: float | None,
        classes: int,
        called: Callable[[str], str] = str,
    ) -> Judging:
        """Return what the options ask for.

        Args:
            metric: one of `scoring.OPTIONS`; None for accuracy, R2 or the costs.
            missed, false_alarm: cost of a false negative and of a false positive; 1 where only the
                other one is given.
            classes: number of classes; 0 for numbers.
            called: returns what the user calls an option, for errors.

        Raises:
            ValueError, TypeError: for an option that does not fit the number of classes, or an
                invalid cost.
        """
        costs = None
        names = map(called, ("cost_false_negative", "cost_false_positive"))
        given = dict(zip(names, (missed, false_alarm), strict=True))
        for option, value in given.items():
            if value is None:
                continue
            if classes != 2:
                what = f"{classes} classes" if classes else "numbers"
                raise ValueError(f"{option} is for two classes; the target has {what}.")
            if not 1 / MOST <= check_number(option, value) <= MOST:
                raise ValueError(f"{option} must be from {1 / MOST:g} to {MOST:g}; got {value:g}.")
        if missed is not None or false_alarm is not None:
            costs = Costs(*(1.0 if cost is None else float(cost) for cost in given.values()))
        found = metric_of(metric, classes, costs, called("metric"))
        return cls(found, found if metric or costs else None, costs)

    def decision(
        self, known: np.ndarray, truth: np.ndarray, y: np.ndarray, classes: int
    ) -> Decision:
        """Return how classes follow from probabilities.

        Args:
            known: predictions of rows that were not trained on, and ``truth`` their classes.
            y: the classes of all rows, which tell the rarer one.
        """
        usual = Decision.usual(y, classes) if classes else Decision()
        if self.costs is None or usual.positive is None:
            return usual
        return self.costs.decision(known, truth, usual.positive)
