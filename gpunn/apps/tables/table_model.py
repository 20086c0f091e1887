"""A model's description of the table that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.common.names import closest, either, first_few, significant
from gpunn.common.stored import ByName, Number, Several, Text
from gpunn.core.plan import INPUT
from gpunn.layers import SimpleImputer
from gpunn.layers.preprocessing.dates import written

from .preparing import KINDS, READERS, Feature, Names, Range
from .reading.cells import missing_among, numbers, spelled_otherwise
from .reading.csv_pieces import TableError
from .reading.dates import Dates
from .reading.markers import without
from .reading.notation import SIGNS, Notation, check_sign
from .reading.strings import Strings
from .reading.table import Table

LARGEST = float(np.finfo(np.float32).max)


@dataclass
class TableModel:
    """A model's description of the table it was trained on, in ``model.trained_on["table"]``.

    Attributes:
        target: name of the column that it predicts.
        task: ``"classification"`` or ``"regression"``.
        columns: kind of each column that it reads, by name: ``"number"``, ``"category"``,
            ``"date"`` or ``"text"``.
        categories: the categories that it knows, by column.
        ranges: ranges of the numbers and dates in training, by column.
        units: the units written with numbers, by column.
        decimals: the decimal separators of numbers, by column, where cells show it.
        dates: how dates are written, by column.
        decimal: the decimal separator of the target; "" if its cells did not show it.
        markers: numbers that stand for a missing one, by column.
    """

    target: str
    task: str
    columns: dict[str, str]
    categories: dict[str, list[str]]
    ranges: dict[str, Range] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    decimals: dict[str, str] = field(default_factory=dict)
    dates: dict[str, Dates] = field(default_factory=dict)
    decimal: str = ""
    markers: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def to_learn(
        cls, target: str, task: str, features: Sequence[Feature], notation: Notation | None = None
    ) -> TableModel:
        """Return the description for a model that is trained on these columns."""
        return cls(
            target,
            task,
            {feature.name: feature.kind for feature in features},
            {f.name: f.categories for f in features if f.categories is not None},
            {f.name: f.range for f in features if f.range is not None},
            {f.name: f.written for f in features if f.written},
            {f.name: f.decimal for f in features if f.decimal},
            {f.name: f.dates for f in features if f.dates is not None},
            notation.decimal if notation is not None and notation.is_known else "",
            {f.name: f.markers for f in features if f.markers},
        )

    @property
    def sign(self) -> str:
        """The decimal separator of all training numbers; "" if cells showed none, or both."""
        found = {self.decimal, *self.decimals.values()} - {""}
        return found.pop() if len(found) == 1 else ""

    def document(self) -> dict[str, Any]:
        """Return the entries for the model's file; the layers store the categories, how dates are
        written, and what stands for a missing number."""
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
            if name in self.decimals:
                columns[-1]["decimal"] = self.decimals[name]
        document = {"target": self.target, "task": self.task, "columns": columns}
        return {**document, "decimal": self.decimal} if self.decimal else document

    @classmethod
    def of(cls, model: Any) -> TableModel | None:
        """Return a model's description, or None if it was not trained on a table; a ValueError
        names an invalid entry."""
        document = model.trained_on.get("table")
        if document is None:
            return None
        place = "trained_on/table"
        entries = ByName().check(document, place)
        target = Text().check(entries.get("target"), f"{place}/target")
        task = _one_of(entries.get("task"), f"{place}/task", "classification", "regression")
        classes = trained_on.known(model).get("classes", [])
        width = int(np.prod(model.output_shape[1:]))
        if width != (len(classes) or 1) or bool(classes) != (task == "classification"):
            raise ValueError(
                f"The model has {width} outputs but {len(classes)} classes, for the {task} in "
                f"'{place}/task'."
            )
        if len({*classes}) < len(classes):
            raise ValueError("the entry 'trained_on/classes' has a class twice.")
        decimal = entries.get("decimal", "")
        if decimal:
            _one_of(decimal, f"{place}/decimal", *SIGNS)
        columns, ranges, units, decimals = {}, {}, {}, {}
        listed = Several(ByName()).check(entries.get("columns"), f"{place}/columns")
        for i, entry in enumerate(listed):
            here = f"{place}/columns/{i}"
            name = Text().check(entry.get("name"), f"{here}/name")
            columns[name] = _one_of(entry.get("kind"), f"{here}/kind", *KINDS)
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
            if "decimal" in entry:
                decimals[name] = _one_of(entry["decimal"], f"{here}/decimal", *SIGNS)
        if Names(columns).inputs != list(model._graph.input_names):
            raise ValueError(f"the names in '{place}/columns' are not those of the model's inputs.")
        steps = [] if model._plan.host is None else model._plan.host.steps
        categories, dates, markers = {}, {}, {}
        for k, (name, kind) in enumerate(columns.items()):
            readers = [layer for layer, number in steps if number == INPUT - k]
            if kind != "number" and {type(layer) for layer in readers} != {READERS[kind]}:
                raise ValueError(f"the kinds in '{place}/columns' are not those of the model.")
            if kind == "category":
                categories[name] = readers[0].get_vocabulary(include_special_tokens=False)
            found = next((x.missing_values for x in readers if isinstance(x, SimpleImputer)), None)
            if kind == "number" and found is not None:
                markers[name] = tuple(np.atleast_1d(found).tolist())
            if kind == "date":
                features = [feature for layer in readers for feature in layer.features]
                dates[name] = Dates.encoded_as(features, readers[0].day_first)
        return cls(
            target, task, columns, categories, ranges, units, decimals, dates, decimal, markers
        )

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
            cells = Strings.of(table.column(name))
            if kind in ("number", "date"):
                nouns = "number", "numbers"
                unit = f" in {self.units[name]}" if name in self.units else ""
                if kind == "number":
                    values, bad = self._numbers(table, name, cells)
                    if len(beyond := np.flatnonzero(np.abs(values) > LARGEST)):
                        values = np.where(np.abs(values) > LARGEST, np.nan, values)
                        are = either(len(beyond), "number is", "numbers are")
                        notes.append(
                            f"{name}: {len(beyond):,} {are} beyond float32 and missing here, such "
                            f"as {cells[beyond[0]]!r} in row {beyond[0] + 1:,}"
                        )
                    found[to] = values[:, None]
                else:
                    nouns = self.dates[name].nouns
                    values, bad = self.dates[name].read(cells)
                    found[to] = np.array(cells, object)[:, None]
                    found[to][np.isnan(values)] = None
                if bad and np.isnan(values).all():
                    raise TableError(
                        f"{table.path}: the column {name!r} holds no {nouns[0]}, but for example "
                        f"{cells[bad[0]]!r}; the model was trained on {nouns[1]}{unit} there."
                    )
                notes += self._far_outside(name, values, cells)
                if bad:
                    are = either(len(bad), f"cell is not a {nouns[0]}", f"cells are not {nouns[1]}")
                    if unit:
                        count = either(len(bad), "counts", "count")
                        are += f"{unit}, as in training, and {count} as missing"
                    notes.append(f"{name}: {len(bad):,} {are}, such as {cells[bad[0]]!r}")
                continue
            different = cells.counts()
            nothing = missing_among(different)
            otherwise: dict[str, str] = {}
            if kind == "category":
                others = different.keys() - nothing - {*self.categories[name]}
                otherwise = spelled_otherwise(others, self.categories[name])
            found[to] = cells.replaced({**dict.fromkeys(nothing), **otherwise})[:, None]
            if kind == "text":
                continue
            unknown = sorted(others - otherwise.keys())
            if unknown:
                shown = first_few(map(repr, unknown), 5)
                notes.append(f"{name}: not among the categories of training: {shown}")
        return found, notes

    def _far_outside(self, name: str, values: np.ndarray, cells: Sequence[str]) -> list[str]:
        """Return a note on values that are further from the range of training than it is wide."""
        if name not in self.ranges:
            return []
        low, high, *_ = self.ranges[name]
        far = np.flatnonzero(np.maximum(low - values, values - high) > high - low)
        if not len(far):
            return []
        ends = [significant(end, 6) for end in (low, high)]
        if self.columns[name] == "date":
            ends = [written(end, self.dates[name].form) for end in (low, high)]
        are = either(len(far), "value is", "values are")
        return [
            f"{name}: {len(far):,} {are} far outside those of training ({ends[0]} to {ends[1]}), "
            f"such as {cells[far[0]]!r} in row {far[0] + 1:,}: the model knows nothing of such rows"
        ]

    def _numbers(self, table: Table, name: str, cells: Strings) -> tuple[np.ndarray, list[int]]:
        """Read a column of numbers as they were written in training."""
        notation = table.notation_of(name, self.decimals.get(name, ""))
        values, bad = numbers(cells, notation.decimal, self.units.get(name, ""))
        check_sign(f"{table.path}: the column {name!r}", cells, bad, notation)
        return without(values, self.markers.get(name, ())), bad


def _one_of(value: Any, place: str, *known: str) -> str:
    if value not in known:
        raise ValueError(f"the entry {place!r} is {value!r}: {' or '.join(known)} expected.")
    return str(value)
