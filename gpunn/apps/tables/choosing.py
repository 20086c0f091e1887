"""Choose the answer from the predictions of candidates: the best one, or an average of a few.

Members are added one by one to the best candidate, while the loss of their average falls (Caruana
et al. 2004, "Ensemble selection from libraries of models"). All losses are those of rows that were
not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.common.names import counted

from .candidates import Candidate, Fold, Problem

MEMBERS = 5  # of an average, at most
GAIN = 1e-4  # smallest relative fall of the loss for which a member is added


@dataclass
class Trial:
    """A candidate with its predictions on each fold."""

    number: int
    candidate: Candidate
    paths: list[np.ndarray] = field(default_factory=list)

    def losses(self, problem: Problem, parts: Sequence[Fold]) -> np.ndarray:
        """Return the mean loss at each place that the paths of all folds reach."""
        places = min(map(len, self.paths))
        sums = np.zeros(places)
        rows = 0
        for path, part in zip(self.paths, parts, strict=False):
            sums += problem.losses(path[:places], part.truth).sum(axis=-1)
            rows += len(part.truth)
        return np.where(np.isfinite(sums), sums / rows, np.inf)  # infinite: it diverged


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


@dataclass
class Choice:
    """The result of a search.

    Attributes:
        members: the answer is their average.
        finalists: the candidates that saw all folds, the best first; one is the linear model.
        rows: indices of the rows that the folds checked, each once.
        predicted: predictions of the answer for these rows, none of which it had been trained on.
        why: the reason for the number of members, in words.
        tried: number of candidates that saw some folds.
        diverged: number of networks that diverged on all folds.
    """

    members: list[Member]
    finalists: list[Member]
    rows: np.ndarray
    predicted: np.ndarray
    why: str
    folds: int
    tried: int = 0
    diverged: int = 0
    interrupted: bool = False

    def document(self) -> dict[str, Any]:
        """Return the plan for the model's file."""
        return {
            "folds": self.folds,
            "members": [
                {**m.candidate.document(), "place": m.place, "loss": m.loss} for m in self.members
            ],
        }


def choose(
    trials: Sequence[Trial], parts: Sequence[Fold], problem: Problem, fast: bool, most: int
) -> Choice:
    """Return the answer, of at most ``most`` members, for trials that saw the same folds; with
    ``fast`` it is the best network."""
    trials = [t for t in trials if np.isfinite(t.losses(problem, parts)).any()] or list(trials)
    truth = np.concatenate([part.truth for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    _, once = np.unique(rows, return_index=True)
    members, outputs = [], []
    for trial in trials:
        places = range(min(map(len, trial.paths)))
        found = [
            (place, *problem.adjusted(np.concatenate([path[place] for path in trial.paths]),
                                      truth, trial.candidate.logs))
            for place in places
        ]  # fmt: skip
        losses = [float(problem.losses(predicted, truth).mean()) for _, predicted, _ in found]
        best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
        place, predicted, factor = found[best]
        members.append(Member(trial.candidate, place, factor, losses[best]))
        outputs.append(predicted)
    order = sorted(range(len(members)), key=lambda i: members[i].loss)
    best = next((i for i in order if members[i].candidate.is_network or not fast), order[0])
    team, total, least = [best], outputs[best].copy(), members[best].loss
    while len(team) < most and not fast:
        scores = {
            i: float(problem.losses((total + outputs[i]) / (len(team) + 1), truth).mean())
            for i in order if i not in team
        }  # fmt: skip
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
    more = problem.losses(outputs[single], truth) - losses
    _, of, counts = np.unique(rows, return_inverse=True, return_counts=True)
    more = np.bincount(of, weights=more) / counts  # of each row, which several folds may check
    error = float(more.std(ddof=1)) / len(more) ** 0.5 if len(more) > 1 else np.inf
    if more.mean() <= error:
        why = (
            f"the average of {counted(len(team), 'model')} is better by less than a standard error"
        )
        return [single], outputs[single], why
    return (
        team,
        average,
        f"better than any one of them by {more.mean() / error:.1f} standard errors",
    )
