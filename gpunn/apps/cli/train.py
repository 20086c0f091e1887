"""Train a network on a table, a folder of pictures or a data set, and save it.

examples:
  gpunn train flowers.csv --target species
  gpunn train sales.xlsx --target price --split order --leave-out customer
  gpunn train visits.csv --target outcome --group patient --minutes 5
  gpunn train photos/                       photos/cat/*.jpg, photos/dog/*.jpg
  gpunn train mnist
  gpunn train mnist --hidden 256 128 --dropout 0.3 --epochs 20 --out runs/deep
  gpunn train fashion-mnist --optimizer sgd --learning-rate 0.1
  gpunn train mnist --resume                continue a run that was interrupted

Tables:
A table is a CSV-like file (any separator, decimal commas, UTF-8, UTF-16 or
Latin-1), Parquet or Excel. The type of each column is printed before training.
Numbers are scaled, missing values filled with medians, and categories, dates
and the words of texts encoded. Identifiers, constants and nearly unique strings
of one or two words are left out. One row in five is held out for the verdict.
On the others, cross-validation chooses among networks of several settings, the
linear model, and averages of at most five of them. The verdict compares the
choice with a constant and the linear model. Then the choice is trained on all
rows and saved as one model, which prepares new tables in the same way.

Pictures:
Pictures are padded to squares and scaled; they are grey if all of them are.
The network is convolutional and is trained in the same way.

Data sets:
Each completed epoch is saved: --resume continues an interrupted run and gives
bit-identical results. Files of an earlier run are kept under another name, as
model-1.gpunn and history-1.csv. The run is recorded in run.jsonl, from which
`gpunn report` writes a page. The last 5,000 training images are held out to
find the probability below which an answer is "unsure" (gpunn predict --help).
Images stay bytes from 0 to 255; the saved model includes their scaling.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.learning import Settings, compile_for
from gpunn.apps.pictures import MAX_PIXELS
from gpunn.apps.pictures.learning import add_dense
from gpunn.apps.tables.reading.kinds import MOST_CATEGORIES
from gpunn.apps.tables.scoring import OPTIONS
from gpunn.backends import get_backend, use_backend
from gpunn.callbacks import BackupAndRestore, Callback, CSVLogger
from gpunn.callbacks.callback import Logs
from gpunn.common.random import set_random_seed
from gpunn.common.stored import ByName, FieldSchema, Integer, Number, Several, Text, check
from gpunn.core.storage import with_weight_limit
from gpunn.distribution.launch import initialize_if_launched, is_writer
from gpunn.layers import Input, Rescaling
from gpunn.models import Sequential
from gpunn.saving import files
from gpunn.training.data_facts import doubt

from . import train_pictures, train_table
from .arguments import (
    DATASETS,
    add_shared,
    begin_folder,
    data_or_path,
    keep_earlier,
    optimizer,
    option,
    positive,
)
from .recording import RUN, record_note, recorder

HELP = "train a network on a table, a folder of pictures, or MNIST"


class Setting:
    """A setting: its default, its schema in a checkpoint, and its command-line option."""

    def __init__(self, default: Any, kept: FieldSchema, **option: Any) -> None:
        self.default, self.kept, self.option = default, kept, option


SETTINGS = {
    "hidden": Setting([128], Several(Integer(1)), type=positive, nargs="*", metavar="UNITS",
        help="units of each hidden layer, with relu (default: 128; for a table, searched)"),
    "dropout": Setting(0.2, Number(0, finite=True), type=float, metavar="RATE",
        help="fraction of each hidden layer's outputs to drop in training (default: 0.2; for a "
        "table, searched)"),
    "optimizer": Setting("adam", Text(), type=optimizer, metavar="NAME",
        help="adam (the default), sgd, rmsprop, ..."),
    "learning_rate": Setting(None, Number(0, finite=True, or_none=True), type=float,
        metavar="RATE", help="learning rate (default: the optimizer's own)"),
    "batch_size": Setting(32, Integer(1), type=positive, metavar="N",
        help="rows per step (default: 32; for a table, by its rows)"),
    "epochs": Setting(5, Integer(1), type=positive, metavar="N",
        help="passes over the rows (default: 5; for a table, searched)"),
    "seed": Setting(0, Integer(-(2**63)), type=int, metavar="N",
        help="seed of weights, order and dropout (default: 0); runs with equal seeds are "
        "bit-identical"),
}
OF_TABLES = (
    "target", "task", "leave_out", "keep", "group", "fast", "metric", "cost_false_negative",
    "cost_false_positive", "minutes",
)
"""Options that apply to tables alone."""
HELD_OUT = 5000  # training images, the last ones: they decide when an answer is unsure
RESULTS = MODEL, HISTORY, _ = "model.gpunn", "history.csv", RUN
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", type=data_or_path, metavar="NAME|PATH",
        help="mnist, fashion-mnist, a table, or a folder with a subfolder of pictures for each "
        "class; an existing file or folder takes precedence over a data set")
    add("--target", metavar="COLUMN", help="column of a table to predict")
    add("--task", choices=("classification", "regression"),
        help="task of a table (default: inferred from the target)")
    add("--split", choices=("stratified", "order"),
        help="how to choose test rows: drawn from each class (the default), or the last ones; in a "
        "table whose dates descend, the first ones")
    add("--leave-out", metavar="COLUMN", nargs="+", default=[],
        help="columns of a table to ignore")
    add_shared(parser, "--keep")
    add("--max-categories", type=positive, default=MOST_CATEGORIES, metavar="N",
        help="maximum number of categories in a table's column; rarer ones count as one "
        f"(default: {MOST_CATEGORIES})")
    add("--group", metavar="COLUMN",
        help="column of a table whose rows of equal value belong together, such as a patient's: "
        "they are not divided between learning and testing, and the column is not an input")
    add("--fast", action="store_true",
        help="on a table, train one network and a linear model and take the better, without a "
        "search; the network, if options such as --hidden ask for it")
    add("--metric", choices=OPTIONS, metavar="NAME",
        help="what the models of a table are compared by in the verdict: "
        f"{', '.join(OPTIONS)} (default: accuracy or r2); training is the same")
    add("--cost-false-negative", type=float, metavar="N",
        help="cost of a row of the rarer of two classes that is not found: the class is then named "
        "from the probability on that costs least in cross-validation (default: 1)")
    add("--cost-false-positive", type=float, metavar="N",
        help="cost of another row that is taken for the rarer class (default: 1)")
    add("--minutes", type=float, metavar="N",
        help="minutes that the search of a table may take (default: a counted amount of work, the "
        "same on every machine, of less than one; what N finds depends on the machine)")
    add_shared(parser, "--max-columns", "--decimal")
    add("--size", type=positive, metavar="N",
        help="side length that pictures are scaled to (default: 28, 32 or 64, by their size)")
    add("--max-pixels", type=positive, default=MAX_PIXELS, metavar="N",
        help="maximum number of pixels of a picture (default: 25,000,000)")
    for name, setting in SETTINGS.items():
        add(option(name), **setting.option)
    add_shared(parser, "--backend")
    add("--out", metavar="DIR",
        help="folder for model.gpunn and run.jsonl, and for a data set also history.csv and the "
        "checkpoint (default: runs/NAME)")
    add("--resume", action="store_true",
        help="continue the run in DIR with its settings; only --epochs may differ")
    add("--no-data", action="store_true",
        help="store no rows of the data for `gpunn report` (by default it stores the worst "
        "mistakes)")
    add("--force", action="store_true",
        help="overwrite the files of an earlier run in DIR (by default they are renamed)")


class _Run(Callback):
    """Puts a run's settings into its checkpoints and saves the model at the end.

    The model stores the probability below which it is unsure, from the held-out ``x`` and ``y``.
    """

    writes = True

    def __init__(self, settings: dict[str, Any], path: str, x: np.ndarray, y: np.ndarray) -> None:
        self.settings = settings
        self.path = path
        self.held_out = x, y
        self.note = ""

    def get_state(self) -> dict[str, Any]:
        return self.settings

    def on_train_end(self, logs: Logs = None) -> None:
        x, y = self.held_out
        outputs = self.model.predict(x, verbose=0)
        found = doubt(outputs, y)
        self.note = trained_on.doubt_note(outputs, y)
        data = self.settings["dataset"]
        self.model.trained_on = {**self.model.trained_on, "data": data, **found}
        # The checkpoint is deleted after this, not before.
        self.model.save(self.path, announce=False)


def run(args: argparse.Namespace) -> int:
    initialize_if_launched()
    run_on = _run_path if os.path.exists(args.dataset) else _run_data_set
    # Of several ranks, the first prints, and writes files.
    with open(os.devnull, "w") as nowhere, redirect_stdout(sys.stdout if is_writer() else nowhere):
        return run_on(args)


def _run_data_set(args: argparse.Namespace) -> int:
    _refuse(args, "a data set", *OF_TABLES, "size")
    out = args.out or os.path.join("runs", args.dataset)
    backup = BackupAndRestore(os.path.join(out, "checkpoint"))
    given = {name: getattr(args, name) for name in (*SETTINGS, "dataset", "backend")}
    given = {name: value for name, value in given.items() if value is not None}
    if args.resume:
        settings, weights = _stored_settings(backup.path, given)
    else:
        settings = {**DEFAULTS, **given, "backend": get_backend(args.backend).name}

    use_backend(settings["backend"])
    set_random_seed(settings["seed"])
    model = _model_of(backup.path, settings, weights) if args.resume else make_model(settings)
    (x_train, y_train), (x_test, y_test) = DATASETS[args.dataset].load_data()
    if not args.resume and is_writer():
        _begin(out, backup)
    if not args.force and is_writer():
        keep_earlier(out, RESULTS[: 1 if args.resume else None])
    print(_summary(settings, model), flush=True)
    held_out = x_train[-HELD_OUT:], y_train[-HELD_OUT:]
    saver = _Run(settings, os.path.join(out, MODEL), *held_out)
    run_recorder = recorder(args, out, data=(x_test, y_test))
    try:
        model.fit(
            x_train[:-HELD_OUT],
            y_train[:-HELD_OUT],
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            callbacks=[
                CSVLogger(os.path.join(out, HISTORY)),
                saver,
                run_recorder,
                backup,
            ],
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(args, backup.path)) from None
    if not is_writer():
        return 0
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy {accuracy:.4f}, loss {loss:.4f} ({len(x_test):,} images)")
    print(f"{saver.note}.")
    print(f"Saved {os.path.join(out, MODEL)}")
    print(record_note(run_recorder))
    return 0


def _run_path(args: argparse.Namespace) -> int:
    folder = os.path.isdir(args.dataset)
    what = "folder" if folder else "file"
    if folder:
        _refuse(args, "a folder of pictures", *OF_TABLES)
    else:
        _refuse(args, "a table", "size")
    if args.dataset in DATASETS and is_writer():
        print(
            f"gpunn: {args.dataset} is a {what} here: using it, not the data set of this name.",
            file=sys.stderr,
        )
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if not folder:
        return train_table.run(args, Settings(**given), given)
    return train_pictures.run(args, Settings(**{"epochs": train_pictures.EPOCHS, **given}))


def _refuse(args: argparse.Namespace, what: str, *names: str) -> None:
    for name in names:
        if getattr(args, name):
            raise ValueError(f"{option(name)} does not apply to {what} such as {args.dataset}.")


def make_model(settings: dict[str, Any]) -> Sequential:
    """Return the compiled network, named after its data set."""
    chosen = Settings(**{name: settings[name] for name in SETTINGS})
    model = Sequential([Input((28, 28)), Rescaling(1 / 255)], name=settings["dataset"])
    add_dense(model, 10, chosen)
    compile_for(model, 10, chosen)
    return model


def _summary(settings: dict[str, Any], model: Sequential) -> str:
    sizes = "-".join(map(str, (784, *settings["hidden"], 10)))
    return (
        f"{settings['dataset']}: {sizes}, {model.count_params():,} parameters, "
        f"{settings['optimizer']} at {model.optimizer.learning_rate:g}, "
        f"seed {settings['seed']}, {settings['backend']}"
    )


def _begin(out: str, backup: BackupAndRestore) -> None:
    """Check that the results can be written, and remove an old checkpoint."""
    checkpoint = backup.path
    begin_folder(out)
    if os.path.exists(checkpoint):
        backup.take()  # so that no run still in progress is using it
        print(f"gpunn: the unfinished run in {out} is started over.", file=sys.stderr)
        os.remove(checkpoint)
        backup.release()


def _stored_settings(path: str, given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a checkpoint's settings, with the ``given`` number of epochs, and its weight count.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it belongs to another kind of run, or to a run with other settings.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"There is nothing to resume: {path} does not exist. The run is complete, or was "
            f"stopped in its first epoch."
        )
    document = files.read(path, files.HEADER_LIMIT)
    try:
        entries = Several(ByName()).check(document.get("callbacks"), "callbacks")
        stored = next((e["state"] for e in entries if e.get("class_name") == _Run.__name__), None)
        if stored is None:
            raise ValueError("it is not the checkpoint of a run of gpunn train.")
        kept = {name: setting.kept for name, setting in SETTINGS.items()}
        kept |= {"dataset": Text(), "backend": Text()}
        stored = check(kept, stored, f"callbacks/{_Run.__name__}/state")
        epoch = Integer().check(document.get("epoch"), "epoch")
        arrays = ByName().check(document.get("weights"), "weights").values()
    except ValueError as error:
        raise ValueError(f"Cannot load {path}: {error}") from None
    epochs = given.pop("epochs", stored["epochs"])
    if given.get("backend") == "auto":
        del given["backend"]  # the run's own backend satisfies "auto"
    differing = [
        f"{option(name)} is {_shown(stored[name])} there and {_shown(value)} here"
        for name, value in given.items()
        if stored[name] != value
    ]
    if differing:
        raise ValueError(f"{path} is of another run: {'; '.join(differing)}.")
    if epochs < epoch:
        raise ValueError(f"--epochs {epochs}: {path} already has {epoch} epochs.")
    return {**stored, "epochs": epochs}, sum(np.size(array) for array in arrays)


def _model_of(path: str, settings: dict[str, Any], weights: int) -> Sequential:
    """Return a checkpoint's network, with no more weights than the checkpoint holds."""
    try:
        return with_weight_limit(weights, lambda: make_model(settings))
    except ValueError as error:
        raise ValueError(f"Cannot load {path}: {error}") from None


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nothing"
    return "the optimizer's own" if value is None else str(value)


def _how_to_go_on(args: argparse.Namespace, checkpoint: str) -> str:
    if not os.path.exists(checkpoint):
        return "The first epoch was not complete: there is nothing to resume."
    command = ["gpunn", "train", args.dataset, *(["--out", args.out] if args.out else [])]
    epoch = files.read(checkpoint)["epoch"]
    return f"Epoch {epoch} is saved; to continue: {shlex.join([*command, '--resume'])}"
