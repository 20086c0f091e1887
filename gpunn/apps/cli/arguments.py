"""Arguments that several commands share, and their checks."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

from gpunn.apps.tables.reading.table import MAX_COLUMNS
from gpunn.apps.web.page import is_page
from gpunn.backends import use_backend
from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.datasets import fashion_mnist, mnist
from gpunn.models import Model
from gpunn.saving import load_model
from gpunn.saving.model_files import MAX_PARTS

from .parser import hint, unknown

DATASETS = {"mnist": mnist, "fashion-mnist": fashion_mnist}


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 expected, not {text!r}")
    return number


def data_or_path(text: str) -> str:
    """Parse the path of a file or folder, or the name of a data set."""
    if text in DATASETS or os.path.exists(text):
        return text
    folder, name = os.path.split(text)
    if not folder and not os.path.splitext(name)[1]:
        raise argparse.ArgumentTypeError(
            f"{unknown('data set', text, DATASETS)} No such file or folder exists either."
        )
    there = sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []
    raise argparse.ArgumentTypeError(
        f"there is no file {text!r}.{hint(name, there)} Data sets: {', '.join(DATASETS)}."
    )


def optimizer(text: str) -> str:
    """Parse the name of an optimizer into its canonical spelling."""
    try:
        return snake_case(registry.lookup("optimizer", text).__name__)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


SHARED: dict[str, dict[str, Any]] = {
    "model": dict(metavar="MODEL", help="file from `gpunn train` or model.save"),
    "--max-parts": dict(type=positive, default=MAX_PARTS, metavar="N",
        help="maximum number of layers, losses and metrics in the model (default: 10,000)"),
    "--max-columns": dict(type=positive, default=MAX_COLUMNS, metavar="N",
        help="maximum number of columns of a table (default: 10,000)"),
    "--keep": dict(metavar="COLUMN", nargs="+", default=[],
        help="columns of a table to use, although they count the rows or their texts differ"),
    "--decimal": dict(choices=(".", ","), metavar="SIGN",
        help="the sign before decimals in all columns, . or , (default: each column's own)"),
    "--backend": dict(choices=("auto", "numpy", "compiled", "cupy"),
        help="where to compute: auto (the default) uses a GPU if possible (cupy), else the "
        "compiled CPU kernels if they were built, else numpy"),
    "--json": dict(action="store_true", help="print the result as JSON"),
    "--force": dict(action="store_true", help="overwrite a file even if gpunn did not write it"),
}


def add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        parser.add_argument(name, **SHARED[name])


def option(name: str) -> str:
    """Return the argument of the command line that is parsed into the attribute ``name``."""
    return name if name == "dataset" else f"--{name.replace('_', '-')}"


def saved_model(args: argparse.Namespace) -> Model:
    """Load the model of ``args``, in a command with ``--backend`` on the backend named there.

    Without ``--backend``, `GPUNN_BACKEND` decides; its default is "auto".

    Raises:
        ValueError: if it was saved without weights.
    """
    if getattr(args, "backend", None) is not None:
        use_backend(args.backend)
    model: Model = load_model(args.model, max_parts=args.max_parts)
    if not model.built:
        raise ValueError(
            f"{args.model} has no weights: the model was saved before it was built. Give it an "
            f"Input layer or train it, and save it again."
        )
    return model


def print_result(args: argparse.Namespace, result: Any, text: str) -> None:
    """Print ``text``, or ``result`` with ``--json``."""
    print(json.dumps(result) if args.json else text)


def begin_folder(folder: str) -> None:
    """Make a folder and check that it is writable."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


ONNX_BY_GPUNN = b"\x12\x05gpunn"  # the field producer_name, at the beginning of a file


def check_page(path: str | os.PathLike[str], force: bool) -> None:
    """Check that a page, or a model in ONNX, does not overwrite a file that gpunn did not write.

    Raises:
        FileExistsError: for such a file without ``--force``: it could not be written again.
    """
    if force or not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        start = file.read(4000)
        onnx = os.fspath(path).lower().endswith(".onnx") and ONNX_BY_GPUNN in start[:32]
        if not (onnx or is_page(start)):
            raise FileExistsError(
                f"{path} already exists and gpunn did not write it: choose another name or pass "
                f"--force."
            )


def keep_earlier(folder: str, names: Iterable[str]) -> None:
    """Rename an earlier run's files of these names, all with one free number, and report it."""
    there = [name for name in names if os.path.exists(os.path.join(folder, name))]
    for number in itertools.count(1):
        kept = [f"-{number}".join(os.path.splitext(name)) for name in there]
        if not any(os.path.exists(os.path.join(folder, name)) for name in kept):
            break
    for name, other in zip(there, kept, strict=True):
        os.rename(os.path.join(folder, name), os.path.join(folder, other))
    if there:
        print(
            f"gpunn: {' and '.join(there)} of an earlier run in {folder} "
            f"{'is' if len(there) == 1 else 'are'} kept as {' and '.join(kept)} "
            f"(use --force to overwrite).",
            file=sys.stderr,
        )
