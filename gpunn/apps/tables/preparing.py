"""A table's columns as inputs of a model, and the layers that prepare them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gpunn.common.names import closest, either, first_few
from gpunn.common.numeric.moments import deviation, mean
from gpunn.common.stored import ByName, Number, Several, Text
from gpunn.layers import (
    Concatenate,
    Input,
    MissingIndicator,
    Normalization,
    Rescaling,
    SimpleImputer,
    StringLookup,
)

from .cells import missing_among, numbers
from .kinds import Column
from .reading import Table, TableError

WIDEST = 20.0  # maximum range of a column, in deviations


class Range(NamedTuple):
    """Range of a numeric column in training, and whether all its values were whole numbers.

    ``percentiles`` are the 1st and the 99th, values of the column; None in files that lack them.
    """

    low: float
    high: float
    whole: bool = False
    percentiles: tuple[float, float] | None = None


@dataclass
class Feature:
    """A column that a model reads, and its statistics in training.

    Attributes:
        name: name of the column.
        median: for numbers, the value that replaces missing ones.
        mean, deviation: for numbers, the scaling.
        categories: for categories, the ones that are encoded; None for numbers.
        gaps: for numbers, whether any was missing in training: the model then gets an indicator.
        range: for numbers, the smallest and the largest; None if unknown.
        written: for numbers, the unit that is written with them; "" for none.
    """

    name: str
    median: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    categories: list[str] | None = None
    gaps: bool = False
    range: Range | None = None
    written: str = ""

    @property
    def unit(self) -> float:
        """The power of two that numbers are divided by: 1, unless float32 cannot hold their
        variance."""
        usual = 1e-6 < self.deviation < 1e18
        return 1.0 if usual else float(np.ldexp(1.0, np.frexp(self.deviation)[1]))

    @property
    def kind(self) -> str:
        return "number" if self.categories is None else "category"


def feature_of(column: Column, rows: np.ndarray) -> Feature:
    """Return a column's statistics for training, from the given rows only."""
    if column.kind == "category":
        known = {column.cells[i] for i in rows}
        found = [category for category in column.categories if category in known]
        return Feature(column.name, categories=found or column.categories)
    values = column.values[rows]
    missing = np.isnan(values)
    median = float(np.median(values[~missing])) if not missing.all() else 0.0
    filled = np.where(missing, median, values)
    # A nearly constant column, such as a border pixel, must not give huge scaled values.
    spread = max(float(deviation(filled)), float(np.ptp(filled)) / WIDEST) or 1.0
    return Feature(
        column.name, median, float(mean(filled)), spread, gaps=bool(missing.any()),
        range=_range(values[np.isfinite(values)]), written=column.unit,
    )  # fmt: skip


def _range(values: np.ndarray) -> Range | None:
    if not len(values):
        return None
    whole = bool((values == np.floor(values)).all())
    first = float(np.percentile(values, 1, method="lower"))
    last = float(np.percentile(values, 99, method="higher"))
    return Range(float(values.min()), float(values.max()), whole, (first, last))


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

    The first tensor holds the numbers, with missing values replaced by medians, and scaled. The
    second holds indicators of missing values, then a one-hot row for each categorical column, whose
    first position means unknown or missing. A tensor without columns is left out.

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
        if feature.categories is not None:
            x = inputs[name] = Input((1,), dtype="string", name=name)
            own = names.free(f"{name} encoded")
            lookup = StringLookup(vocabulary=feature.categories, output_mode="one_hot", name=own)
            encoded.append(lookup(x))
            continue
        x = inputs[name] = Input((1,), name=name)
        imputer = SimpleImputer(statistics=feature.median, name=names.free(f"{name} filled"))
        filled.append(imputer(x))
        if feature.unit != 1.0:
            unit = Rescaling(1 / feature.unit, name=names.free(f"{name} in its unit"))
            filled[-1] = unit(filled[-1])
        if feature.gaps:
            missing.append(MissingIndicator(name=names.free(f"{name} missing"))(x))

    def joined(parts: list[Any], name: str) -> Any:
        return parts[0] if len(parts) == 1 else Concatenate(name=names.free(name))(parts)

    scaled = []
    if filled:  # all at once: a separate layer for each of many columns is slow
        of = [feature for feature in features if feature.categories is None]
        scale = Normalization(
            mean=[feature.mean / feature.unit for feature in of],
            variance=[(feature.deviation / feature.unit) ** 2 for feature in of],
            name=names.free("numbers scaled"),
        )
        scaled = [scale(joined(filled, "all numbers"))]
    others = [joined(missing + encoded, "gaps and categories")] if missing + encoded else []
    return inputs, scaled + others


