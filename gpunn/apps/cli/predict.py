"""Print the predictions of a saved model for images or for the rows of a table.

examples:
  gpunn predict runs/mnist/model.gpunn seven.png
  gpunn predict runs/mnist/model.gpunn t10k-images-idx3-ubyte --json
  gpunn predict runs/mnist/model.gpunn digits.npy
  gpunn predict runs/flowers/model.gpunn new.csv --out predictions.csv

Images of any size and kind are converted to the model's input: grey, light on
dark (inverted if the edge is light). For a model of MNIST's digits, which its
file records however it was trained, the image is cropped to the ink (inverted
if that is dark), scaled to fit 20 x 20 and centred by mass; otherwise it is
padded to a square and scaled. Then its values are scaled as in training. The
steps are printed to standard error. Arrays (.npy, IDX) are used as they are,
with a warning if their values are outside the range of training. The output
has the three most probable classes, "blank" for an image without ink, and
"unsure" below a probability determined in training.

For a model trained on tables, FILE is a table. Columns are matched by name, in
any order; extra columns are ignored. The output is the table with the
prediction, the interval around it that holds the truth in 90% of cases, or the
set of classes that does, the probability of each class, and whether it is
unsure. --why adds the columns that moved the prediction most from that for a
typical row: medians and the most frequent categories. It is CSV, written as
FILE is: separator, decimal sign and encoding. Strings that begin with = + - @,
which a spreadsheet would evaluate, get an apostrophe (unless --raw is given).
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.pictures import MAX_PIXELS
from gpunn.apps.pictures.folder import pictures_in
from gpunn.apps.pictures.samples import as_samples, picture_shape, read_sample
from gpunn.apps.predictions import BLANK, PERCENT, class_entries
from gpunn.apps.tables.table_model import TableModel
from gpunn.datasets import idx
from gpunn.datasets.arrays import read_npy
from gpunn.models import Model

from . import predict_table
from .arguments import add_shared, positive, print_result, saved_model

HELP = "predict images or a table with a saved model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser, "model", "--max-parts")
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+",
        help="image, folder of images, IDX file or .npy; or a table")
    add("--invert", choices=("auto", "yes", "no"), default="auto",
        help="whether to invert images (default: auto, if the edge is light)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--as-is", action="store_true",
        help="do not crop and centre images, even if the model was trained on MNIST")
    how.add_argument("--like", choices=("mnist",),
        help="prepare images as MNIST's digits, for a model whose file does not record it")
    add("--max-pixels", type=positive, default=MAX_PIXELS, metavar="N",
        help="maximum number of pixels of an image (default: 25,000,000)")
    add("--out", metavar="FILE", help="for a table: write the CSV to this file")
    add("--interval", choices=(*PERCENT, "0"), metavar="PERCENT",
        help="for a table: add intervals, or sets of classes, at 50, 80, 90, 95 or 99 percent; "
        "0 for none (default: 90, if the model's file has them)")
    add("--why", action="store_true",
        help="for a table: add the columns that moved the prediction most, with amounts")
    add("--raw", action="store_true", help="for a table: write strings unchanged")
    add("--force", action="store_true", help="overwrite the file of --out")
    add_shared(parser, "--max-columns", "--decimal", "--backend", "--json")


def run(args: argparse.Namespace) -> int:
    model = saved_model(args)
    table = TableModel.of(model)
    if table is not None:
        return predict_table.run(args, model, table)
    known = trained_on.known(model)
    like_mnist = (args.like or known.get("prepared")) == "mnist"
    read = partial(_read, model, known, args.invert, args.max_pixels, like_mnist, args.as_is)
    result = []
    for path, rows in [(path, read(path)) for path in _files(args.files)]:
        found = [BLANK] if rows is None else class_entries(model.predict(rows, verbose=0), known)
        names = [path] if len(found) == 1 else [f"{path}[{i}]" for i in range(len(found))]
        result += [{"image": name, **entry} for name, entry in zip(names, found, strict=True)]
    print_result(args, result, "\n".join(map(_line, result)))
    below = known.get("unsure_below")
    if below is not None and any(entry["unsure"] for entry in result):
        print(
            f"unsure: below {below:.4f}, as half of the model's mistakes were on "
            f"{known.get('validated_on', 0):,} images held out from training.",
            file=sys.stderr,
        )
    return 0


def _files(paths: list[str]) -> list[str]:
    """Return the files, with folders replaced by the pictures in them."""
    files = []
    for path in paths:
        found = pictures_in(path) if os.path.isdir(path) else [path]
        if not found:
            raise ValueError(f"{path} is a folder without pictures.")
        files += found
    return files


def _line(entry: dict[str, Any]) -> str:
    """
    >>> _line({"image": "a.png", "class": 7, "top": [[7, 0.6], [1, 0.3]], "unsure": True})
    'a.png: class 7, probability 0.6000 (1: 0.3000), unsure'
    """
    if entry["class"] is None:
        return f"{entry['image']}: blank"
    (name, most), *others = entry["top"]
    more = ", ".join(f"{other}: {probability:.4f}" for other, probability in others)
    unsure = ", unsure" if entry["unsure"] else ""
    return f"{entry['image']}: class {name}, probability {most:.4f} ({more}){unsure}"


def _read(
    model: Model,
    known: dict[str, Any],
    invert: str,
    max_pixels: int,
    like_mnist: bool,
    as_is: bool,
    path: str,
) -> np.ndarray | None:
    """Read samples (rows, ...) for the model from any kind of file; None for a blank image."""
    sample = model.input_shape[1:]
    shape = picture_shape(sample, like_mnist)
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        rows = read_npy(path)
    elif start.startswith(b"\x1f\x8b") or (start.startswith(b"\0\0") and start[2:3] in _IDX_TYPES):
        rows = idx.read(path)
    else:
        image, done = read_sample(path, sample, known, like_mnist, invert, as_is, max_pixels)
        print(f"{os.path.basename(path)}: {', '.join(done)}", file=sys.stderr)
        if image is None:
            return None
        rows = image
    if rows.shape in (sample, shape):
        rows = rows[np.newaxis]
    rows = as_samples(rows, sample, like_mnist)
    if rows.shape[1:] != sample or not len(rows) or rows.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} holds an array of shape {rows.shape} and dtype {rows.dtype}; the model "
            f"expects numbers of shape {sample} or (rows, {', '.join(map(str, sample))})."
        )
    strange = trained_on.strange_range((float(rows.min()), float(rows.max())), known.get("range"))
    if strange:
        print(f"gpunn: warning: {path} has {strange}: scale them to it.", file=sys.stderr)
    return rows


_IDX_TYPES = b"\x08\x09\x0b\x0c\x0d\x0e"  # third byte of an IDX file
