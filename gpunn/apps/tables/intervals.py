"""How far a table's answers may be off: intervals, and sets of classes, by conformal prediction.

Both come from the rows that cross-validation checked: an interval from the errors there, a set from
the probabilities of the right classes. They ask nothing of the model or the distribution, but new
rows have to be drawn like these (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random
world"; Lei et al. 2018, "Distribution-free predictive inference for regression").

The models of the folds are not kept, so intervals are around the answer of the model that learned
all rows: the cross-validated form of the jackknife (Barber et al. 2021, "Predictive inference with
the jackknife+"). That has its level where the answer hardly depends on a fold's rows. Where a fold
is much smaller than the table, the errors are from `Plan.checked`. The study of 24 tables in
`benchmarks/results/tables-coverage.md` measures the levels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gpunn.apps.decisions import Decision
from gpunn.common.arguments import check_number
from gpunn.common.names import counted
from gpunn.common.stored import ByName, Integer, Number, Several

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""The levels that a file keeps, as far as there are rows enough."""
USUAL = 0.9
POWERS = (0.0, 0.5, 1.0)  # of the prediction, that errors are tried to grow with
PLACE = "trained_on/table/intervals"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Intervals:
    """Intervals of a regression.

    An interval goes from prediction + low s to prediction + high s, where low and high are
    quantiles of the errors (y - prediction) / s. As many targets are below it as above. The spread
    s is max(prediction, least)^power: constant, or growing with the prediction, as with targets
    that are learned as logarithms.

    Attributes:
        rows: number of errors.
        levels: low and high, by level.
        power: of the spread.
        least: the smallest prediction; smaller ones have its spread.
        is_positive: whether no target was negative: then no interval begins below 0.
    """

    rows: int
    levels: dict[float, tuple[float, float]]
    power: float = 0.0
    least: float = 0.0
    is_positive: bool = False

    @classmethod
    def learned(
        cls, predicted: np.ndarray, y: np.ndarray, known: np.ndarray | None = None
    ) -> Intervals:
        """Return the intervals for targets y (rows,), predicted by models that did not learn them.

        ``known`` are all targets that there are, if cross-validation checked some of them only.

        Low and high at level 1 - a are the k-th smallest and the k-th largest error, for
        k = floor((rows + 1) a / 2). Of the powers that one is taken in which errors of Laplace's
        distribution would be most likely.

        >>> found = Intervals.learned(np.zeros(39), np.arange(1.0, 40.0))
        >>> found.levels[0.9], sorted(found.levels)  # 0.99 needs 199 rows
        ((2.0, 38.0), [0.5, 0.8, 0.9, 0.95])
        """
        predicted = predicted.reshape(-1).astype(np.float64)
        away, least = y - predicted, float(predicted.min())
        power = _power(predicted, away) if least > 0 else 0.0
        errors = np.sort(away / np.maximum(predicted, least) ** power if power else away)
        levels = {}
        for level in LEVELS:
            k = _rank(len(errors), level, sides=2)
            if k:
                levels[level] = float(errors[k - 1]), float(errors[-k])
        is_positive = bool((y if known is None else known).min() >= 0)
        return cls(len(errors), levels, power, least if power else 0.0, is_positive)

    def of(self, predicted: np.ndarray, level: float = USUAL) -> np.ndarray:
        """Return both ends of the interval of each prediction, (rows, 2).

        Raises:
            ValueError: if the level is none of those kept.
        """
        low, high = at(self.levels, level, self.rows)
        predicted = predicted.reshape(-1).astype(np.float64)
        spread = np.maximum(predicted, self.least) ** self.power if self.power else 1.0
        ends = np.stack([predicted + low * spread, predicted + high * spread], axis=1)
        return np.maximum(ends, 0.0) if self.is_positive else ends

    def document(self) -> dict[str, Any]:
        """Return the entries for the model's file."""
        return {
            "rows": self.rows,
            "levels": [[level, *ends] for level, ends in self.levels.items()],
            "power": self.power,
            "least": self.least,
            "is_positive": self.is_positive,
        }

    @classmethod
    def read(cls, entries: dict[str, Any]) -> Intervals:
        rows, levels = _rows_and_levels(entries, 3)
        for i, (_, low, high) in enumerate(levels):
            if low > high:
                raise ValueError(f"the entry '{PLACE}/levels/{i}' begins behind its end.")
        return cls(
            rows,
            {level: (low, high) for level, low, high in levels},
            _share(entries.get("power", 0.0), f"{PLACE}/power"),
            Number(0, finite=True).check(entries.get("least", 0.0), f"{PLACE}/least"),
            entries.get("is_positive") is True,
        )


