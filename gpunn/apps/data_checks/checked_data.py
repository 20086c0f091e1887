"""The input and output of the checks of `check_data`: data as flat rows, and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from gpunn.common.names import counted, either, first_few, listed
from gpunn.feeding.frames import are_missing

SEVERITIES = ("note", "warning", "error")
SAMPLE = 10_000  # maximum number of rows to sort
MISSING = ""  # a missing label among string labels
FEW = 20  # at most this many different whole numbers are classes


@dataclass
class Finding:
    """One result of a check.

    Attributes:
        severity: ``"note"``, ``"warning"`` or ``"error"``.
        check: name of the check.
        text: a description, and what to do about it.
        rows, columns: indices of the affected rows and columns, if it concerns some of them.
        advice: the end of the text that says what to do.
    """

    severity: str
    check: str
    text: str
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, int), repr=False)
    columns: np.ndarray = field(default_factory=lambda: np.empty(0, int), repr=False)
    advice: str = field(default="", repr=False)


_NONE = np.empty(0, int)


def finding(
    severity: str,
    text: str,
    rows: np.ndarray = _NONE,
    columns: np.ndarray = _NONE,
    check: str = "",
    advice: str = "",
) -> Finding:
    """Make a `Finding`, whose text ends with the advice; without ``check`` it gets the name of the
    check's function."""
    return Finding(severity, check, f"{text} {advice}".rstrip(), rows, columns, advice)


note, warning, error = (partial(finding, severity) for severity in SEVERITIES)


class Data:
    """Training and test data in the form that the checks take: flat numeric rows, class indices.

    Attributes:
        x, x_test: (rows, columns), numbers in their original dtype; x_test may be None.
        coded: which of these columns are category codes.
        kept: indices of these columns among the given features; the others are not numeric.
        y, y_test: class indices or float targets (rows,), or None.
        labels: the classes, or None for regression.
        sample, sample_test: indices of the sampled rows, for sorting.
        problems: findings from reading the data.
        numbers, numbers_test: the numbers by which the user knows the rows, for texts.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        x_test: Any,
        y_test: Any,
        task: str | None,
        parameters: int | None,
        names: Sequence[str] | None,
        seed: int,
    ) -> None:
        self.problems: list[Finding] = []
        self.parameters = parameters
        given = names if names is not None else getattr(x, "columns", None)
        self.width = int(np.prod(np.shape(x)[1:]))
        self.x, kept = self._features(x, "x")
        if given is not None and len(given) != self.width:
            raise ValueError(
                f"names has {counted(len(given), 'entry', 'entries')}, x has "
                f"{counted(self.width, 'feature')}."
            )
        self.kept = kept
        self.image = np.ndim(x) > 2
        self.columns = self.x.shape[1]
        self.coded = np.zeros(self.columns, bool)
        self.names = [str(i) for i in kept] if given is None else [str(given[i]) for i in kept]
        self.x_test = None if x_test is None else self._features(x_test, "x_test", kept)[0]
        self.labels: np.ndarray | None = None
        self.raw_y = None if y is None else _targets(y, len(self.x), "y")
        self.y: np.ndarray | None = None
        self.y_test: np.ndarray | None = None
        if self.raw_y is not None:
            classes = task == "classification" or (task is None and _are_classes(self.raw_y))
            self._take_y(classes, None if y_test is None or x_test is None else y_test)
        random = np.random.default_rng(seed)
        self.sample = _draw(random, len(self.x))
        self.sample_test = _draw(random, 0 if self.x_test is None else len(self.x_test))
        self.numbers = np.arange(len(self.x))
        self.numbers_test = np.arange(0 if self.x_test is None else len(self.x_test))

    def _features(
        self, x: Any, argument: str, kept: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``x`` as numbers (rows, columns), and the indices of these columns."""
        array = np.asarray(x)
        if array.ndim == 0 or not len(array):
            raise ValueError(f"{argument} must be (rows, ...); its shape is {array.shape}.")
        flat = array.reshape(len(array), -1)
        if kept is not None and flat.shape[1] != self.width:
            raise ValueError(
                f"{argument} has {counted(flat.shape[1], 'feature')} per row, x has {self.width}; "
                f"they must agree."
            )
        if kept is None and flat.dtype.kind not in "biuf":
            kept = np.array([i for i in range(flat.shape[1]) if _is_numeric(flat[:, i])], int)
            wrong = np.setdiff1d(np.arange(flat.shape[1]), kept)
            if len(wrong):
                self.problems.append(
                    error(
                        f"{_some(wrong, 'column')} of {argument} "
                        f"{either(len(wrong), 'holds', 'hold')} values that are not real numbers, "
                        f"such as {flat[0, wrong[0]]!r}: convert them to numbers, categories to "
                        f"one column each. The other checks leave them out.",
                        columns=wrong,
                        check="dtype",
                    )
                )
        kept = np.arange(flat.shape[1]) if kept is None else kept
        if flat.dtype.kind not in "biuf":
            flat = _floats(flat[:, kept]) if len(kept) else np.empty((len(flat), 0))
        return flat, kept

    def _take_y(self, classes: bool, y_test: Any) -> None:
        assert self.raw_y is not None
        given = self.raw_y
        test = None
        if y_test is not None:
            assert self.x_test is not None
            test = _targets(y_test, len(self.x_test), "y_test")
        if not classes:
            flat = given.reshape(len(given), -1)[:, 0]
            self.y = flat.astype(np.float64)
            self.y_test = None if test is None else test.reshape(len(test), -1)[:, 0].astype(float)
            return
        if given.ndim == 2:
            self.labels = np.arange(given.shape[1])
            self.y = np.nan_to_num(given.astype(np.float64)).argmax(axis=1)
            self.y_test = None if test is None else test.argmax(axis=-1).reshape(-1)
            return
        everything = given if test is None else np.concatenate([given, test])
        self.labels, numbers = np.unique(everything, return_inverse=True)
        self.y = numbers[: len(given)]
        self.y_test = None if test is None else numbers[len(given) :]

    @property
    def classes(self) -> int:
        return 0 if self.labels is None else len(self.labels)

    def name(self, columns: np.ndarray) -> str:
        """Return the names of some features."""
        return listed([self.names[i] for i in columns])

    def summary(self) -> str:
        text = f"{counted(len(self.x), 'row')} of {counted(self.columns, 'feature')}"
        if self.labels is not None and self.y is not None:
            counts = np.bincount(self.y, minlength=self.classes)
            shares = first_few((f"{n:,}" for n in counts), 10)
            text += f", {counted(self.classes, 'class', 'classes')} ({shares})"
        elif self.y is not None:
            text += f", targets from {np.nanmin(self.y):.4g} to {np.nanmax(self.y):.4g}"
        if self.x_test is not None:
            text += f"; {counted(len(self.x_test), 'row')} of test data"
        return text + "."

    def sampled(self, test: bool = False) -> np.ndarray:
        """Return the sampled rows as float64, with missing values replaced by column medians."""
        rows = self.sample_test if test else self.sample
        source = self.x_test if test else self.x
        assert source is not None
        values = source[rows].astype(np.float64)
        bad = ~np.isfinite(values)
        for column in np.flatnonzero(bad.any(axis=0)):
            own = values[~bad[:, column], column]
            values[bad[:, column], column] = np.median(own) if len(own) else 0.0
        return values


