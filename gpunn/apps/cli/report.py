"""Write a page about a run of `gpunn train`, or one that compares several runs.

examples:
  gpunn report runs/mnist                   writes runs/mnist/report.html
  gpunn report runs/*                       compares them, in runs/report.html
  gpunn report runs/mnist -o mnist.html --no-data

The page is a single printable file for any browser; it needs no scripts and no
network. It shows curves, the confusion matrix, calibration, the worst mistakes
(for regression: predictions and residuals), settings, findings of the data
checks, the first layer's weights, gradients by layer, time and memory, versions
and the command. For a table it also shows which models were tried, which columns
matter, and why mistakes were made. Interrupted and unfinished runs have a page
too.

The page is made from run.jsonl, which `gpunn train` and
callbacks.Report(record=...) write. The worst mistakes, and the training rows
near them, are rows of your data: --no-data leaves them out.
"""

from __future__ import annotations

import argparse
import os
import sys

from gpunn.apps.reports import Record, read, report
from gpunn.apps.reports.record import NAME
from gpunn.common.atomic_files import atomic_write
from gpunn.common.names import counted

from .arguments import add_shared, check_page

HELP = "write a report of a run, or compare several"
PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help=f"a folder with a {NAME}, or the file itself"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=f"the page (default: {PAGE} in the run's folder, "
        "or in the common parent folder of several)",
    )
    parser.add_argument(
        "--no-data", action="store_true", help="leave rows of the data out of the page"
    )
    add_shared(parser, "--force")


def run(args: argparse.Namespace) -> int:
    runs = _read(args.runs)
    path = args.output or os.path.join(_folder(runs), PAGE)
    check_page(path, args.force)
    text = report(runs, not args.no_data).encode()
    atomic_write(path, [text])
    rows = runs[0].rows_stored() if len(runs) == 1 and not args.no_data else 0
    contents = f"with {counted(rows, 'row')} of the data" if rows else "without rows of the data"
    print(f"Saved {path}, {len(text) / 1000:,.0f} KB, {contents}")
    return 0


def _read(paths: list[str]) -> list[Record]:
    """Read the runs; of several paths, skip those that are not runs."""
    found = []
    for path in paths:
        place = os.path.join(path, NAME) if os.path.isdir(path) else path
        if os.path.isdir(path) and not os.path.exists(place):
            problem = f"{path} has no {NAME}, which `gpunn train` writes."
        elif len(paths) > 1 and not place.endswith(".jsonl"):
            problem = f"{path} is not a run."
        else:
            found.append(read(place))
            continue
        if len(paths) == 1:
            raise ValueError(problem)
        if os.path.basename(path) == PAGE:
            continue  # the page of an earlier call, matched by runs/*
        print(f"gpunn: left out: {problem}", file=sys.stderr)
    if not found:
        raise ValueError("None of the paths is a run.")
    return found


def _folder(runs: list[Record]) -> str:
    folders = [os.path.dirname(os.path.abspath(run.path)) for run in runs]
    if len(folders) == 1:
        return os.path.dirname(runs[0].path) or "."
    return os.path.relpath(os.path.commonpath(folders))
