"""Choose the answer from the predictions of candidates: the best one, or an average of a few.

Members are added one by one to the best candidate, while the loss of their average falls (Caruana
et al. 2004, "Ensemble selection from libraries of models"). All losses are on rows that were not
trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.common.names import counted

from .candidates import Candidate, Fold, Problem

MEMBERS = 5  # of an average, at most
BESIDE = 1  # solutions on a path before and after the best one on some folds, for the others
GAIN = 1e-4  # smallest relative fall of the loss for which a member is added


@dataclass
class Solution:
    """The best solution on a path.

    Attributes:
        place: where on the path it is.
        predicted: its predictions for the rows of all folds, adjusted by the ``factor`` of
            `Problem.adjusted`.
        loss: their mean loss; infinite if it diverged.
    """

    place: int
    predicted: np.ndarray
    factor: float
    loss: float


@dataclass(eq=False)
class Trial:
    """A candidate with its predictions on each fold, and the seconds that a fold took."""

    number: int
    candidate: Candidate
    paths: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._best: dict[int, Solution] = {}

    def losses(self, problem: Problem, parts: Sequence[Fold]) -> np.ndarray:
        """Return the mean loss at each place that the paths of all folds reach."""
        places = min(map(len, self.paths))
        sums = np.zeros(places)
        rows = 0
        for path, part in zip(self.paths, parts, strict=False):
            sums += problem.losses(path[:places], part.truth).sum(axis=-1)
            rows += len(part.truth)
        return np.where(np.isfinite(sums), sums / rows, np.inf)  # infinite: it diverged

    def places(self, problem: Problem, parts: Sequence[Fold]) -> range | None:
        """Return where on its path further folds look, after those that it has seen: at the best
        solution so far and beside it; None for all of it."""
        seen = parts[: len(self.paths)]
        losses = self.losses(problem, seen) if seen else np.empty(0)
        if not np.isfinite(losses).any():
            return None
        best = int(losses.argmin())
        return range(max(best - BESIDE, 0), best + BESIDE + 1)

    def best(self, problem: Problem, parts: Sequence[Fold]) -> Solution:
        """Return the solution with the least loss on these folds, which are the first ones."""
        if len(parts) not in self._best:
            truth = np.concatenate([part.truth for part in parts])
            solutions = []
            for place in range(min(map(len, self.paths))):
                outputs = np.concatenate([path[place] for path in self.paths[: len(parts)]])
                predicted, factor = problem.adjusted(outputs, truth, self.candidate.logs)
                loss = float(problem.losses(predicted, truth).mean())
                loss = loss if np.isfinite(loss) else np.inf
                solutions.append(Solution(place, predicted, factor, loss))
            self._best[len(parts)] = min(solutions, key=lambda one: one.loss)
        return self._best[len(parts)]


def over_rows(values: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return mean and standard error of what the folds found of these rows: the error is of the
    rows' means, since several folds may check a row.

    >>> mean, error = over_rows(np.array([1.0, 3.0, 2.0, 6.0]), np.array([0, 0, 1, 2]))
    >>> round(mean, 3), round(error, 3)  # of 2, 2 and 6
    (3.333, 1.333)
    """
    _, of, counts = np.unique(rows, return_inverse=True, return_counts=True)
    means = np.bincount(of, weights=values) / counts
    error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.inf
    return float(means.mean()), float(error)


@dataclass
class Member:
    """One part of the answer.

    Attributes:
        place: the solution on the candidate's path.
        factor: see `Problem.adjusted`.
        loss: mean loss on the rows of the folds.
    """

    candidate: Candidate
    place: int
    factor: float
    loss: float


@dataclass(frozen=True)
class Standing:
    """What cross-validation found of one candidate.

    Attributes:
        training: how its best solution was learned, in words, such as ``25 epochs``.
        chosen: whether it is part of the answer.
        loss: mean loss on the rows that it was checked by; infinite if it diverged.
        error: standard error of the loss, over these rows.
        figures: the metrics of `gpunn.apps.learning.figures` on these rows.
        folds: number of folds that it saw.
        seconds: mean time of a fold, with all solutions on its path; NaN if it was not measured.
        parameters: number of values that it learns.
    """

    candidate: Candidate
    training: str
    chosen: bool
    loss: float
    error: float
    figures: dict[str, float]
    folds: int
    seconds: float
    parameters: int = 0


@dataclass
class Choice:
    """The result of a search.

    Attributes:
        members: the answer is their average.
        finalists: the candidates that saw all folds, the best first; one is the linear model.
        rows: indices of the rows that the folds checked, each once.
        predicted: predictions of the answer for these rows, none of which it had been trained on.
        why: the reason for the number of members, in words.
        standings: what was found of each candidate, the best first.
    """

    members: list[Member]
    finalists: list[Member]
    rows: np.ndarray
    predicted: np.ndarray
    why: str
    folds: int
    standings: list[Standing] = field(default_factory=list)
    interrupted: bool = False

    @property
    def tried(self) -> int:
        """Number of candidates that saw some folds."""
        return len(self.standings)

    @property
    def diverged(self) -> int:
        """Number of networks that diverged."""
        return sum(not np.isfinite(one.loss) for one in self.standings)

    def document(self) -> dict[str, Any]:
        """Return the plan for the model's file."""
        return {
            "folds": self.folds,
            "members": [
                {**m.candidate.document(), "place": m.place, "loss": m.loss} for m in self.members
            ],
        }


def choose(
    trials: Sequence[Trial], parts: Sequence[Fold], problem: Problem, network: bool, most: int
) -> Choice:
    """Return the answer, of at most ``most`` members, for trials that saw the same folds; with
    ``network`` the best network is the first of them."""
    trials = [t for t in trials if np.isfinite(t.losses(problem, parts)).any()] or list(trials)
    truth = np.concatenate([part.truth for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    _, once = np.unique(rows, return_index=True)
    members, outputs = [], []
    for trial in trials:
        found = trial.best(problem, parts)
        members.append(Member(trial.candidate, found.place, found.factor, found.loss))
        outputs.append(found.predicted)
    order = sorted(range(len(members)), key=lambda i: members[i].loss)
    best = next((i for i in order if members[i].candidate.is_network or not network), order[0])
    team, total, least = [best], outputs[best].copy(), members[best].loss
    while len(team) < most:
        scores = {
            i: float(problem.losses((total + outputs[i]) / (len(team) + 1), truth).mean())
            for i in order if i not in team
        }
        best = min(scores, key=lambda i: scores[i], default=best)
        if not scores or scores[best] > least * (1 - GAIN):
            break
        team, total, least = [*team, best], total + outputs[best], scores[best]
    average = total / len(team)
    team, average, why = _simplest(team, average, outputs, truth, rows, problem)
    finalists = [members[i] for i in order]
    chosen = [members[i] for i in team]
    return Choice(chosen, finalists, rows[once], average[once], why, len(parts))


def _simplest(
    team: list[int],
    average: np.ndarray,
    outputs: list[np.ndarray],
    truth: np.ndarray,
    rows: np.ndarray,
    problem: Problem,
) -> tuple[list[int], np.ndarray, str]:
    """Prefer one member to several, if its loss is within one standard error of theirs."""
    if len(team) == 1:
        return team, average, "no average of several models was better"
    losses = problem.losses(average, truth)
    single = team[0]
    more, error = over_rows(problem.losses(outputs[single], truth) - losses, rows)
    if more <= error:
        why = (
            f"the average of {counted(len(team), 'model')} is better by less than a standard error"
        )
        return [single], outputs[single], why
    return (
        team,
        average,
        f"better than any one of them by {more / error:.1f} standard errors",
    )
