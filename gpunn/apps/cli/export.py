"""Export a saved model as a web page that runs it in any browser, or as ONNX.

examples:
  gpunn export runs/mnist/model.gpunn mnist.html
  gpunn export digits.gpunn digits.html --like mnist
  gpunn export runs/mnist/model.gpunn mnist.onnx

A page is a single file that needs no network and no Python: the model runs in
the browser. For pictures the page has a pad to draw on by mouse, touch, pen or
keys; it shows the predicted probabilities and the activations of each layer.
Drawings are prepared as `gpunn predict` prepares pictures. For two inputs the
page shows the plane and the model's output at each point. For tables it has a
form with a field for each column, and shows how the output changes along each.

A file that ends in .onnx is for other programs; it takes the package onnx. It
includes the preparation of numbers, strings and the columns of a table. What
has no counterpart in ONNX is named, and nothing is written.

Whoever has the file has the model: its weights and the names of its classes.
The command prints what the file holds of the data.
"""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any

from gpunn.apps import trained_on
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.web.model_page import model_page
from gpunn.apps.web.table_form import table_notes
from gpunn.common.atomic_files import atomic_write
from gpunn.common.names import counted, first_few

from .arguments import add_shared, check_page, saved_model

HELP = "export a saved model as a web page or as ONNX"
ENDINGS = (".html", ".htm", ".onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser, "model", "--max-parts")
    parser.add_argument("page", metavar="FILE", help="the file to write, .html or .onnx")
    parser.add_argument(
        "--like", choices=("mnist",),
        help="prepare drawings as MNIST's digits, for a model whose file does not record it",
    )
    add_shared(parser, "--force")


def run(args: argparse.Namespace) -> int:
    if not args.page.lower().endswith(ENDINGS):
        raise ValueError(f"{args.page}: the name must end in {', '.join(ENDINGS)}.")
    onnx = args.page.lower().endswith(".onnx")
    if onnx and args.like:
        raise ValueError("--like prepares drawings on a page; leave it out for ONNX.")
    check_page(args.page, args.force)
    model = saved_model(args)
    table = TableModel.of(model)
    if onnx:
        try:
            model.export(args.page)
        except ValueError as error:
            kinds = table.columns if table else {}
            names = [name for name, kind in kinds.items() if kind in ("date", "text")]
            if not names:
                raise
            without = shlex.join(["--leave-out", *names])
            raise ValueError(f"{error} With `gpunn train`, pass {without}.") from None
        size = os.path.getsize(args.page) / 1000
        print(f"Saved {args.page} ({size:,.0f} kB) for programs that run ONNX.")
        if table and table.units:
            units = ", ".join(f"{name!r} in {unit}" for name, unit in table.units.items())
            print(f"It takes numbers without their units: {units}.")
        print(_data_note(model))
        return 0
    text = model_page(model, _name(args.model), args.like).encode()
    atomic_write(args.page, [text])
    print(f"Saved {args.page} ({len(text) / 1000:,.0f} kB): open it in a browser.")
    print(_data_note(model))
    return 0


def _name(path: str) -> str:
    """Return a page's title: the model's file name, or its folder for a file named "model".

    >>> _name("digits.gpunn"), _name("runs/mnist/model.gpunn")
    ('digits', 'mnist')
    """
    folder, file = os.path.split(os.path.abspath(path))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "model" else name


def _data_note(model: Any) -> str:
    """Say which of the data's values the page holds."""
    known = trained_on.known(model)
    contents = []
    if names := known.get("classes"):
        shown = first_few(map(repr, names), 5)
        contents.append(f"the names of {counted(len(names), 'class', 'classes')} ({shown})")
    if table := TableModel.of(model):  # has layers for each column: reported together
        contents += table_notes(table)
    else:
        contents += [
            f"{place} ({description})"
            for place, description in model.data_held().items()
            if not place.startswith("trained_on/")
        ]
    if "range" in known:
        contents.append(f"the range of its values ({known['range'][0]:g} to {known['range'][1]:g})")
    return f"It holds of the data: {', '.join(contents) or 'nothing but what the weights learned'}."
