"""Print loss and accuracy of a saved model on test images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gpunn.datasets import idx
from gpunn.datasets.dataset import locate
from gpunn.models import Model

from .arguments import (
    DATASETS,
    add_backend,
    add_json,
    add_model,
    chosen_model,
    dataset_or_folder,
    print_result,
    with_channel,
)

HELP = "loss and accuracy of a saved model"
EXAMPLES = """\
examples:
  gpunn evaluate runs/mnist/model.gpunn
  gpunn evaluate runs/mnist/model.gpunn --data fashion-mnist
  gpunn evaluate runs/mnist/model.gpunn --data my-digits --json

A folder holds images and labels in the format and under the names of MNIST,
plain or .gz: t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--data",
        type=dataset_or_folder,
        metavar="NAME|DIR",
        help="mnist, fashion-mnist or a folder (default: what `gpunn train` trained it on)",
    )
    add_backend(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    model = chosen_model(args)
    data = args.data or _trained_on(model)
    x, y = _test_images(data)
    if len(model.inputs) == 1:
        x = with_channel(x, model.input_shape[1:])
    figures = model.evaluate(x, y, verbose=0, return_dict=True)
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    result = {"data": data, "images": len(x), **figures}
    print_result(args, result, f"{data}: {text} ({len(x):,} images)")
    return 0


def _trained_on(model: Model) -> str:
    if model.name not in DATASETS:
        raise ValueError(f"The model is named {model.name!r} after no data set: say --data.")
    return model.name


def _test_images(data: str) -> tuple[Any, Any]:
    if data in DATASETS:
        return DATASETS[data].load_data()[1]
    images = locate(Path(data), "t10k-images-idx3-ubyte")
    labels = locate(Path(data), "t10k-labels-idx1-ubyte")
    return idx.read(images), idx.read(labels)
