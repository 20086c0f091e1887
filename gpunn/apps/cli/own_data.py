"""The code that `gpunn train` shares between custom tables and custom pictures."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Mapping

import numpy as np

from gpunn.apps.learning import Settings, Training, figures
from gpunn.backends import get_backend, use_backend
from gpunn.common.names import counted
from gpunn.common.random import set_random_seed
from gpunn.distribution.launch import is_writer
from gpunn.models import Model

from .arguments import begin_folder, keep_earlier
from .printing import as_lines, results

MODEL = "model.gpunn"
INTERRUPTED = 130  # exit status after Ctrl-C, also where something was saved


def begin(args: argparse.Namespace, settings: Settings, name: str) -> str:
    """Check the settings, choose backend and seed, and return the folder of the results, which is
    new: as ``args`` say, or one of this name in ``runs``."""
    settings.check()
    use_backend(get_backend(args.backend).name)
    set_random_seed(settings.seed)
    out = args.out or os.path.join("runs", name)
    if is_writer():
        begin_folder(out)
    return out


def stopped_at(training: Training) -> str:
    return (
        f"trained for {counted(training.epochs, 'epoch')}; epoch {training.best} was the best on "
        f"the validation rows and is kept"
    )


def how_to_go_on(args: argparse.Namespace) -> str:
    """Say what an interrupted run did, and how it is continued."""
    words = [word for word in args.words if word not in ("--resume", "--force")]
    return (
        f"Interrupted: the best so far is taken. To go on: "
        f"{shlex.join(['gpunn', *words, '--resume'])}"
    )


def print_results(
    predicted: Mapping[str, np.ndarray], y: np.ndarray, classes: int,
    measured: Callable[[np.ndarray], dict[str, float]] | None = None,
) -> dict[str, dict[str, float]]:
    """Print the test metrics of each model, and return them by the model's name; ``measured``
    computes others than `figures`."""
    measured = measured or (lambda outputs: figures(outputs, y, classes))
    compared = {name: measured(outputs) for name, outputs in predicted.items()}
    print(f"On the {counted(len(y), 'test row')}:\n{as_lines(results(compared))}")
    return compared


def save(model: Model, args: argparse.Namespace, out: str, contents: str) -> None:
    """Save the model, keep an earlier run's, and report what the file holds of the data; of several
    ranks, the first does."""
    if not is_writer():
        return
    if not args.force:
        keep_earlier(out, [MODEL])
    path = os.path.join(out, MODEL)
    model.save(path, include_optimizer=False, announce=False)
    print(f"Saved {path}, with {contents}")
