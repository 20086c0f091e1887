"""`gpunn train folder/`: a network for pictures, one subfolder a class, beside what is simpler."""

from __future__ import annotations

import argparse
import os

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.learning import Part, Settings, figures
from gpunn.apps.pictures import folder as pictures_of
from gpunn.apps.pictures.learning import defaults, simple_predictions, train
from gpunn.apps.splitting import split
from gpunn.backends import get_backend, use_backend
from gpunn.common.names import counted
from gpunn.common.random import set_random_seed

from .arguments import begin_folder, keep_earlier
from .printing import as_lines, results

MODEL = "model.gpunn"
EPOCHS = 50


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Train on the folder ``args.dataset``; what can be wrong with it is found before."""
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
    parts = {name: Part(x[at], found.labels[at]) for name, at in rows.items()}
    settings = defaults(settings, len(rows["train"]))
    settings.check()
    use_backend(get_backend(args.backend).name)
    set_random_seed(settings.seed)
    out = args.out or os.path.join("runs", os.path.basename(os.path.abspath(args.dataset)))
    begin_folder(out)
    shown = ", ".join(f"{name} {counts[i]:,}" for i, name in enumerate(found.classes[:10]))
    kind = "in colour" if len(shape) == 3 else "grey"
    print(f"{args.dataset}: {len(x):,} pictures, {kind}, scaled to {shape[1]}x{shape[0]}")
    print(f"{classes} classes: {shown}{', ...' if classes > 10 else ''}")
    for reason in found.left_out[:5]:
        print(f"left out: {reason}")
    if len(found.left_out) > 5:
        print(f"left out: {counted(len(found.left_out) - 5, 'more file')}")
    drawn = "in their order" if args.split == "order" else "each class in these shares"
    print(f"rows: {', '.join(f'{len(at):,} {n}' for n, at in rows.items())}, {drawn}", flush=True)
    model, best, epochs = train(parts, classes, settings)
    print(
        f"{model.count_params():,} parameters, {settings.optimizer}, batches of "
        f"{settings.batch_size}, seed {settings.seed}\n"
        f"trained for {counted(epochs, 'epoch')}; epoch {best} was the best on the validation rows "
        f"and is kept"
    )
    test, held_out = parts["test"], parts["validation"]
    outputs = simple_predictions(parts, classes, settings)
    outputs["network"] = model.predict(test.x, verbose=0)
    compared = {name: figures(p, test.y, classes) for name, p in outputs.items()}
    print(f"On the {len(test.y):,} test rows:\n{as_lines(results(compared))}")
    validated = model.predict(held_out.x, verbose=0)
    print(f"{trained_on.said_of_doubt(validated, held_out.y)}.")
    model.trained_on = {
        "range": [0.0, 255.0],
        "prepared": "scaled",
        "classes": found.classes,
        **trained_on.doubt(validated, held_out.y),
    }
    if not args.force:
        keep_earlier(out, [MODEL])
    path = os.path.join(out, MODEL)
    model.save(path, include_optimizer=False, announce=False)  # the next line does
    print(f"Saved {path}, with the names of the classes: no pictures")
    return 0
