"""What cross-validation found of each candidate, for reports and estimators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpunn.apps.learning import figures

from .candidates import Fold, Problem
from .choosing import Choice, Standing, Trial, over_rows
from .networks import Rows, width_of


def standings(
    trials: Sequence[Trial],
    better: Sequence[Trial],
    parts: Sequence[Fold],
    problem: Problem,
    choice: Choice,
) -> list[Standing]:
    """Return the standings of the trials, the best first.

    The ``better`` ones, which were chosen to see all folds, come before the others: losses of few
    folds are less certain.
    """
    found = [(trial not in better, _standing(trial, parts, problem, choice)) for trial in trials]
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1].loss))]


def _standing(
    trial: Trial, parts: Sequence[Fold], problem: Problem, choice: Choice
) -> Standing:
    seen = parts[: len(trial.paths)]
    best = trial.best(problem, seen)
    truth, rows = (np.concatenate([getattr(part, name) for part in seen])
                   for name in ("truth", "rows"))
    known, error = {}, np.nan
    if np.isfinite(best.loss):
        _, error = over_rows(problem.losses(best.predicted, truth), rows)
        known = figures(best.predicted, truth, problem.classes)
        known.pop("log loss", None)  # it is the loss
    return Standing(
        trial.candidate,
        trial.candidate.training(len(seen[0].train), best.place),
        any(member.candidate == trial.candidate for member in choice.members),
        best.loss,
        error,
        known,
        len(seen),
        float(np.mean(trial.seconds)),
    )


def sized(found: Sequence[Standing], rows: Rows, outputs: int) -> list[Standing]:
    """Return standings with the numbers of parameters that are learned from prepared rows, whose
    values decide how many pieces there are."""
    encoded = {one.candidate.pieces for one in found}
    widths = {pieces: width_of(rows, pieces) for pieces in encoded}
    return [
        replace(s, parameters=s.candidate.parameters(widths[s.candidate.pieces], outputs))
        for s in found
    ]


def leaderboard(found: Sequence[Standing]) -> dict[str, np.ndarray]:
    """Return standings as an array for each column, of which `pandas.DataFrame` makes a table."""
    names = dict.fromkeys(name for one in found for name in one.figures)
    params = np.empty(len(found), object)
    params[:] = [one.candidate.document() for one in found]
    columns: dict[str, Any] = {
        "model": np.array([one.candidate.name for one in found], object),
        "training": np.array([one.training for one in found], object),
        "chosen": np.array([one.chosen for one in found]),
        "loss": np.array([one.loss for one in found]),
        "loss_error": np.array([one.error for one in found]),
    }
    for name in names:
        columns[name] = np.array([one.figures.get(name, np.nan) for one in found])
    return {
        **columns,
        "folds": np.array([one.folds for one in found]),
        "seconds": np.array([one.seconds for one in found]),
        "parameters": np.array([one.parameters for one in found]),
        "params": params,
    }
