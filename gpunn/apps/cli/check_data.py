"""Look for what may be wrong with data before a model is trained on them."""

from __future__ import annotations

import argparse
import math
import os
from typing import Any

import numpy as np

from gpunn.apps.data_checks import check_data
from gpunn.datasets.arrays import read_npz
from gpunn.datasets.tables import read_rows

from .arguments import DATASETS, add_json, positive, print_result

HELP = "what may be wrong with data"
EXAMPLES = """\
examples:
  gpunn check-data mnist
  gpunn check-data flowers.csv --target species
  gpunn check-data train.csv --test test.csv --fail-on warning
  gpunn check-data digits.npz --json

Found are missing values, duplicates, labels that contradict each other or come
in order, classes of very different size, features that say nothing, outliers,
too little data, and test data unlike the training data or among them.

A CSV file has a row for each sample; its first line may hold names. An .npz
file holds x and y, or x_train, y_train, x_test, y_test. The exit status is 1 if
something as severe as --fail-on says was found.
"""

MISSING = ("", "na", "nan", "n/a", "null", "none", "?")
ROWS_SHOWN = 20  # of a finding, in JSON

Table = tuple[np.ndarray, "np.ndarray | None", "list[str] | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="NAME|FILE", help="mnist, fashion-mnist, a .csv or an .npz file")
    add("--test", metavar="FILE", help="test data, in a file of the same form")
    add("--target", metavar="COLUMN",
        help="name or number of a CSV file's column of labels (default: the last; 'none': none)")
    add("--task", choices=("classification", "regression"), help="default: told from the labels")
    add("--fail-on", choices=("note", "warning", "error"), default="error",
        help="the least severity that makes the exit status 1 (default: error)")
    add("--max-bytes", type=positive, metavar="N",
        help="that the arrays of an .npz file may have (default: 2**30, or 16 times the file)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    (x, y, names), (x_test, y_test) = _read(args)
    report = check_data(x, y, x_test, y_test, task=args.task, names=names)
    result = {
        "summary": report.summary,
        "findings": [
            {
                "severity": finding.severity,
                "check": finding.check,
                "text": finding.text,
                "rows": finding.rows[:ROWS_SHOWN].tolist(),
                "columns": finding.columns[:ROWS_SHOWN].tolist(),
            }
            for finding in report
        ],
    }
    print_result(args, result, str(report))
    return int(bool(report.at_least(args.fail_on)))


def _read(args: argparse.Namespace) -> tuple[Table, tuple[Any, Any]]:
    if args.data in DATASETS:
        (x, y), test = DATASETS[args.data].load_data()
        return (x, y, None), test
    if not os.path.exists(args.data):
        raise ValueError(
            f"{args.data} is no file, and no data set that is known: {', '.join(DATASETS)}."
        )
    train, test = _read_file(args.data, args.target, args.max_bytes)
    if args.test is not None:
        (x, y, names), _ = _read_file(args.test, args.target, args.max_bytes)
        if names != train[2]:
            raise ValueError(f"{args.test} has the columns {names}, {args.data} has {train[2]}.")
        test = x, y
    return train, test


def _read_file(
    path: str, target: str | None, max_bytes: int | None
) -> tuple[Table, tuple[Any, Any]]:
    """x, y and names of the features; and x and y for testing, where the file has them."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        return _read_npz(path, max_bytes)
    return _read_csv(path, target), (None, None)


def _read_npz(path: str, max_bytes: int | None) -> tuple[Table, tuple[Any, Any]]:
    arrays = read_npz(path, max_bytes=max_bytes)
    names = ("x_train", "y_train") if "x_train" in arrays else ("x", "y")
    if names[0] not in arrays:
        raise ValueError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; x or x_train is expected."
        )
    x, y = (arrays.get(name) for name in names)
    assert x is not None
    return (x, y, None), (arrays.get("x_test"), arrays.get("y_test"))


def _read_csv(path: str, target: str | None) -> Table:
    lines = read_rows(path)
    if not lines:
        raise ValueError(f"{path} has no rows.")
    width = len(lines[0])
    for number, row in enumerate(lines, 1):
        if len(row) != width:
            raise ValueError(
                f"{path}: row {number} has {len(row)} values, the first one has {width}."
            )
    head = all(_number(cell) is None for cell in lines[0])
    names = [cell.strip() for cell in lines[0]] if head else [str(i) for i in range(width)]
    rows = lines[head:]
    if not rows:
        raise ValueError(f"{path} has names of columns, and no rows.")
    columns = [_column([row[i] for row in rows]) for i in range(width)]
    at = _target(path, names, target)
    y = None if at is None else columns.pop(at)
    if at is not None:
        names.pop(at)
    if not columns:
        raise ValueError(f"{path} has a single column, the labels: there are no features.")
    mixed = any(column.dtype.kind == "O" for column in columns)
    return np.column_stack([c.astype(object) if mixed else c for c in columns]), y, names


def _target(path: str, names: list[str], target: str | None) -> int | None:
    if target is None:
        return len(names) - 1
    if target in names:
        return names.index(target)
    if target.isdecimal() and int(target) < len(names):
        return int(target)
    if target.lower() == "none":
        return None
    raise ValueError(f"{path} has no column {target!r}; its columns are {', '.join(names)}.")


def _column(cells: list[str]) -> np.ndarray:
    """The cells as numbers, missing ones as NaN; as texts if one is neither."""
    numbers = [_number(cell) for cell in cells]
    if any(number is None for number in numbers):
        return np.array([cell.strip() for cell in cells], object)
    values = np.array(numbers, np.float64)
    whole = all(math.isfinite(v) and cell.strip().lstrip("+-").isdecimal()
                for v, cell in zip(values, cells, strict=True))
    return values.astype(np.int64) if whole else values


def _number(cell: str) -> float | None:
    if cell.strip().lower() in MISSING:
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return None