@dataclass(frozen=True)
class ClassSets:
    """Sets of classes that hold the right one.

    A set has all classes from a least probability on: the smallest sets on average (Sadinle, Lei
    and Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels"). If the
    class that is named is less probable, the set goes down to it: then it holds the right class at
    least as often.

    Attributes:
        rows: number of rows that the probabilities are of.
        levels: the least probability of a class in the set, by level.
        decision: which class is named.
    """

    rows: int
    levels: dict[float, float]
    decision: Decision = field(default_factory=Decision)

    @classmethod
    def learned(
        cls, predicted: np.ndarray, y: np.ndarray, decision: Decision | None = None
    ) -> ClassSets:
        """Return the sets for classes y (rows,), predicted by models that did not learn them.

        The least probability at level 1 - a is the k-th smallest probability of a right class, for
        k = floor((rows + 1) a).

        >>> right = np.arange(1, 20) / 20
        >>> found = ClassSets.learned(np.stack([right, 1 - right], axis=1), np.zeros(19, int))
        >>> found.levels[0.9], found.levels[0.95]
        (0.1, 0.05)
        """
        right = np.sort(predicted[np.arange(len(y)), y].astype(np.float64))
        ranks = ((level, _rank(len(y), level)) for level in LEVELS)
        levels = {level: float(right[k - 1]) for level, k in ranks if k}
        return cls(len(y), levels, decision or Decision())

    def of(self, predicted: np.ndarray, level: float = USUAL) -> np.ndarray:
        """Return which classes are in the set of each row, (rows, classes).

        Raises:
            ValueError: if the level is none of those kept.

        >>> sets = ClassSets(40, {0.9: 0.6}, Decision(1, threshold=0.2))  # of the second class
        >>> sets.of(np.array([[0.9, 0.1], [0.7, 0.3]])).tolist()
        [[True, False], [True, True]]
        """
        least, predicted = at(self.levels, level, self.rows), predicted.astype(np.float64)
        named = predicted[np.arange(len(predicted)), self.decision.named(predicted)]
        return predicted >= np.minimum(least, named)[:, None]

    def document(self) -> dict[str, Any]:
        """Return the entries for the model's file."""
        return {"rows": self.rows, "levels": [[*pair] for pair in self.levels.items()]}

    @classmethod
    def read(cls, entries: dict[str, Any], decision: Decision) -> ClassSets:
        rows, levels = _rows_and_levels(entries, 2)
        for i, (_, least) in enumerate(levels):
            _share(least, f"{PLACE}/levels/{i}/1")
        return cls(rows, {level: least for level, least in levels}, decision)


def learned(
    predicted: np.ndarray, y: np.ndarray, known: np.ndarray, decision: Decision | None
) -> Intervals | ClassSets:
    """Return what the targets y of cross-validated rows, of all ``known`` ones, say: intervals, or
    sets for classes, of which a decision names one."""
    if decision is not None:
        return ClassSets.learned(predicted, y, decision)
    return Intervals.learned(predicted, y, known)


def of_model(model: Any) -> Intervals | ClassSets | None:
    """Return what a table's model keeps of its errors; None for files of earlier versions.

    Raises:
        ValueError: naming an entry of the file that is invalid.
    """
    table = model.trained_on.get("table") or {}
    if "intervals" not in table:
        return None
    entries = ByName().check(table["intervals"], PLACE)
    if model.trained_on.get("classes"):
        return ClassSets.read(entries, Decision.of(model.trained_on))
    return Intervals.read(entries)


