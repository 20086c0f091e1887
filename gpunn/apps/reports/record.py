"""The record of a run as JSON lines: one for its beginning, one for each epoch, one for its end.

A killed run leaves a file without the last line. The content of a file is checked before use
(`docs/how-to/reports.md` describes it).
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpunn.common.atomic_files import atomic_write
from gpunn.common.markup.charts import LARGEST
from gpunn.common.stored import ByName, FieldSchema, Integer, Number, Several, Text, check

from .pictures import PICTURE

NAME = "run.jsonl"
VERSION = 1
MOST_BYTES = 64 << 20  # maximum size of a file to read

FIGURE = Number(or_none=True)  # None: not finite


class Picture(Text):
    """A PNG file as a data URL, which loads nothing."""

    expected = "a PNG file in base64"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and PICTURE.fullmatch(value) is not None


class Entries(FieldSchema):
    """A dictionary with declared entries.

    Args:
        kept: the declarations by name.
        added: values of the entries that files of earlier releases lack.
    """

    expected = "a dictionary"

    def __init__(
        self,
        kept: Mapping[str, FieldSchema] | None = None,
        added: Mapping[str, Any] | None = None,
        *,
        or_none: bool = False,
    ) -> None:
        super().__init__(or_none=or_none)
        self.kept, self.added = kept or {}, added or {}

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict)

    def _check(self, value: Any, entry: str) -> Any:
        return check(self.kept, {**self.added, **value} if self.fits(value) else value, entry)


TRIED: dict[str, FieldSchema] = {
    "model": Text(),
    "training": Text(),
    "chosen": Integer(0, 1),
    "loss": FIGURE,  # None: it diverged
    "error": FIGURE,
    "figures": ByName(FIGURE),
    "folds": Integer(1),
    "seconds": FIGURE,
    "parameters": Integer(),
}
BEGIN = {
    "gpunn_run": Integer(VERSION, VERSION),
    "name": Text(),
    "began": Text(),
    "epochs": Integer(),
    "settings": ByName(Text()),
    "layers": Several(Several(Text(), 3)),
    "environment": ByName(Text()),
    "command": Text(),
    "code": Text(),
    "trained": Text(),
    "tried": Several(Entries(TRIED)),
}
BEGIN_ADDED: dict[str, Any] = {"trained": "", "tried": []}
LAYER = {
    "layer": Text(),
    "gradient_norm": FIGURE,
    "weight_norm": FIGURE,
    "update_ratio": FIGURE,
    "dead": FIGURE,
    "saturated": FIGURE,
}
EPOCH = {
    "epoch": Integer(1),
    "seconds": Number(0, finite=True),
    "memory": Integer(or_none=True),
    "logs": ByName(FIGURE),
    "gradients": Several(Entries(LAYER)),
}
CELLS = Several(Several(Text(), 2))
NEAR: dict[str, FieldSchema] = {
    "row": Integer(),
    "target": Text(),
    "distance": Number(0, finite=True),
    "cells": CELLS,
}
CHANGE: dict[str, FieldSchema] = {
    "columns": Several(Several(Text(), 3)),  # name, old and new value
    "answer": Text(),
    "size": Number(0, finite=True),
}
WHY: dict[str, FieldSchema] = {
    "near": Several(Entries(NEAR)),
    "change": Entries(CHANGE, or_none=True),
}
ROW: dict[str, FieldSchema] = {
    "row": Integer(),
    "picture": Picture(or_none=True),
    "cells": CELLS,
    "why": Entries(WHY, or_none=True),
}
ROW_ADDED = {"why": None}
IMPORTANCE: dict[str, FieldSchema] = {"column": Text(), "increase": FIGURE, "error": FIGURE}
PART: dict[str, FieldSchema] = {
    "part": Text(), "rows": Integer(1), "of": Integer(1), "kind": Text(), "figures": ByName(FIGURE),
    "compared": ByName(ByName(FIGURE)), "importance": Several(Entries(IMPORTANCE)),
}
PART_ADDED: dict[str, Any] = {"compared": {}, "importance": []}
CLASSES = {
    **PART,
    "classes": Several(Text()),
    "confusion": Several(Several(Integer()), or_none=True),
    "confused": Several(Several(Integer(), 3)),
    "calibration": Several(Several(Number(0, finite=True), 3), or_none=True),
    "wrong": Integer(),
    "mistakes": Several(
        Entries({**ROW, "true": Integer(), "said": Integer(), "probability": FIGURE}, ROW_ADDED)
    ),
}
NUMBERS = {
    **PART,
    "points": Several(Several(Number(finite=True), 2)),
    "edges": Several(Number(finite=True)),
    "residuals": Several(Integer()),
    "mistakes": Several(
        Entries({**ROW, "true": FIGURE, "said": FIGURE, "error": FIGURE}, ROW_ADDED)
    ),
}
WEIGHTS = {
    "layer": Text(), "units": Integer(), "shown": Integer(), "bound": Number(0, finite=True),
    "table": Integer(0, 1), "picture": Picture(),
    "width": Integer(1, 4000), "height": Integer(1, 4000),
}


class Results(Entries):
    """The result of `results.results`."""

    def _check(self, value: Any, entry: str) -> Any:
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind not in ("classes", "numbers"):
            raise ValueError(f"the entry {entry!r} is of an unknown kind.")
        found = {**PART_ADDED, **value}
        found = check(CLASSES if kind == "classes" else NUMBERS, found, entry)
        if kind == "classes":
            _check_classes(found, entry)
        else:
            _check_numbers(found, entry)
        return found


def _check_classes(found: dict[str, Any], entry: str) -> None:
    count = len(found["classes"])
    numbers = [n for m in found["mistakes"] for n in (m["true"], m["said"])]
    numbers += [n for pair in found["confused"] for n in pair[:2]]
    if any(n >= count for n in numbers):
        raise ValueError(f"the entry {entry!r} names a class that it does not list.")
    rows = found["confusion"]
    if rows is not None and [len(row) for row in rows] != [count] * count:
        raise ValueError(f"the entry '{entry}/confusion' must hold {count} x {count} numbers.")


def _check_numbers(found: dict[str, Any], entry: str) -> None:
    edges = found["edges"]
    rising = all(low < high for low, high in itertools.pairwise(edges))
    if not rising or len(edges) < 2 or len(edges) != len(found["residuals"]) + 1:
        raise ValueError(f"the entry '{entry}/edges' does not fit the residuals.")
    if any(abs(value) > LARGEST for values in (edges, *found["points"]) for value in values):
        raise ValueError(f"the entry {entry!r} has values beyond {LARGEST:g}, which are not drawn.")


END = {
    "ended": Text(),
    "complete": Integer(0, 1),
    "seconds": Number(0, finite=True),
    "findings": Several(Text()),
    "data": Entries({"summary": Text(), "findings": Several(Several(Text(), 3))}, or_none=True),
    "results": Results(or_none=True),
    "why_none": Text(),
    "weights": Entries(WEIGHTS, or_none=True),
}


@dataclass
class Record:
    """The content of a run's file.

    Attributes:
        begin, epochs, end: as declared above; ``end`` is None during the run, or if it was
            killed.
    """

    begin: dict[str, Any]
    epochs: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    path: str = ""

    @property
    def name(self) -> str:
        return str(self.begin["name"])

    def rows_stored(self) -> int:
        """Return the number of rows of the data that it holds: mistakes, and those near them."""
        found = (self.end and self.end["results"]) or {"mistakes": []}
        near = {
            row["row"] for one in found["mistakes"] if one["why"] for row in one["why"]["near"]
        }
        return len(found["mistakes"]) + len(near)

    def lines(self) -> list[str]:
        parts = [self.begin, *self.epochs, *([self.end] if self.end is not None else [])]
        return [json.dumps(finite(part), allow_nan=False) + "\n" for part in parts]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, atomically."""
        atomic_write(path, [line.encode() for line in self.lines()])

    def figures(self) -> dict[str, list[float]]:
        """Return the values of each metric in the logs by epoch; NaN where there is none."""
        names = dict.fromkeys(name for epoch in self.epochs for name in epoch["logs"])
        return {name: [_number(e["logs"].get(name)) for e in self.epochs] for name in names}

    def gradients(self, figure: str) -> dict[str, list[float]]:
        """Return a gradient statistic of each layer by epoch; NaN where it was not measured."""
        names = dict.fromkeys(one["layer"] for e in self.epochs for one in e["gradients"])
        found = [{one["layer"]: one for one in e["gradients"]} for e in self.epochs]
        return {n: [_number(e.get(n, {}).get(figure)) for e in found] for n in names}


