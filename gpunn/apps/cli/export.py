"""Make a page of a saved model, on which it answers in any browser."""

from __future__ import annotations

import argparse
import os
from typing import Any

from gpunn.apps import trained_on
from gpunn.apps.tables.preparing import TableModel
from gpunn.apps.web.model_page import model_page
from gpunn.apps.web.table_form import said_of_table
from gpunn.common.atomic_files import atomic_write
from gpunn.common.names import counted

from .arguments import add_force, add_model, check_page, saved_model

HELP = "a page on which a saved model answers"
EXAMPLES = """\
examples:
  gpunn export runs/mnist/model.gpunn mnist.html
  gpunn export digits.gpunn digits.html --like mnist

The page is one file that needs no network and no Python: the model computes in
the browser. A model of pictures gets a pad to draw on by mouse, touch, pen
or keys, what it says of the drawing with probabilities, and what each of its
layers makes of it; drawings are prepared as `gpunn predict` prepares pictures.
A model of two numbers gets the plane and what it says of each place there.
A model of tables gets a form with a field for each column, and how the answer
changes along each.

Who has the page has the model: its weights and the names of its classes. What
it holds of the data is printed.
"""
ENDINGS = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("page", metavar="PAGE", help="the file that is written, .html")
    parser.add_argument(
        "--like", choices=("mnist",),
        help="prepare drawings as MNIST's digits, for a model whose file does not say so",
    )  # fmt: skip
    add_force(parser)


def run(args: argparse.Namespace) -> int:
    if not args.page.lower().endswith(ENDINGS):
        raise ValueError(f"{args.page}: the name of a page ends in {' or '.join(ENDINGS)}.")
    check_page(args.page, args.force)
    model = saved_model(args)
    text = model_page(model, _name(args.model), args.like).encode()
    atomic_write(args.page, [text])
    print(f"Saved {args.page} ({len(text) / 1000:,.0f} kB): open it in a browser.")
    print(_said_of_data(model))
    return 0


def _name(path: str) -> str:
    """What a page is called: by its model's file, or where all are called alike by the folder.

    >>> _name("digits.gpunn"), _name("runs/mnist/model.gpunn")
    ('digits', 'mnist')
    """
    folder, file = os.path.split(os.path.abspath(path))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "model" else name


def _said_of_data(model: Any) -> str:
    """Which of the data's values the page holds."""
    known = trained_on.known(model)
    held = []
    if names := known.get("classes"):
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        held.append(f"the names of {counted(len(names), 'class', 'classes')} ({shown})")
    if table := TableModel.of(model):  # layers for each column: told together
        held += said_of_table(table)
    else:
        held += [
            f"{place} ({said})"
            for place, said in model.data_held().items()
            if not place.startswith("trained_on/")
        ]
    if "range" in known:
        held.append(f"the range of its values ({known['range'][0]:g} to {known['range'][1]:g})")
    return f"It holds of the data: {', '.join(held) or 'nothing but what the weights learned'}."
