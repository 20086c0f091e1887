"""The code that `gpunn train` shares between custom tables and custom pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

import numpy as np

from gpunn.apps.learning import Settings, figures
from gpunn.backends import get_backend, use_backend
from gpunn.common.names import counted
from gpunn.common.random import set_random_seed
from gpunn.distribution.launch import is_writer
from gpunn.models import Model

from .arguments import begin_folder, keep_earlier
from .printing import as_lines, results

MODEL = "model.gpunn"


def begin(args: argparse.Namespace, settings: Settings, name: str) -> str:
    """Check the settings, choose backend and seed, and return the new folder of the results.

    Args:
        args: the command's arguments.
        settings: the settings for these data.
        name: name of the folder, if ``args`` has none.
    """
    settings.check()
    use_backend(get_backend(args.backend).name)
    set_random_seed(settings.seed)
    out = args.out or os.path.join("runs", name)
    if is_writer():
        begin_folder(out)
    return out


def stopped_at(best: int, epochs: int) -> str:
    return (
        f"trained for {counted(epochs, 'epoch')}; epoch {best} was the best on the validation rows "
        f"and is kept"
    )


def print_results(
    predicted: Mapping[str, np.ndarray], y: np.ndarray, classes: int
) -> dict[str, dict[str, float]]:
    """Print the test metrics of each model, and return them by the model's name."""
    compared = {name: figures(outputs, y, classes) for name, outputs in predicted.items()}
    print(f"On the {counted(len(y), 'test row')}:\n{as_lines(results(compared))}")
    return compared


def save(model: Model, args: argparse.Namespace, out: str, held: str) -> None:
    """Save the model, keep an earlier run's, and report what the file holds of the data; of several
    ranks, the first does."""
    if not is_writer():
        return
    if not args.force:
        keep_earlier(out, [MODEL])
    path = os.path.join(out, MODEL)
    model.save(path, include_optimizer=False, announce=False)
    print(f"Saved {path}, with {held}")
