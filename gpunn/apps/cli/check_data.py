"""Look for problems in data before training a model on them."""

from __future__ import annotations

import argparse
import os
import sys
import zipfile

from gpunn.apps.data_checks import DataReport, check_data
from gpunn.apps.data_checks.checked_data import SEVERITIES
from gpunn.apps.data_checks.tables import CheckArguments, read_tables
from gpunn.datasets.arrays import read_npz

from .arguments import DATASETS, add_json, add_max_columns, positive, print_result

HELP = "look for problems in data"
EXAMPLES = """\
examples:
  gpunn check-data mnist
  gpunn check-data flowers.csv --target species
  gpunn check-data train.csv --test test.csv --fail-on warning
  gpunn check-data digits.npz --json

The checks find missing values, duplicates, contradicting or sorted labels,
classes of very different size, uninformative features, outliers, targets far
from 0, too little data, and test data that differ from the training data or
overlap with them.

A table (CSV with any separator, Parquet, Excel) has a row for each sample; its
first line may hold names. An .npz file holds x and y, or x_train, y_train,
x_test, y_test. The exit status is 1 if there is a finding at least as severe as
--fail-on.
"""

ROWS_SHOWN = 20  # per finding, in JSON

def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="NAME|FILE", help="mnist, fashion-mnist, a table or an .npz file")
    add("--test", metavar="FILE", help="test data, in a file of the same format")
    add("--target", metavar="COLUMN",
        help="name or index of a table's label column, or 'none' (default: the last column)")
    add("--task", choices=("classification", "regression"),
        help="the task (default: inferred from the labels)")
    add("--fail-on", choices=("note", "warning", "error"), default="error",
        help="lowest severity that makes the exit status 1 (default: error)")
    add("--max-bytes", type=positive, metavar="N",
        help="maximum bytes of the arrays in an .npz file (default: 2**30, or 16 times the file)")
    add_max_columns(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    given = _read(args)
    report = checked(given, args.task)
    result = {
        "summary": report.summary,
        "findings": [
            {
                "severity": finding.severity,
                "check": finding.check,
                "text": finding.text,
                "rows": finding.rows[:ROWS_SHOWN].tolist(),
                "columns": finding.columns[:ROWS_SHOWN].tolist(),
                "names": [given.features[i] for i in finding.columns[:ROWS_SHOWN]]
                if given.features
                else [],
            }
            for finding in report
        ],
    }
    print_result(args, result, str(report))
    return int(bool(report.at_least(args.fail_on)))


def checked(given: CheckArguments, task: str | None) -> DataReport:
    """Return the findings of the checks, together with those of reading the data."""
    report = check_data(
        given.x, given.y, given.x_test, given.y_test,
        task=task, names=given.names, categories=given.categories,
    )  # fmt: skip
    if given.places is not None:
        if given.y is not None and given.y.dtype.kind not in "biuf" and len(set(given.y)) > 1:
            # Class names, which `gpunn train` numbers by itself.
            report.findings = [finding for finding in report if finding.check != "labels"]
        for finding in report:
            finding.columns = given.places[finding.columns]
    report.findings = sorted(
        [*given.findings, *report], key=lambda f: -SEVERITIES.index(f.severity)
    )
    return report


def _read(args: argparse.Namespace) -> CheckArguments:
    if not os.path.exists(args.data) and args.data in DATASETS:
        train, test = DATASETS[args.data].load_data()
        return CheckArguments(*train, *test)
    if not os.path.exists(args.data):
        raise ValueError(
            f"{args.data} is neither a file nor a known data set: {', '.join(DATASETS)}."
        )
    if args.data in DATASETS:
        print(f"gpunn: {args.data} is a file here: using it.", file=sys.stderr)
    if not _is_npz(args.data):
        return read_tables(args.data, args.test, args.target, args.max_columns)
    given = _read_npz(args.data, args.max_bytes)
    if args.test is not None:
        test = _read_npz(args.test, args.max_bytes)
        given.x_test, given.y_test = test.x, test.y
    return given


def _is_npz(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def _read_npz(path: str, max_bytes: int | None) -> CheckArguments:
    arrays = read_npz(path, max_bytes=max_bytes)
    names = ("x_train", "y_train") if "x_train" in arrays else ("x", "y")
    if names[0] not in arrays:
        raise ValueError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; expected x or x_train."
        )
    x, y = (arrays.get(name) for name in names)
    return CheckArguments(x, y, arrays.get("x_test"), arrays.get("y_test"))