@dataclass
class TableModel:
    """A model's description of the table it was trained on, in ``model.trained_on["table"]``.

    Attributes:
        target: name of the column that it predicts.
        task: ``"classification"`` or ``"regression"``.
        columns: kind of each column that it reads, by name: ``"number"`` or ``"category"``.
        categories: the categories that it knows, by column.
        ranges: ranges of the numbers in training, by column.
        units: the units written with numbers, by column.
    """

    target: str
    task: str
    columns: dict[str, str]
    categories: dict[str, list[str]]
    ranges: dict[str, Range] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    @classmethod
    def to_learn(cls, target: str, task: str, features: Sequence[Feature]) -> TableModel:
        """Return the description for a model that is trained on these columns."""
        return cls(
            target,
            task,
            {feature.name: feature.kind for feature in features},
            {f.name: f.categories for f in features if f.categories is not None},
            {f.name: f.range for f in features if f.range is not None},
            {f.name: f.written for f in features if f.written},
        )

    def document(self) -> dict[str, Any]:
        """Return the entries for the model's file; the layers store the categories."""
        columns: list[dict[str, Any]] = []
        for name, kind in self.columns.items():
            columns.append({"name": name, "kind": kind})
            if name in self.ranges:
                low, high, whole, percentiles = self.ranges[name]
                columns[-1] |= {"range": [low, high], "whole": whole}
                if percentiles is not None:
                    columns[-1]["percentiles"] = [*percentiles]
            if name in self.units:
                columns[-1]["unit"] = self.units[name]
        return {"target": self.target, "task": self.task, "columns": columns}

    @classmethod
    def of(cls, model: Any) -> TableModel | None:
        """Return a model's description, or None if it was not trained on a table.

        Raises:
            ValueError: if an entry is invalid; the message names it.
        """
        document = model.trained_on.get("table")
        if document is None:
            return None
        place = "trained_on/table"
        entries = ByName().check(document, place)
        target = Text().check(entries.get("target"), f"{place}/target")
        task = _one_of(entries.get("task"), f"{place}/task", "classification", "regression")
        columns, ranges, units = {}, {}, {}
        listed = Several(ByName()).check(entries.get("columns"), f"{place}/columns")
        for i, entry in enumerate(listed):
            here = f"{place}/columns/{i}"
            name = Text().check(entry.get("name"), f"{here}/name")
            columns[name] = _one_of(entry.get("kind"), f"{here}/kind", "number", "category")
            if "range" in entry:
                two = Several(Number(finite=True), 2)
                low, high = sorted(two.check(entry["range"], f"{here}/range"))
                percentiles = None
                if "percentiles" in entry:
                    first, last = two.check(entry["percentiles"], f"{here}/percentiles")
                    if not low <= first <= last <= high:
                        raise ValueError(f"the entry '{here}/percentiles' is not within the range.")
                    percentiles = first, last
                ranges[name] = Range(low, high, entry.get("whole") is True, percentiles)
            if "unit" in entry:
                units[name] = Text().check(entry["unit"], f"{here}/unit")
        if Names(columns).inputs != list(model.graph.input_names):
            raise ValueError(f"the names in '{place}/columns' are not those of the model's inputs.")
        lookups = [layer for layer in model.layers if isinstance(layer, StringLookup)]
        named = [name for name, kind in columns.items() if kind == "category"]
        if len(lookups) != len(named):
            raise ValueError(f"the categories in '{place}/columns' are not those of the model.")
        categories = {
            name: lookup.get_vocabulary(include_special_tokens=False)
            for name, lookup in zip(named, lookups, strict=True)
        }
        return cls(target, task, columns, categories, ranges, units)

    def inputs(self, table: Table) -> tuple[dict[str, np.ndarray], list[str]]:
        """Return the model's inputs from a table, and notes for the user.

        Columns are matched by name, in any order; extra columns are ignored.

        Raises:
            TableError: if columns are missing, or have no number where numbers are expected.
        """
        lacking = [name for name in self.columns if name not in table.names]
        if lacking:
            are = either(len(lacking), "the column", "the columns")
            there = first_few(map(repr, table.names), 20)
            raise TableError(
                f"{table.path} lacks {are} {', '.join(map(repr, lacking[:20]))}; it has {there}."
                f"{closest(lacking[0], table.names)}"
            )
        found: dict[str, np.ndarray] = {}
        notes = []
        for to, (name, kind) in zip(Names(self.columns).inputs, self.columns.items(), strict=True):
            cells = table.column(name)
            if kind == "number":
                values, bad = numbers(cells, table.decimal, self.units.get(name, ""))
                found[to] = values[:, None]
                if bad and np.isnan(values).all():
                    raise TableError(
                        f"{table.path}: the column {name!r} holds no number, but for example "
                        f"{cells[bad[0]]!r}; the model was trained on numbers there."
                    )
                if bad:
                    are = (
                        "1 cell is not a number"
                        if len(bad) == 1
                        else f"{len(bad):,} cells are not numbers"
                    )
                    notes.append(f"{name}: {are}, such as {cells[bad[0]]!r}")
                continue
            nothing = missing_among(cells)
            made = [None if cell in nothing else cell for cell in cells]
            found[to] = np.array(made, object)[:, None]
            unknown = sorted({cell for cell in made if cell is not None} - {*self.categories[name]})
            if unknown:
                shown = first_few(map(repr, unknown), 5)
                notes.append(f"{name}: not among the categories of training: {shown}")
        return found, notes


def _one_of(value: Any, place: str, *known: str) -> str:
    if value not in known:
        raise ValueError(f"the entry {place!r} is {value!r}: {' or '.join(known)} expected.")
    return str(value)
