"""`gpunn train folder/`: train a network on pictures, one subfolder per class, and compare it
with simpler models."""

from __future__ import annotations

import argparse
import os

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.kept import KeptResults, digest
from gpunn.apps.learning import RowSet, Settings
from gpunn.apps.pictures import folder as pictures_of
from gpunn.apps.pictures.learning import defaults, simple_predictions, train
from gpunn.apps.splitting import split
from gpunn.callbacks import BackupAndRestore
from gpunn.common.names import counted, first_few
from gpunn.training.data_facts import doubt

from .arguments import option
from .own_data import INTERRUPTED, begin, how_to_go_on, print_results, save, stopped_at
from .recording import record_note, recorder

EPOCHS = 50


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Train on the folder ``args.dataset``, after checking it for errors."""
    found = pictures_of.find(args.dataset)
    shape = pictures_of.shape_for(found.paths, args.size, args.max_pixels)
    pictures_of.load(found, shape, args.max_pixels)
    classes = len(found.classes)
    counts = np.bincount(found.labels, minlength=classes)
    if not counts.all():
        name = found.classes[int(counts.argmin())]
        raise ValueError(f"{args.dataset}: no picture of {name!r} can be read.")
    rows = split(found.labels, classes, args.split == "order", settings.seed)
    x = found.x if found.x.ndim == 4 else found.x[..., np.newaxis]
    parts = {name: RowSet(x[at], found.labels[at]) for name, at in rows.items()}
    settings = defaults(settings, len(rows["train"]))
    out = begin(args, settings, os.path.basename(os.path.abspath(args.dataset)))
    shown = first_few((f"{name} {counts[i]:,}" for i, name in enumerate(found.classes)), 10)
    kind = "in colour" if len(shape) == 3 else "grey"
    print(f"{args.dataset}: {len(x):,} pictures, {kind}, scaled to {shape[1]}x{shape[0]}")
    print(f"{classes} classes: {shown}")
    for reason in found.unreadable[:5]:
        print(f"left out: {reason}")
    if len(found.unreadable) > 5:
        print(f"left out: {counted(len(found.unreadable) - 5, 'more file')}")
    drawn = "in their order" if args.split == "order" else "stratified by class"
    print(f"rows: {', '.join(f'{len(at):,} {n}' for n, at in rows.items())}, {drawn}", flush=True)
    run_recorder = recorder(
        args, out, classes=found.classes, data=(parts["test"].x, parts["test"].y)
    )
    kept = KeptResults(out, _settings(settings, x, found.labels), args.resume)
    backup = BackupAndRestore(os.path.join(kept.folder, "checkpoint"))
    model, training = train(parts, classes, settings, [run_recorder, backup])
    if training.interrupted:
        print(how_to_go_on(args))
    print(
        f"{model.count_params():,} parameters, {settings.optimizer}, batches of "
        f"{settings.batch_size}, seed {settings.seed}\n"
        f"{stopped_at(training)}"
    )
    test, held_out = parts["test"], parts["validation"]
    outputs = simple_predictions(parts, classes, settings)
    outputs["network"] = model.predict(test.x, verbose=0)
    compared = print_results(outputs, test.y, classes)
    validated = model.predict(held_out.x, verbose=0)
    print(f"{trained_on.doubt_note(validated, held_out.y)}.")
    model.trained_on = {
        "range": [0.0, 255.0],
        "prepared": "scaled",
        "classes": found.classes,
        **doubt(validated, held_out.y),
    }
    save(model, args, out, "the names of the classes: no pictures")
    run_recorder.judge(
        model, test.x, test.y, outputs["network"], "the test rows", compared=compared
    )
    print(record_note(run_recorder))
    if training.interrupted:
        return INTERRUPTED
    kept.delete()
    return 0


def _settings(settings: Settings, x: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Return what a training depends on, but for the number of epochs."""
    given = {option(name): value for name, value in vars(settings).items() if name != "epochs"}
    return {"the pictures": digest({"x": x, "y": labels}), **given}
