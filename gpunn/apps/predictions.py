"""What is said of a model's outputs, by `gpunn predict` and by `gpunn serve`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.apps.decisions import Decision
from gpunn.apps.tables.intervals import LEVELS, USUAL, ClassSets, alternatives, of_model
from gpunn.training.data_facts import are_probabilities

PERCENT = tuple(f"{100 * level:g}" for level in LEVELS)
TOP = 3  # classes of a picture that are named


def predicted(outputs: np.ndarray, target: str, about: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the columns that a model adds: prediction, class probabilities, unsure or not.

    >>> predicted(np.array([[0.75, 0.25]]), "kind", {"classes": ["a", "b"], "unsure_below": 0.8})
    {'predicted kind': ['a'], 'probability of a': [0.75], 'probability of b': [0.25], \
'unsure': ['yes']}
    """
    classes = about.get("classes")
    if not classes:
        return {f"predicted {target}": outputs.reshape(-1).tolist()}
    decision = Decision.of(about)
    best = decision.named(outputs)
    made: dict[str, list[Any]] = {f"predicted {target}": [classes[i] for i in best]}
    for i, name in enumerate(classes):
        made[f"probability of {name}"] = outputs[:, i].tolist()
    unsure = decision.weighed(outputs).max(axis=1) < about.get("unsure_below", 0)
    made["unsure"] = ["yes" if one else "no" for one in unsure]
    return made


def interval_columns(
    model: Any,
    outputs: np.ndarray,
    target: str,
    about: dict[str, Any],
    percent: str | None = None,
) -> dict[str, list[Any]]:
    """Return the columns of intervals, or of sets of classes.

    Args:
        percent: their level, one of `PERCENT`, or ``"0"`` for none. None: the usual one, if the
            model's file has it.

    Raises:
        ValueError: if the file lacks what was asked for.
    """
    known = of_model(model) if percent != "0" else None
    if known is None or (percent is None and USUAL not in known.levels):
        if percent in (None, "0"):
            return {}
        raise ValueError(
            f"--interval {percent}: the model's file has no errors of cross-validation, as it was "
            f"not made by this version's gpunn train. Train it again, or leave the option out."
        )
    level = USUAL if percent is None else float(percent) / 100
    found = known.of(outputs, level)
    if isinstance(known, ClassSets):
        different, of = np.unique(found, axis=0, return_inverse=True)
        classes = about["classes"]
        named = [alternatives(classes[i] for i in np.flatnonzero(row)) for row in different]
        return {f"one of ({level:.0%})": [named[k] for k in of.reshape(-1)]}
    return {
        f"{target} {word} ({level:.0%})": [float(f"{end:.7g}") for end in ends]
        for word, ends in zip(("from", "to"), found.T, strict=True)
    }


BLANK: dict[str, Any] = {"class": None, "probability": None, "top": [], "unsure": False}
"""The entry of a picture without ink."""


def class_entries(outputs: np.ndarray, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the most probable classes of each row, as entries for JSON.

    Args:
        outputs: probabilities (rows, classes).
        about: what `gpunn.apps.trained_on.known` returned.

    Raises:
        ValueError: if they are no probabilities, or the model's file names another number of
            classes.

    >>> class_entries(np.array([[0.75, 0.25]]), {"classes": ["a", "b"], "unsure_below": 0.8})
    [{'class': 'a', 'probability': 0.75, 'top': [['a', 0.75], ['b', 0.25]], 'unsure': True}]
    """
    if not are_probabilities(outputs):
        raise ValueError("The model's outputs are not class probabilities: it needs a softmax.")
    names: Any = about.get("classes") or range(outputs.shape[1])
    if len(names) != outputs.shape[1]:
        raise ValueError(f"The model has {outputs.shape[1]} outputs but {len(names)} classes.")
    result = []
    for row in outputs:
        best = np.argsort(-row, kind="stable")[:TOP]
        top = [[names[i], float(row[i])] for i in best]
        unsure = top[0][1] < about.get("unsure_below", 0)
        result.append(
            {"class": top[0][0], "probability": top[0][1], "top": top, "unsure": unsure}
        )
    return result