def read(path: str | os.PathLike[str]) -> Record:
    """Read the run in a folder or file, or raise ValueError, which names the invalid line."""
    path = os.fspath(path)
    if os.path.isdir(path):
        path = os.path.join(path, NAME)
    if os.path.getsize(path) > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES:,} bytes: not the record of a run.")
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    if lines[-1] == b"":
        del lines[-1]
    record: Record | None = None
    for number, line in enumerate(lines, 1):
        try:
            found = _parsed(line)
            if record is None:
                record = Record(Entries(BEGIN, BEGIN_ADDED).check(found, ""), path=path)
            elif record.end is not None:
                raise ValueError("unexpected line after the end of the run.")
            elif isinstance(found, dict) and "ended" in found:
                record.end = check(END, found, "")
            else:
                record.epochs.append(check(EPOCH, found, ""))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if record is None:
        raise ValueError(f"{path} is empty: not the record of a run.")
    return record


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_int=_integer)
    except (ValueError, RecursionError):
        raise ValueError("not a line of JSON, as in the record of a run.") from None


def _integer(text: str) -> int:
    if len(text) > 18:
        raise ValueError
    return int(text)


def finite(value: Any) -> Any:
    """Replace numbers that are not finite, which JSON does not support, by None."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(value) if isinstance(value, bool) else value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
