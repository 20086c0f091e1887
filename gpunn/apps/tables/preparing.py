"""The columns of a table as the numbers that a network takes, and back from a model's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.common.stored import ByName, Number, Several, Text

from .cells import is_missing, numbers
from .kinds import Column
from .reading import Table, TableError


@dataclass
class Feature:
    """A column that the model reads.

    Attributes:
        name: of the column.
        median: of a number, what stands for a missing one.
        mean, deviation: of a number, what it is scaled by.
        categories: of a category, those that have a place; None for a number.
        gaps: whether something was missing in training: then a place says that it is.
    """

    name: str
    median: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    categories: list[str] | None = None
    gaps: bool = False

    @property
    def width(self) -> int:
        """Numbers that are made of it."""
        if self.categories is None:
            return 1 + self.gaps
        return len(self.categories) + 1


def feature_of(column: Column, rows: np.ndarray) -> Feature:
    """What training needs to know of a column, by these rows of it alone."""
    if column.kind == "category":
        known = {column.cells[i] for i in rows}
        found = [c for c in column.categories if c in known]
        return Feature(column.name, categories=found, gaps=bool(column.missing[rows].any()))
    values = column.values[rows]
    known = values[~np.isnan(values)]
    median = float(np.median(known)) if len(known) else 0.0
    filled = np.where(np.isnan(values), median, values)
    deviation = float(filled.std()) or 1.0
    return Feature(
        column.name, median, float(filled.mean()), deviation, gaps=bool(column.missing[rows].any())
    )


def matrix(features: Sequence[Feature], table: Table) -> tuple[np.ndarray, list[str]]:
    """Rows of float32 for a network, and what is to be said of the table.

    Columns are found by their names; their order and surplus ones do not count.

    Raises:
        TableError: naming the columns that are not there.
    """
    lacking = [f.name for f in features if f.name not in table.names]
    if lacking:
        are = "the column" if len(lacking) == 1 else "the columns"
        raise TableError(
            f"{table.path} lacks {are} {', '.join(map(repr, lacking[:20]))}; it has "
            f"{', '.join(map(repr, table.names[:20]))}{', ...' if len(table.names) > 20 else ''}."
        )
    result = np.zeros((table.rows, sum(f.width for f in features)), np.float32)
    said = []
    at = 0
    for feature in features:
        cells = table.column(feature.name)
        if feature.categories is None:
            values, bad = numbers(cells, table.decimal)
            missing = np.isnan(values)
            if bad:
                said.append(f"{feature.name}: {len(bad):,} cells no numbers, as {cells[bad[0]]!r}")
            values = np.where(missing, feature.median, values)
            result[:, at] = (values - feature.mean) / feature.deviation
            if feature.gaps:
                result[:, at + 1] = missing
        else:
            place = {category: i + 1 for i, category in enumerate(feature.categories)}
            codes = np.array([place.get(cell, 0) for cell in cells])
            result[np.arange(table.rows), at + codes] = 1
            unknown = sorted({c for c in cells if c not in place and not is_missing(c)})
            if unknown:
                shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
                said.append(f"{feature.name}: not among the categories of training: {shown}")
        at += feature.width
    return result, said


# -- in a model's file

_COLUMN = {
    "name": Text(),
    "median": Number(finite=True),
    "mean": Number(finite=True),
    "deviation": Number(0, finite=True),
}


def to_document(features: Sequence[Feature]) -> list[dict[str, Any]]:
    return [
        {"name": f.name, "categories": f.categories, "gaps": f.gaps}
        if f.categories is not None
        else {"name": f.name, "median": f.median, "mean": f.mean, "deviation": f.deviation,
              "gaps": f.gaps}
        for f in features
    ]  # fmt: skip


def from_document(document: Any, place: str) -> list[Feature]:
    """The features that `to_document` described.

    Raises:
        ValueError: naming an entry that is not what it should be.
    """
    features = []
    for i, entry in enumerate(Several(ByName()).check(document, place)):
        where = f"{place}/{i}"
        gaps = entry.get("gaps")
        if not isinstance(gaps, bool):
            raise ValueError(f"the entry '{where}/gaps' is {gaps!r}: true or false expected.")
        if "categories" in entry:
            names = Several(Text()).check(entry["categories"], f"{where}/categories")
            name = Text().check(entry.get("name"), f"{where}/name")
            features.append(Feature(name, categories=names, gaps=gaps))
        else:
            values = {k: kept.check(entry.get(k), f"{where}/{k}") for k, kept in _COLUMN.items()}
            features.append(Feature(**values, gaps=gaps))
    return features


@dataclass
class TableModel:
    """What a model says of the table that it was trained on, in ``model.trained_on["table"]``.

    Attributes:
        target: name of the column that it predicts.
        task: ``"classification"`` or ``"regression"``.
        features: the columns that it reads, in their order.
    """

    target: str
    task: str
    features: list[Feature]

    def document(self) -> dict[str, Any]:
        """As it stands in the model's file."""
        columns = to_document(self.features)
        return {"target": self.target, "task": self.task, "columns": columns}

    @classmethod
    def of(cls, model: Any) -> TableModel | None:
        """That of a model, None if it was not trained on a table.

        Raises:
            ValueError: naming an entry that is not what it should be.
        """
        document = model.trained_on.get("table")
        if document is None:
            return None
        place = "trained_on/table"
        entries = ByName().check(document, place)
        texts = [Text().check(entries.get(k), f"{place}/{k}") for k in ("target", "task")]
        if texts[1] not in ("classification", "regression"):
            raise ValueError(f"the entry '{place}/task' is {texts[1]!r}.")
        features = from_document(entries.get("columns"), f"{place}/columns")
        width = sum(f.width for f in features)
        if model.input_shape[1:] != (width,):
            raise ValueError(
                f"the columns in '{place}' make {width} numbers, the model takes "
                f"{model.input_shape[1:]}."
            )
        return cls(texts[0], texts[1], features)
