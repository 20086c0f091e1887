"""Arguments that several commands take, and the checks behind them."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

from gpunn.apps.pictures.shapes import grey_shape
from gpunn.apps.tables.reading import MAX_COLUMNS
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
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 expected, not {text!r}")
    return number


def data_or_path(text: str) -> str:
    """The path of a file or a folder, or the name of a data set."""
    if text in DATASETS or os.path.exists(text):
        return text
    folder, name = os.path.split(text)
    if not folder and not os.path.splitext(name)[1]:
        raise argparse.ArgumentTypeError(
            f"{_unknown_dataset(text)} Nor is there such a file or folder."
        )
    there = sorted(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else []
    raise argparse.ArgumentTypeError(
        f"there is no file {text!r}.{hint(name, there)} Data sets are {', '.join(DATASETS)}."
    )


def _unknown_dataset(text: str) -> str:
    return unknown("data set", text, DATASETS)


def optimizer(text: str) -> str:
    """The name of an optimizer, in its one canonical spelling."""
    try:
        return snake_case(registry.lookup("optimizer", text).__name__)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("auto", "numpy", "compiled", "cupy"),
        help="where to compute: auto (the default) takes a usable card (cupy), else compiled "
        "kernels on the CPU if they were built, else numpy",
    )


def add_max_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-columns", type=positive, default=MAX_COLUMNS, metavar="N",
        help="that a table may have (default: 10,000)",
    )  # fmt: skip


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="what `gpunn train` or model.save wrote")
    parser.add_argument(
        "--max-parts", type=positive, default=MAX_PARTS, metavar="N",
        help="layers, losses and metrics that it may have (default: 10,000)",
    )  # fmt: skip


def saved_model(args: argparse.Namespace) -> Model:
    """The model of `add_model`."""
    model: Model = load_model(args.model, max_parts=args.max_parts)
    return model


def chosen_model(args: argparse.Namespace) -> Model:
    """The saved model, on the backend that ``--backend`` names.

    Without it the choice is `GPUNN_BACKEND`'s or "auto".
    """
    if args.backend is not None:
        use_backend(args.backend)
    return saved_model(args)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def print_result(args: argparse.Namespace, result: Any, text: str) -> None:
    """Print ``text``, or with ``--json`` the ``result``."""
    print(json.dumps(result) if args.json else text)


def with_channel(images: Any, sample: tuple[Any, ...]) -> Any:
    """Grey images (rows, height, width) with the channel that a convolutional model wants."""
    grey = images.shape[1:] == grey_shape(sample)
    return images.reshape(len(images), *sample) if grey else images


def begin_folder(folder: str) -> None:
    """Make a folder, and see that something can be written there."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="overwrite a file that is no page of gpunn's too"
    )


def check_page(path: str | os.PathLike[str], force: bool) -> None:
    """Refuse to write a page over a file that gpunn did not make, as it cannot be made again.

    Raises:
        FileExistsError: for such a file, without ``--force``.
    """
    if force or not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        if not is_page(file.read(4000)):
            raise FileExistsError(
                f"{path} is there already, and is no page of gpunn's: name another, or say --force."
            )


def keep_earlier(folder: str, names: Iterable[str]) -> None:
    """Rename what an earlier run left under these names, all with one free number; say so."""
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
            f"(--force overwrites).",
            file=sys.stderr,
        )
