"""Train a network on a table, a folder of pictures or a data set, and save it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.learning import Settings
from gpunn.apps.pictures import MAX_PIXELS
from gpunn.apps.tables.kinds import MOST_CATEGORIES
from gpunn.backends import get_backend, use_backend
from gpunn.callbacks import BackupAndRestore, Callback, CSVLogger
from gpunn.callbacks.callback import Logs
from gpunn.common import registry
from gpunn.common.random import set_random_seed
from gpunn.common.stored import ByName, FieldSchema, Integer, Number, Several, Text, check
from gpunn.core.arena import with_room_for
from gpunn.layers import Dense, Dropout, Flatten, Input, Rescaling
from gpunn.models import Sequential
from gpunn.saving import files

from . import train_pictures, train_table
from .arguments import (
    DATASETS,
    add_backend,
    add_max_columns,
    begin_folder,
    data_or_path,
    keep_earlier,
    optimizer,
    positive,
)
from .recording import RUN, recorder, said_of_record

HELP = "train a network on a table, a folder of pictures, or MNIST"
EXAMPLES = """\
examples:
  gpunn train flowers.csv --target species
  gpunn train sales.xlsx --target price --split order --leave-out customer
  gpunn train photos/                       photos/cat/*.jpg, photos/dog/*.jpg
  gpunn train mnist
  gpunn train mnist --hidden 256 128 --dropout 0.3 --epochs 20 --out runs/deep
  gpunn train fashion-mnist --optimizer sgd --learning-rate 0.1
  gpunn train mnist --resume                go on with a run that was stopped

A table is CSV or its kin (any separator, decimal commas, UTF-8, UTF-16 or
Latin-1), Parquet or Excel. What each column is taken as is printed before the
training: numbers are scaled and categories encoded, gaps filled with medians;
identifiers, dates, constants and texts that are nearly all different are left
out. Width and batches follow the number of rows, training stops when it is no
longer better on rows held out, and the result is shown beside a constant and a
linear model. One file is saved, which prepares other tables likewise.

Pictures are padded to squares and scaled, grey if all are; a network of
convolutions is trained on them, in the same way.

On a data set each epoch that is complete is kept: a run that was stopped,
however that came about, goes on with --resume and ends with the same bits as
if nothing had been.
What an earlier run left is kept, as model-1.gpunn and history-1.csv.
What happened is kept in run.jsonl, of which `gpunn report` makes a page.
The last 5,000 training images are held out: they say below which probability
an answer is called unsure (gpunn predict --help).
The images stay bytes from 0 to 255; their scaling is part of the saved model.
"""


class Setting:
    """What can be chosen: its default, what a checkpoint may say of it, and how it is given."""

    def __init__(self, default: Any, kept: FieldSchema, **option: Any) -> None:
        self.default, self.kept, self.option = default, kept, option


SETTINGS = {
    "hidden": Setting([128], Several(Integer(1)), type=positive, nargs="*", metavar="UNITS",
        help="units of each hidden layer, relu (default: 128, of a table by its rows)"),
    "dropout": Setting(0.2, Number(0, finite=True), type=float, metavar="RATE",
        help="share of each hidden layer's outputs left out in training (default: 0.2, of a "
        "table 0.1)"),
    "optimizer": Setting("adam", Text(), type=optimizer, metavar="NAME",
        help="adam (the default), sgd, rmsprop, ..."),
    "learning_rate": Setting(None, Number(0, finite=True, or_none=True), type=float,
        metavar="RATE", help="default: the optimizer's own"),
    "batch_size": Setting(32, Integer(1), type=positive, metavar="N",
        help="rows a step (default: 32, of a table by its rows)"),
    "epochs": Setting(5, Integer(1), type=positive, metavar="N",
        help="passes over the rows (default: 5, of a table at most 500)"),
    "seed": Setting(0, Integer(-(2**63)), type=int, metavar="N",
        help="of weights, order and dropout (default: 0): the same seed, the same bits"),
}  # fmt: skip
HELD_OUT = 5000  # of the training images, the last: they say when an answer is unsure
RESULTS = MODEL, HISTORY, _ = "model.gpunn", "history.csv", RUN
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", type=data_or_path, metavar="NAME|PATH",
        help="mnist, fashion-mnist, a table, or a folder with a subfolder of pictures for each "
        "class; what exists as a file or a folder is taken as that")
    add("--target", metavar="COLUMN", help="of a table: what is to be predicted")
    add("--task", choices=("classification", "regression"),
        help="of a table (default: told from the target)")
    add("--split", choices=("stratified", "order"), default="stratified",
        help="rows to test on, drawn from each class (the default), or the last")
    add("--leave-out", metavar="COLUMN", nargs="+", default=[], help="of a table: do not use these")
    add("--max-categories", type=positive, default=MOST_CATEGORIES, metavar="N",
        help=f"of a column of a table; rarer ones count as one (default: {MOST_CATEGORIES})")
    add_max_columns(parser)
    add("--size", type=positive, metavar="N",
        help="side that pictures are scaled to (default: 28, 32 or 64, by their own)")
    add("--max-pixels", type=positive, default=MAX_PIXELS, metavar="N",
        help="that a picture may have (default: 25,000,000)")
    for name, setting in SETTINGS.items():
        add(_option(name), **setting.option)
    add_backend(parser)
    add("--out", metavar="DIR",
        help="folder for model.gpunn and run.jsonl, of a data set history.csv and the checkpoint "
        "too "
        "(default: runs/NAME)")
    add("--resume", action="store_true",
        help="go on with the run in DIR, under its settings; only --epochs may differ")
    add("--no-data", action="store_true",
        help="keep no row of the data for `gpunn report` (else the worst mistakes are kept)")
    add("--force", action="store_true",
        help="overwrite what an earlier run left in DIR (else it is kept under another name)")


class _Run(Callback):
    """Puts a run's settings into its checkpoints, and saves the model at its end.

    With it is stored what the rows held out, ``x`` and ``y``, say of its doubts.
    """

    def __init__(self, settings: dict[str, Any], path: str, x: np.ndarray, y: np.ndarray) -> None:
        self.settings = settings
        self.path = path
        self.held_out = x, y
        self.said = ""

    def get_state(self) -> dict[str, Any]:
        return self.settings

    def on_train_end(self, logs: Logs = None) -> None:
        x, y = self.held_out
        outputs = self.model.predict(x, verbose=0)
        found = trained_on.doubt(outputs, y)
        self.said = trained_on.said_of_doubt(outputs, y)
        data = self.settings["dataset"]
        prepared = {"prepared": data} if data == "mnist" else {}
        self.model.trained_on = {**self.model.trained_on, "data": data, **prepared, **found}
        # The checkpoint is deleted after this, not before.
        self.model.save(self.path, announce=False)


def run(args: argparse.Namespace) -> int:
    if os.path.exists(args.dataset):
        return _run_path(args)
    _refuse(args, "a data set", "target", "task", "leave_out", "size")
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
    if not args.resume:
        _begin(out, backup)
    if not args.force:
        keep_earlier(out, RESULTS[: 1 if args.resume else None])
    print(_summary(settings, model), flush=True)
    held_out = x_train[-HELD_OUT:], y_train[-HELD_OUT:]
    saver = _Run(settings, os.path.join(out, MODEL), *held_out)
    told = recorder(args, out, data=(x_test, y_test))
    try:
        model.fit(
            x_train[:-HELD_OUT],
            y_train[:-HELD_OUT],
            batch_size=settings["batch_size"],
            epochs=settings["epochs"],
            callbacks=[
                CSVLogger(os.path.join(out, HISTORY)),
                saver,
                told,
                backup,
            ],
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(args, backup.path)) from None
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy {accuracy:.4f}, loss {loss:.4f} ({len(x_test):,} images)")
    print(f"{saver.said}.")
    print(f"Saved {os.path.join(out, MODEL)}")
    print(said_of_record(told))
    return 0


def _run_path(args: argparse.Namespace) -> int:
    folder = os.path.isdir(args.dataset)
    what = "folder" if folder else "file"
    if args.resume:
        raise ValueError("--resume goes on with runs on data sets: begin anew on your own data.")
    if folder:
        _refuse(args, "a folder of pictures", "target", "task", "leave_out")
    else:
        _refuse(args, "a table", "size")
    if args.dataset in DATASETS:
        print(
            f"gpunn: {args.dataset} is a {what} here, and is taken, not the data set of this name.",
            file=sys.stderr,
        )
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if not folder:
        return train_table.run(args, Settings(**given))
    return train_pictures.run(args, Settings(**{"epochs": train_pictures.EPOCHS, **given}))


def _refuse(args: argparse.Namespace, what: str, *names: str) -> None:
    for name in names:
        if getattr(args, name):
            raise ValueError(f"{_option(name)} says nothing about {what}, as {args.dataset} is.")


def make_model(settings: dict[str, Any]) -> Sequential:
    """The compiled network; it bears the name of its data set."""
    model = Sequential(name=settings["dataset"])
    model.add(Input((28, 28)))
    model.add(Rescaling(1 / 255))
    model.add(Flatten())
    for units in settings["hidden"]:
        model.add(Dense(units, activation="relu"))
        if settings["dropout"]:
            model.add(Dropout(settings["dropout"]))
    model.add(Dense(10, activation="softmax"))
    chosen = registry.lookup("optimizer", settings["optimizer"])
    rate = settings["learning_rate"]
    model.compile(
        chosen() if rate is None else chosen(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _summary(settings: dict[str, Any], model: Sequential) -> str:
    sizes = "-".join(map(str, (784, *settings["hidden"], 10)))
    assert model.optimizer is not None
    return (
        f"{settings['dataset']}: {sizes}, {model.count_params():,} parameters, "
        f"{settings['optimizer']} at {model.optimizer.learning_rate:g}, "
        f"seed {settings['seed']}, {settings['backend']}"
    )


def _begin(out: str, backup: BackupAndRestore) -> None:
    """Make sure that the results can be written; begin without a checkpoint."""
    checkpoint = backup.path
    begin_folder(out)
    if os.path.exists(checkpoint):
        backup.take()  # not under the feet of a run that goes on
        print(f"gpunn: the unfinished run in {out} is begun anew.", file=sys.stderr)
        os.remove(checkpoint)
        backup.release()


def _stored_settings(path: str, given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The settings in a checkpoint, with the ``given`` number of epochs, and its weights' number.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is of another kind of run, or of one with other settings.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"There is nothing to resume, {path} does not exist: the run is complete, "
            f"or was stopped in its first epoch."
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
        del given["backend"]  # the run's own is as good as any
    differing = [
        f"{_option(name)} is {_shown(stored[name])} there and {_shown(value)} here"
        for name, value in given.items()
        if stored[name] != value
    ]
    if differing:
        raise ValueError(f"{path} is of another run: {'; '.join(differing)}.")
    if epochs < epoch:
        raise ValueError(f"--epochs {epochs}: {path} has {epoch} epochs already.")
    return {**stored, "epochs": epochs}, sum(np.size(array) for array in arrays)


def _model_of(path: str, settings: dict[str, Any], weights: int) -> Sequential:
    """The network of a checkpoint, of no more weights than it holds."""
    try:
        return with_room_for(weights, lambda: make_model(settings))
    except ValueError as error:
        raise ValueError(f"Cannot load {path}: {error}") from None


def _option(name: str) -> str:
    return name if name == "dataset" else f"--{name.replace('_', '-')}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nothing"
    return "the optimizer's own" if value is None else str(value)


def _how_to_go_on(args: argparse.Namespace, checkpoint: str) -> str:
    if not os.path.exists(checkpoint):
        return "The first epoch was not complete: there is nothing to resume."
    command = ["gpunn", "train", args.dataset, *(["--out", args.out] if args.out else [])]
    epoch = files.read(checkpoint)["epoch"]
    return f"Epoch {epoch} is kept; to go on: {shlex.join([*command, '--resume'])}"