def _draw(random: np.random.Generator, count: int) -> np.ndarray:
    if count <= SAMPLE:
        return np.arange(count)
    return np.sort(random.choice(count, SAMPLE, replace=False))


def _is_numeric(column: np.ndarray) -> bool:
    if column.dtype.kind != "O" or any(isinstance(value, str) for value in column):
        return False
    try:
        _floats(column)
    except (ValueError, TypeError):
        return False
    return True


def _floats(array: np.ndarray) -> np.ndarray:
    """Convert an array of numbers to float64, with NaN for missing values."""
    if array.dtype.kind == "O":
        array = np.where(are_missing(array), np.nan, array)
    return array.astype(np.float64)


def _targets(y: Any, rows: int, argument: str) -> np.ndarray:
    targets = np.asarray(y)
    if targets.dtype.kind == "O" and (missing := are_missing(targets)).any():
        numeric = all(isinstance(value, Real) for value in targets[~missing])
        targets = _floats(targets) if numeric else np.where(missing, MISSING, targets)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2) or len(targets) != rows:
        raise ValueError(
            f"{argument} must have a row for each of the {rows} rows of its x; its shape is "
            f"{targets.shape}."
        )
    return targets


def _are_classes(y: np.ndarray) -> bool:
    if y.dtype.kind not in "iuf":
        return True
    if y.ndim == 2:
        return bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
    known = y[np.isfinite(y)]
    distinct = np.unique(known)
    return len(distinct) <= FEW and bool((distinct == np.floor(distinct)).all())


def _some(numbers: np.ndarray, noun: str) -> str:
    return f"{either(len(numbers), noun, f'{noun}s')} {listed(numbers.tolist())}"
