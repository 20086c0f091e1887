"""Evaluate a saved model on test images or on a table.

examples:
  gpunn evaluate runs/mnist/model.gpunn
  gpunn evaluate runs/mnist/model.gpunn --data fashion-mnist
  gpunn evaluate runs/mnist/model.gpunn --data my-digits --json
  gpunn evaluate runs/flowers/model.gpunn --data more-flowers.csv

Tables are read as by `gpunn train`. Columns are matched by name, in any order;
extra columns are ignored. The target must be one of the columns.
For a model trained on a folder of pictures, DIR has a subfolder for each class.
Otherwise it holds images and labels in MNIST's format and under its names,
plain or .gz: t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.decisions import Decision
from gpunn.apps.pictures import folder
from gpunn.apps.pictures.samples import as_samples, picture_shape
from gpunn.apps.reports.record import finite
from gpunn.apps.tables.reading.target import answers_of
from gpunn.apps.tables.scoring import all_figures
from gpunn.apps.tables.table_model import TableModel
from gpunn.common.names import counted
from gpunn.datasets import idx
from gpunn.datasets.dataset import locate
from gpunn.models import Model

from .arguments import (
    DATASETS,
    add_shared,
    data_or_path,
    print_result,
    saved_model,
)
from .predict_table import read_for
from .printing import metric

HELP = "evaluate a saved model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser, "model", "--max-parts")
    parser.add_argument(
        "--data",
        type=data_or_path,
        metavar="NAME|DIR|FILE",
        help="mnist, fashion-mnist, a folder, or a table for a model trained on tables (default: "
        "the data set that the model was trained on)",
    )
    add_shared(parser, "--max-columns", "--decimal", "--backend", "--json")


def run(args: argparse.Namespace) -> int:
    model = saved_model(args)
    table = TableModel.of(model)
    if table is not None:
        return _evaluate_table(args, model, table)
    data = args.data or model.name
    if args.data is None and data not in DATASETS:
        raise ValueError(f"The model's name {data!r} is not that of a data set: pass --data.")
    known = trained_on.known(model)
    x, y = _test_images(data, model.input_shape[1:], classes_of(model))
    if len(model.inputs) == 1:
        x = as_samples(x, model.input_shape[1:], known.get("prepared") == "mnist")
        if x.dtype == np.uint8:
            x, done = trained_on.scaled(x, known)
            for step in done:
                print(f"{data}: {step}", file=sys.stderr)
    figures = model.evaluate(x, y, verbose=0, return_dict=True)
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    result = {"data": data, "images": len(x), **figures}
    print_result(args, finite(result), f"{data}: {text} ({counted(len(x), 'image')})")
    return 0


def _evaluate_table(args: argparse.Namespace, model: Model, known: TableModel) -> int:
    if args.data is None or not os.path.isfile(args.data):
        raise ValueError(
            f"The model was trained on a table: pass --data FILE, a table with a column "
            f"{known.target!r}."
        )
    table = read_for(known, args.data, args)
    if known.target not in table.names:
        raise ValueError(
            f"{args.data} lacks the target {known.target!r}; without it use `gpunn predict`."
        )
    given, notes = known.inputs(table)
    rows, y, strange = answers_of(table, known.target, classes_of(model), known.decimal)
    for sentence in (*table.notes, *notes, *strange):
        print(f"{args.data}: {sentence}", file=sys.stderr)
    classes = len(classes_of(model))
    decision = Decision.of(trained_on.known(model))
    if decision.positive is None and classes:
        decision = Decision.usual(y, classes)
    found = all_figures(model.predict(given, verbose=0)[rows], y, classes, decision)
    text = ", ".join(f"{name} {metric(name, value)}" for name, value in found.items())
    if decision.positive is not None:
        text += f" of {classes_of(model)[decision.positive]!r}"
    result = {"data": args.data, "rows": len(rows), **found}
    print_result(args, finite(result), f"{args.data}: {text} ({counted(len(rows), 'row')})")
    return 0


def classes_of(model: Model) -> list[str]:
    """Return the names of the model's classes; empty for regression."""
    return list(trained_on.known(model).get("classes", []))


def _test_images(data: str, sample: tuple[Any, ...], classes: list[str]) -> tuple[Any, Any]:
    if data in DATASETS and not os.path.exists(data):
        return DATASETS[data].load_data()[1]
    if data in DATASETS:
        print(f"gpunn: {data} is a folder here: using it.", file=sys.stderr)
    if classes:
        found = folder.find(data, classes)
        folder.load(found, picture_shape(sample))
        for reason in found.unreadable:
            print(f"left out: {reason}", file=sys.stderr)
        return found.x, found.labels
    images = locate(Path(data), "t10k-images-idx3-ubyte")
    labels = locate(Path(data), "t10k-labels-idx1-ubyte")
    return idx.read(images), idx.read(labels)