def alternatives(names: Iterable[str]) -> str:
    """Return the names of classes as one string, from which each can be told.

    One that holds what separates them, or begins with a quotation mark, is quoted as in CSV.

    >>> print(alternatives(["km/h", "mph"]), alternatives(['yes / no', 'a "b"', '"b"']), sep="\\n")
    km/h / mph
    "yes / no" / a "b" / \"""b\"""
    """
    return " / ".join(
        '"{}"'.format(name.replace('"', '""')) if " / " in f" {name} " or name[:1] == '"' else name
        for name in names
    )


def at(levels: dict[float, _T], level: float, rows: int) -> _T:
    """Return what is kept for a level.

    Raises:
        TypeError, ValueError: for no number, and for another level, naming those that are kept.
    """
    level = round(check_number("confidence_level", level), 6)  # 0.9 in float32 is 0.9 too
    if level in levels:
        return levels[level]
    if not levels:
        raise ValueError(
            f"There is no interval at {level:.4g}: the model keeps none, as the "
            f"{counted(rows, 'row')} of its cross-validation are too few."
        )
    kept = ", ".join(f"{one:.0%}" for one in levels)
    raise ValueError(
        f"There is no interval at {level:.4g}: the model keeps the levels {kept}, as its "
        f"{rows:,} rows of cross-validation allow. Choose one of them."
    )


def covered(known: Intervals | ClassSets, predicted: np.ndarray, y: np.ndarray) -> int:
    """Return in how many rows the target is in the interval or the set of the usual level."""
    found = known.of(predicted)
    if isinstance(known, ClassSets):
        return int(found[np.arange(len(y)), y].sum())
    return int(((found[:, 0] <= y) & (y <= found[:, 1])).sum())


def _rank(rows: int, level: float, sides: int = 1) -> int:
    """Return k, for which the k-th smallest of the scores bounds one side; 0 of too few rows."""
    beyond = 100 - round(100 * level)  # in whole numbers: (1 - 0.9) / 2 * 20 is less than 1
    return (rows + 1) * beyond // (100 * sides)


def _power(predicted: np.ndarray, away: np.ndarray) -> float:
    """Return the power of the prediction that the size of errors grows with, of positive ones: the
    most likely of `POWERS`, by Laplace's density exp(-|e| / (b s)) / (2 b s) at its best b."""
    logs = np.log(predicted)

    def misfit(power: float) -> float:
        sizes = np.abs(away) * np.exp(-power * (logs - logs.mean()))
        return float(np.log(max(sizes.mean(), np.finfo(float).tiny)))

    return min(POWERS, key=misfit)


def _rows_and_levels(entries: dict[str, Any], length: int) -> tuple[int, list[list[float]]]:
    """Read what the files of intervals and of sets share."""
    rows = Integer(1).check(entries.get("rows"), f"{PLACE}/rows")
    each = Several(Number(finite=True), length)
    levels: list[list[float]] = Several(each).check(entries.get("levels"), f"{PLACE}/levels")
    for i, (level, *_) in enumerate(levels):
        _share(level, f"{PLACE}/levels/{i}/0")
    return rows, levels


def _share(value: Any, place: str) -> float:
    number: float = Number(0, finite=True).check(value, place)
    if number > 1:
        raise ValueError(f"the entry {place!r} is {number:g}: a number from 0 to 1 expected.")
    return number


def in_words(known: Intervals | ClassSets, predicted: np.ndarray, y: np.ndarray) -> Iterable[str]:
    """Yield a sentence on held-out rows; none if the rows were too few for the usual level."""
    if USUAL in known.levels:
        what = "interval" if isinstance(known, Intervals) else "set of classes"
        yield (
            f"The {what} of {USUAL:.0%} holds {covered(known, predicted, y):,} of the {len(y):,} "
            f"held-out targets"
        )
