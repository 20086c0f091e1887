"""Look for problems in data before training a model on them.

examples:
  gpunn check-data mnist
  gpunn check-data flowers.csv --target species
  gpunn check-data train.csv --target price --test test.csv --fail-on warning
  gpunn check-data digits.npz --json

The checks find missing values, duplicates, contradicting or sorted labels,
classes of very different size, uninformative features, outliers, targets far
from 0, too little data, and test data that differ from the training data or
overlap with them; in a table also columns that alone tell the label.

A table (CSV with any separator, Parquet, Excel) has a row for each sample; its
first line may hold names. What `gpunn train` does by itself with a table, such
as filling in missing values or scaling numbers, is a note that says so. An
error is what it refuses, or test rows that are also training rows. Texts count
the rows of a table from 1, --json from 0.

An .npz file holds x and y, or x_train, y_train, x_test, y_test. The exit status
is 1 if there is a finding at least as severe as --fail-on.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from typing import Any

from gpunn.apps.data_checks import DataReport, check_data
from gpunn.apps.data_checks.tables import TableCheck
from gpunn.apps.tables import Table, read_table
from gpunn.apps.tables.reading.columns import columns_of, target_name
from gpunn.datasets.arrays import read_npz

from .arguments import DATASETS, add_shared, positive, print_result

HELP = "look for problems in data"

ROWS_SHOWN = 20  # per finding, in JSON

def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="NAME|FILE", help="mnist, fashion-mnist, a table or an .npz file")
    add("--test", metavar="FILE", help="test data, in a file of the same format")
    add("--target", metavar="COLUMN",
        help="name or index of the column of a table to predict, or 'none'")
    add("--task", choices=("classification", "regression"),
        help="the task (default: inferred from the labels)")
    add("--fail-on", choices=("note", "warning", "error"), default="error",
        help="lowest severity that makes the exit status 1 (default: error)")
    add("--max-bytes", type=positive, metavar="N",
        help="maximum bytes of the arrays in an .npz file (default: 2**30, or 16 times the file)")
    add_shared(parser, "--keep", "--max-columns", "--decimal", "--json")


def run(args: argparse.Namespace) -> int:
    report, features = _checked(args)
    result = {
        "summary": report.summary,
        "findings": [
            {
                "severity": finding.severity,
                "check": finding.check,
                "text": finding.text,
                "rows": finding.rows[:ROWS_SHOWN].tolist(),
                "columns": finding.columns[:ROWS_SHOWN].tolist(),
                "names": [features[i] for i in finding.columns[:ROWS_SHOWN]] if features else [],
            }
            for finding in report
        ],
    }
    print_result(args, result, str(report))
    return int(bool(report.at_least(args.fail_on)))


def _checked(args: argparse.Namespace) -> tuple[DataReport, list[str]]:
    """Return the findings, and for a table the names of its features."""
    if not os.path.exists(args.data) and args.data in DATASETS:
        train, test = DATASETS[args.data].load_data()
        return check_data(*train, *test, task=args.task), []
    if not os.path.exists(args.data):
        raise ValueError(
            f"{args.data} is neither a file nor a known data set: {', '.join(DATASETS)}."
        )
    if args.data in DATASETS:
        print(f"gpunn: {args.data} is a file here: using it.", file=sys.stderr)
    if not _is_npz(args.data):
        table = _table(args.data, args)
        test_table = None if args.test is None else _table(args.test, args)
        target = _target(table, args.target)
        columns = columns_of(table, target, keep=args.keep)
        check = TableCheck(table, target, args.task, test=test_table, columns=columns)
        return check.report(), check.features
    arrays = _read_npz(args.data, args.max_bytes)
    if args.test is not None:
        x_test, y_test, *_ = _read_npz(args.test, args.max_bytes)
        arrays = (*arrays[:2], x_test, y_test)
    return check_data(*arrays, task=args.task), []


def _table(path: str, args: argparse.Namespace) -> Table:
    table = read_table(path, max_columns=args.max_columns, decimal=args.decimal)
    if table.notes:
        print(f"{table.path}: {', '.join(table.notes)}", file=sys.stderr)
    return table


def _target(table: Table, target: str | None) -> str | None:
    """Return the name of the column that is meant; None for none."""
    if target is not None and target not in table.names:
        if target.isdecimal() and int(target) < len(table.names):
            return table.names[int(target)]
        if target.lower() == "none":
            return None
    return target_name(table, target)


def _is_npz(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def _read_npz(path: str, max_bytes: int | None) -> tuple[Any, Any, Any, Any]:
    arrays = read_npz(path, max_bytes=max_bytes)
    names = ("x_train", "y_train") if "x_train" in arrays else ("x", "y")
    if names[0] not in arrays:
        raise ValueError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; expected x or x_train."
        )
    x, y = (arrays.get(name) for name in names)
    return x, y, arrays.get("x_test"), arrays.get("y_test")
