"""Requests to a model that was trained on a table, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.predictions import interval_columns, predicted
from gpunn.apps.tables.reading.strings import Strings
from gpunn.apps.tables.reading.table import Table
from gpunn.apps.tables.reading.values import text_of
from gpunn.apps.tables.table_model import LARGEST, TableModel
from gpunn.common.names import closest, first_few

from .bodies import Question, Refused, document, kind_of, only, shown

_TAKEN: dict[str, tuple[tuple[type, ...], str]] = {
    "number": ((int, float), "a number or null"),
    "date": ((str, int), "a text with a {} or null"),
    "category": ((str, int, float, bool), "a text, a number or null"),
    "text": ((str, int, float, bool), "a text or null"),
}
"""By the kind of a column, what its cells may be, and how that is called."""


class Rows:
    """A model that takes the rows of a table, by the names of the columns.

    A request must have just the columns that the model reads. `gpunn predict`, which reads whole
    files, ignores others and takes cells that are no numbers as missing.
    """

    def __init__(self, model: Any, table: TableModel) -> None:
        self._model, self._table = model, table
        self._known = trained_on.known(model)

    def schema(self) -> dict[str, Any]:
        """Return what the model takes and gives."""
        return {
            "columns": self._table.columns,
            "target": self._table.target,
            **({"classes": self._known["classes"]} if "classes" in self._known else {}),
        }

    def first(self) -> dict[str, np.ndarray] | None:
        """Return a row of missing values, with which to prepare the model."""
        nothing = [[""] for _ in self._table.columns]
        return self._table.inputs(Table("", [*self._table.columns], nothing, "."))[0]

    def read(self, body: bytes, kind: str) -> Question:
        """Return the question in a body of JSON."""
        if kind == "image":
            raise Refused(415, "the model takes rows of a table: send JSON, see GET /")
        found = document(body)
        key = only(found, "rows", "columns")
        columns = self._of_rows(found[key]) if key == "rows" else self._of_columns(found[key])
        cells = {
            name: Strings([self._cell(name, row, value) for row, value in enumerate(values)])
            for name, values in columns.items()
        }
        for name, dates in self._table.dates.items():
            _, bad = dates.read(cells[name])
            if bad:
                raise self._refused(name, bad[0], kind_of(cells[name][bad[0]]))
        inputs, notes = self._table.inputs(Table("the body", [*cells], [*cells.values()], "."))
        return Question(inputs, partial(self._answer, notes))

    def _of_rows(self, rows: Any) -> dict[str, list[Any]]:
        if not isinstance(rows, list) or not rows:
            raise Refused(400, "rows must be a list of at least one row, each an object")
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise Refused(400, f"rows[{number}] is {kind_of(row)}; an object is expected")
            self._check(row, f"rows[{number}]")
        return {name: [row[name] for row in rows] for name in self._table.columns}

    def _of_columns(self, columns: Any) -> dict[str, list[Any]]:
        if not isinstance(columns, dict):
            raise Refused(400, f"columns is {kind_of(columns)}; an object of lists is expected")
        self._check(columns, "columns")
        for name, values in columns.items():
            if not isinstance(values, list) or not values:
                raise Refused(400, f"the column {name!r} must be a list of at least one value")
        first, *others = self._table.columns
        for name in others:
            if len(columns[name]) != len(columns[first]):
                raise Refused(
                    400,
                    f"the column {name!r} has {len(columns[name]):,} values, {first!r} has "
                    f"{len(columns[first]):,}",
                )
        return {name: columns[name] for name in self._table.columns}

    def _check(self, given: dict[str, Any], place: str) -> None:
        """Refuse missing and surplus columns."""
        known = self._table.columns
        if given.keys() == known.keys():
            return
        said = first_few(map(repr, known), 20)
        for name in known:
            if name not in given:
                hint = closest(name, [*given][:100])
                raise Refused(400, f"{place} lacks the column {name!r}; expected: {said}.{hint}")
        surplus = next(name for name in given if name not in known)
        raise Refused(
            400, f"{place} has the column {shown(surplus)}, which the model does not read: {said}"
        )

    def _cell(self, name: str, row: int, value: Any) -> str:
        """Return a value as it would stand in a file."""
        if value is None:
            return ""
        kind = self._table.columns[name]
        taken, _ = _TAKEN[kind]
        if not isinstance(value, taken) or (isinstance(value, bool) and bool not in taken):
            raise self._refused(name, row, kind_of(value))
        if isinstance(value, (int, float)) and abs(value) > LARGEST:
            raise Refused(400, f"row {row} of the column {name!r} has a number beyond float32")
        return text_of(value)

    def _refused(self, name: str, row: int, found: str) -> Refused:
        kind = self._table.columns[name]
        noun = self._table.dates[name].nouns[0] if kind == "date" else ""
        expected = _TAKEN[kind][1].format(noun)
        return Refused(400, f"row {row} of the column {name!r} is {found}; expected: {expected}")

    def _answer(self, notes: Sequence[str], outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return what `gpunn predict --json` prints, and its notes on unusual values."""
        values, target = next(iter(outputs.values())), self._table.target
        made = predicted(values, target, self._known)
        made |= interval_columns(self._model, values, target, self._known)
        rows = [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
        return {"predictions": rows, **({"notes": [*notes]} if notes else {})}
