"""A table's columns as inputs of a model, and the layers that prepare them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gpunn import ops
from gpunn.common.numeric.moments import deviation, mean
from gpunn.layers import (
    Concatenate,
    DatetimeEncoder,
    HashingVectorizer,
    Input,
    MissingIndicator,
    Normalization,
    Rescaling,
    SimpleImputer,
    StringLookup,
)

from . import robust
from .reading.dates import CYCLES, NUMBERS, Dates
from .reading.kinds import Column
from .robust import Limits

WIDEST = 20.0  # maximum range of a column, in deviations
POSITIONS = 64, 256  # fewest and most numbers that the words of a text become
ROWS_EACH = 2  # training rows for each of these numbers
READERS = {"category": StringLookup, "date": DatetimeEncoder, "text": HashingVectorizer}
"""The layers that read columns first, by kind."""
KINDS = ("number", *READERS)


class Range(NamedTuple):
    """Range of a column of numbers or dates in training, and whether all its values were whole.

    ``percentiles`` are the 1st and the 99th, values of a column of numbers; None for dates, and in
    files that lack them.
    """

    low: float
    high: float
    whole: bool = False
    percentiles: tuple[float, float] | None = None


@dataclass
class Feature:
    """A column that a model reads, and its statistics in training.

    Attributes:
        median: for numbers, the value that replaces missing ones.
        mean, deviation: for numbers, the scaling.
        categories: for categories, the ones that are encoded; None for other columns.
        gaps: for numbers and dates, whether any was missing in training: the model then gets an
            indicator.
        range: for numbers and dates, the smallest and the largest; None if unknown.
        written: for numbers, the unit that is written with them; "" for none.
        decimal: for numbers, their decimal separator; "" if the cells did not show it.
        dates: for dates, how they are written; None for other columns.
        parts: for dates, the numbers that they become, named as `DatetimeEncoder` does.
        cycles: for dates, what becomes one-hot rows, such as the weekday.
        positions: for texts, how many numbers their words become; 0 for other columns.
        limits: for numbers, what they are limited to; None if none was far from all others.
        markers: for numbers, those that stand for a missing one, such as -999.
    """

    name: str
    median: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    categories: list[str] | None = None
    gaps: bool = False
    range: Range | None = None
    written: str = ""
    decimal: str = ""
    dates: Dates | None = None
    parts: list[Feature] = field(default_factory=list)
    cycles: tuple[str, ...] = ()
    positions: int = 0
    limits: Limits | None = None
    markers: tuple[float, ...] = ()

    @property
    def unit(self) -> float:
        """The power of two that numbers are divided by: 1, unless float32 cannot hold their
        variance."""
        usual = 1e-6 < self.deviation < 1e18
        return 1.0 if usual else float(np.ldexp(1.0, np.frexp(self.deviation)[1]))

    @property
    def kind(self) -> str:
        if self.dates is not None:
            return "date"
        if self.positions:
            return "text"
        return "number" if self.categories is None else "category"

    @property
    def numbers(self) -> list[Feature]:
        """The numbers that the model scales: the column itself, or the parts of its dates."""
        return self.parts or ([self] if self.kind == "number" else [])


def feature_of(column: Column, rows: np.ndarray, limits: Limits | None = None) -> Feature:
    """Return a column's statistics for training, from the given rows only. For numbers they are
    statistics of the limited ones, with the range of the numbers within the limits."""
    if column.kind == "category":
        known = {*column.cells[rows].tolist()}
        found = [category for category in column.categories if category in known]
        return Feature(column.name, categories=found or column.categories)
    if column.kind == "text":
        most = max(POSITIONS[0], min(POSITIONS[1], len(rows) // ROWS_EACH))
        return Feature(column.name, positions=1 << (most.bit_length() - 1))  # a power of two
    values = column.values[rows]
    missing = np.isnan(values)
    if column.kind == "date":
        return _of_dates(column, rows)
    median = float(np.median(values[~missing])) if not missing.all() else 0.0
    near = values
    if limits is not None:
        near = values[~missing & (limits.low <= values) & (values <= limits.high)]
        values = np.clip(values, *limits)
    feature = _of_numbers(column.name, values, median, column.unit)
    feature.limits, feature.markers = limits, column.markers
    if limits is not None:
        feature.range = _range(near)
    feature.decimal = column.notation.decimal if column.notation.is_known else ""
    return feature


def _of_numbers(name: str, values: np.ndarray, median: float, written: str = "") -> Feature:
    missing = np.isnan(values)
    filled = np.where(missing, median, values)
    # A nearly constant column, such as a border pixel, must not give huge scaled values.
    spread = max(float(deviation(filled)), float(np.ptp(filled)) / WIDEST) or 1.0
    return Feature(
        name, median, float(mean(filled)), spread, gaps=bool(missing.any()),
        range=_range(values[np.isfinite(values)]), written=written,
    )


def _of_dates(column: Column, rows: np.ndarray) -> Feature:
    """Return the numbers that dates become; missing dates become the median date.

    What is the same in all given rows, such as the year, is omitted: a model would learn nothing
    from it, and compute with an untrained weight in another year.
    """
    known = rows[~column.missing[rows]]
    known = known if len(known) else np.flatnonzero(~column.missing)
    middle = known[np.argsort(column.values[known], kind="stable")[(len(known) - 1) // 2]]
    form, day_first = column.dates
    features = NUMBERS[form] + CYCLES[form]
    encode = DatetimeEncoder(features, day_first)
    median, *_ = encode([column.cells[middle]])
    found = encode(column.cells[rows].tolist())
    varied = np.ptp(np.where(np.isnan(found), median, found), axis=0) > 0
    varied[len(NUMBERS[form]) - 1] = True  # at least the last of the numbers
    parts = [
        _of_numbers(features[k], found[:, k], float(median[k]))
        for k in range(len(NUMBERS[form]))
        if varied[k]
    ]
    cycles = tuple(name for k, name in enumerate(features) if varied[k] and name in CYCLES[form])
    return Feature(
        column.name, gaps=len(known) < len(rows), range=_range(column.values[known]),
        dates=column.dates, parts=parts, cycles=cycles,
    )


def _range(values: np.ndarray) -> Range | None:
    if not len(values):
        return None
    whole = bool((values == np.floor(values)).all())
    last = len(values) - 1
    at = [0, math.floor(last / 100), math.ceil(last * 99 / 100), last]
    low, first, second, high = np.partition(values, at)[at].tolist()
    return Range(low, high, whole, (first, second))


class Names:
    """Unique layer names: a column's name, with ``/`` replaced.

    >>> names = Names(["km/h", "a", "a filled"])
    >>> names.inputs, names.free("a filled"), names.free("b filled")
    (['km|h', 'a', 'a filled'], 'a filled_', 'b filled')
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self._taken: set[str] = set()
        self.inputs = [self.free(column.replace("/", "|")) for column in columns]

    def free(self, name: str) -> str:
        """Return the name, with ``_`` appended until it is unused."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def prepared(features: Sequence[Feature]) -> tuple[dict[str, Any], list[Any]]:
    """Return a model's inputs by column, and tensors of the prepared features.

    The first tensor holds the numbers, also of dates, with missing values replaced by medians,
    limited where a column has limits, and scaled. The second holds indicators of missing values,
    then rows: a one-hot row for each categorical column, whose first position means unknown or
    missing, for months, weekdays and hours, and the hashed words of each text. A tensor without
    columns is left out.

    >>> from gpunn.models import Model
    >>> age, kind = Feature("age", 30.0, 40.0, 10.0), Feature("kind", categories=["a", "b"])
    >>> model = Model(*prepared([kind, age]))
    >>> given = {"age": [50.0, None], "kind": ["b", "z"]}
    >>> [part.tolist() for part in model.predict(given, verbose=0)]
    [[[1.0], [-1.0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    """
    inputs: dict[str, Any] = {}
    filled, missing, encoded = [], [], []
    names = Names(feature.name for feature in features)
    for name, feature in zip(names.inputs, features, strict=True):
        number = feature.kind == "number"
        x = inputs[name] = Input((1,), dtype=None if number else "string", name=name)
        own = "" if number else names.free(f"{name} encoded")
        if feature.categories is not None:
            lookup = StringLookup(
                vocabulary=feature.categories, output_mode="one_hot", fold=True, name=own
            )
            encoded.append(lookup(x))
            continue
        if feature.positions:
            encoded.append(HashingVectorizer(feature.positions, name=own)(x))
            continue
        marked = x
        if feature.dates is not None:
            parts, day_first = [part.name for part in feature.parts], feature.dates.day_first
            if feature.cycles:
                cycles = names.free(f"{name} one-hot")
                encode = DatetimeEncoder(feature.cycles, day_first, one_hot=True, name=cycles)
                encoded.append(encode(x))
            if feature.gaps:  # one indicator, not one for each part
                alone = names.free(f"{name} encoded for its gaps")
                marked = DatetimeEncoder(parts[-1:], day_first, name=alone)(x)
            x = DatetimeEncoder(parts, day_first, name=own)(x)
        median = [number.median for number in feature.numbers]
        markers = list(feature.markers) or None
        imputer = SimpleImputer(
            statistics=median, missing_values=markers, name=names.free(f"{name} filled")
        )
        filled.append(imputer(x))
        if feature.unit != 1.0:
            unit = Rescaling(1 / feature.unit, name=names.free(f"{name} in its unit"))
            filled[-1] = unit(filled[-1])
        if feature.gaps:
            indicator = MissingIndicator(
                missing_values=markers, name=names.free(f"{name} missing")
            )
            missing.append(indicator(marked))

    def joined(parts: list[Any], name: str) -> Any:
        return parts[0] if len(parts) == 1 else Concatenate(name=names.free(name))(parts)

    scaled = []
    if filled:  # all at once: a separate layer for each of many columns is slow
        of = [number for feature in features for number in feature.numbers]
        x = joined(filled, "all numbers")
        if any(number.limits is not None for number in of):
            limits = robust.arrays([one.limits for one in of], [one.unit for one in of])
            x = ops.clip(x, *(np.array(ends, np.float32) for ends in limits))
        scale = Normalization(
            mean=[feature.mean / feature.unit for feature in of],
            variance=[(feature.deviation / feature.unit) ** 2 for feature in of],
            name=names.free("numbers scaled"),
        )
        scaled = [scale(x)]
    others = [joined(missing + encoded, "gaps and categories")] if missing + encoded else []
    return inputs, scaled + others
