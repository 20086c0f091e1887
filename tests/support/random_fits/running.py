"""Training by a configuration, and all results of it."""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
from typing import Any

import numpy as np

from .building import compile_model, model_of
from .data import data_of, fit_arguments, parts_of
from .drawing import Config


def numbers(logs: Config) -> Config:
    """Return values by name, with arrays replaced by their mean; Keras numbers equal names."""
    found = {}
    for name, value in logs.items():
        value = value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)
        found[re.sub(r"_\d+$", "", name)] = float(np.mean(value))
    assert len(found) == len(logs)
    return found


def numbers_of_epochs(history: Config) -> Config:
    """Return each metric's value in each epoch, with arrays replaced by their mean."""
    return {
        re.sub(r"_\d+$", "", name): [numbers({name: v}).popitem()[1] for v in values]
        for name, values in history.items()
    }


def recorder(module: Any, into: list[Any]) -> Any:
    class Recorder(module.callbacks.Callback):  # type: ignore[misc]
        def note(self, event: str, number: int, logs: Any) -> None:
            into.append((event, number, numbers(logs or {})))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.note("train batch", batch, logs)

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.note("test batch", batch, logs)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.note("begin", epoch, {"rate": self.model.optimizer.learning_rate})

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.note("epoch", epoch, logs)

        def on_test_end(self, logs: Any = None) -> None:
            self.note("test", 0, logs)

        def on_train_end(self, logs: Any = None) -> None:
            self.note("end", 0, logs)

    return Recorder()


def _stopper(module: Any, batch: int) -> Any:
    class Stopper(module.callbacks.Callback):  # type: ignore[misc]
        count = 0

        def on_train_batch_end(self, number: int, logs: Any = None) -> None:
            if self.count == batch:
                self.model.stop_training = True
            self.count += 1

    return Stopper()


def callbacks_of(module: Any, config: Config, folder: str) -> list[Any]:
    made = []
    for name, given in config["callbacks"]:
        given = {
            key: os.path.join(folder, value) if key in ("filepath", "filename") else value
            for key, value in given.items()
        }
        if name == "stop":
            made.append(_stopper(module, given["batch"]))
        elif name == "LearningRateScheduler":
            factor = given["factor"]
            made.append(
                module.callbacks.LearningRateScheduler(
                    lambda epoch, rate, factor=factor: rate * factor
                )
            )
        else:
            made.append(getattr(module.callbacks, name)(**given))
    return made


def run(module: Any, config: Config, weights: Any = None, **of: Any) -> Config:
    """Train, and return events with their logs, history, weights and predictions.

    Args:
        weights: initial weights; by default the model's own, which are returned under "first".
    """
    before = module.config.floatx()
    module.config.set_floatx(config["dtype"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = _run(module, config, weights, folder, of)
            found["files"] = sorted(os.listdir(folder))
            if "log.csv" in found["files"]:
                found["log"] = _table(os.path.join(folder, "log.csv"))
            return found
    finally:
        module.config.set_floatx(before)
        module.backend.clear_session()  # Keras keeps a policy that it made from it


def _table(path: str) -> Config:
    """A table as a dictionary of columns."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return numbers_of_epochs(
        {
            name: [json.loads(row[name].replace("NA", "NaN").strip('"')) for row in rows]
            for name in rows[0]
        }
    )


def _run(module: Any, config: Config, weights: Any, folder: str, of: Config) -> Config:
    module.backend.clear_session()  # restart the numbering of names
    given = data_of(config)
    model = model_of(module, config, **of)
    if weights is not None:
        model.set_weights(weights)
    first = [np.array(w) for w in model.get_weights()]
    compile_model(module, model, config)
    events: list[Any] = []
    arguments = fit_arguments(module, config, given)
    # Our callbacks, before those that change the model.
    watchers = [recorder(module, events), *callbacks_of(module, config, folder)]
    history = model.fit(**arguments, callbacks=watchers)
    found: Config = {
        "first": first,
        "events": events,
        "history": numbers_of_epochs(history.history),
        "epochs": list(history.epoch),
        "weights": model.get_weights(),
        "iterations": int(model.optimizer.iterations),
    }
    x, y, *w = parts_of(config, given, "_val", config["fit"]["weights"])
    w = w or [None]
    evaluate = model.evaluate(
        x, y, sample_weight=w[0], batch_size=4, verbose=0, return_dict=True
    )
    found["evaluate"] = numbers(evaluate)
    found["predict"] = arrays_of(model.predict(x, batch_size=4, verbose=0))
    for step in config["after"]:
        _after(module, model, config, given, step, found)
    return found


def arrays_of(outputs: Any) -> list[Any]:
    return [np.asarray(y) for y in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def _after(
    module: Any, model: Any, config: Config, given: Config, step: str, found: Config
) -> None:
    """What is done after training; its result is stored under its name."""
    arguments = {**fit_arguments(module, config, given), "epochs": 2, "initial_epoch": 0}
    x, y, *w = parts_of(config, given, "", config["fit"]["weights"])
    if step == "freeze":
        model.layers[-1].trainable = False
    if step in ("compile again", "freeze"):
        compile_model(module, model, config, None if step == "freeze" else model.optimizer)
    if step == "set a rate" and isinstance(
        config["optimizer"]["arguments"]["learning_rate"], float
    ):
        model.optimizer.learning_rate = 0.01
    if step == "weights as at first":
        model.set_weights(found["first"])
    per_epoch = step not in ("train on a batch", "test on a batch", "by classes", "in steps")
    if per_epoch:
        logs = model.fit(**arguments).history
    elif step == "in steps":
        logs = model.evaluate(x, y, steps=2, verbose=0, return_dict=True)
        found["predicted in steps"] = arrays_of(model.predict(x, steps=2, verbose=0))
    elif step == "by classes" and config["fit"]["weights"] == "classes":
        by_class = arguments["class_weight"]
        logs = model.train_on_batch(x, y, class_weight=by_class, return_dict=True)
    else:
        method = model.test_on_batch if step == "test on a batch" else model.train_on_batch
        logs = method(x, y, sample_weight=w[0] if w else None, return_dict=True)
    found[step] = numbers_of_epochs(logs) if per_epoch else numbers(logs)
    found[f"weights, {step}"] = model.get_weights()
