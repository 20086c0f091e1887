"""Several fits of one model, one after the other, each with options of its own."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

import gpunn

from .building import compile_model, model_of
from .configurations import callbacks_drawn, configuration, fit_drawn
from .data import data_of, fit_arguments, parts_of
from .drawing import Config, Draw
from .running import arrays_of, callbacks_of, numbers, numbers_of_epochs

BETWEEN = (
    "nothing", "nothing", "compile again", "new optimizer", "train on a batch", "test on a batch",
    "predict", "set a rate", "set the weights",
)  # fmt: skip


def row_of_fits(number: int, seed: int = 0, outputs: int | None = None) -> Config:
    """Return a configuration with three fits under "fits".

    Each has the options under "fit" and "callbacks", its own rows and data, whether it shuffles,
    what is done before it, and whether it is given the callbacks of the first one.

    Args:
        number, seed: as of `configuration`.
        outputs: the number of outputs to leave, if not all.
    """
    config = {**configuration(number, seed), "dtype": "float64"}
    config["x"] = config["x"] if config["x"].startswith("float") else "float32"  # rows differ
    if outputs is not None and len(config["heads"]) > outputs:
        config["heads"] = config["heads"][:outputs]
        config.pop("loss_weights", None)
    d, config["fits"] = Draw([seed, number, 2]), []
    for k in range(3):
        config["fits"].append(_one(d, config, k))
    return config


def _one(d: Draw, config: Config, k: int) -> Config:
    part: Config = {"rows": d.whole(9, 18), "number": 1000 * k + config["number"]}
    part["fit"] = fit_drawn(d, {**config, **part})
    part["callbacks"] = callbacks_drawn(d, {**config, **part})
    part["shuffle"] = d.chance(0.6)
    part["before"] = d.one(BETWEEN) if k else "nothing"
    rate = config["optimizer"]["arguments"]["learning_rate"]
    if part["before"] == "new optimizer" and isinstance(rate, list) and rate[0] == "function":
        part["before"] = "compile again"  # a function is in no configuration
    part["evaluates"] = d.chance(0.7)
    part["again"] = k > 0 and d.chance(0.5)  # the callback objects of the first fit
    return part


def callbacks_in(config: Config, k: int) -> list[Any]:
    """Return which callbacks a fit has."""
    found: list[Any] = config["fits"][0 if config["fits"][k]["again"] else k]["callbacks"]
    return found


def data_in(config: Config, k: int) -> tuple[Config, Config]:
    """Return the configuration of a fit as that of a single one, and its data."""
    alone = {**config, **config["fits"][k]}
    return alone, data_of(alone)


def change_before(module: Any, model: Any, config: Config, k: int, optimizer: Any = None) -> None:
    """Do what is done before a fit; ``optimizer``: the new one, if one is wanted."""
    what = config["fits"][k]["before"]
    alone, given = data_in(config, k)
    x, y, *w = parts_of(alone, given, "", alone["fit"]["weights"])
    if what == "compile again":
        compile_model(module, model, config, model.optimizer)
    elif what == "new optimizer":
        compile_model(module, model, config, optimizer or same_again(model.optimizer))
    elif what == "train on a batch":
        model.train_on_batch(x, y, sample_weight=w[0] if w else None)
    elif what == "test on a batch":
        model.test_on_batch(x, y)
    elif what == "predict":
        model.predict(x, batch_size=5, verbose=0)
    elif what == "set the weights":
        model.set_weights([0.9 * w for w in model.get_weights()])
    elif what == "set a rate" and has_rate(config):
        model.optimizer.learning_rate = 0.01


def has_rate(config: Config) -> bool:
    return isinstance(config["optimizer"]["arguments"]["learning_rate"], float)


def same_again(optimizer: Any) -> Any:
    return type(optimizer).from_config(optimizer.get_config())


def result(config: Config, k: int, model: Any, history: Any, evaluated: Any) -> Config:
    """Return what is compared of a fit."""
    return {
        "history": numbers_of_epochs(history),
        "weights": [np.array(w) for w in model.get_weights()],
        "iterations": int(model.optimizer.iterations),
        "evaluate": numbers(evaluated),
    }


def first_weights(config: Config) -> list[np.ndarray]:
    """Return initial weights."""
    before = gpunn.config.floatx()
    gpunn.config.set_floatx(config["dtype"])
    try:
        gpunn.utils.set_random_seed(config["number"] + 1)
        return [np.array(w) for w in model_of(gpunn, config, backend="numpy").get_weights()]
    finally:
        gpunn.config.set_floatx(before)


def run_row(
    module: Any, config: Config, weights: Any, watching: Any = (), plain: Any = None,
    eager: bool = False, **of: Any,
) -> list[Config]:  # fmt: skip
    """Fit one model three times, and return the results of each.

    Args:
        weights: the initial ones; by default the model's own.
        watching: callbacks that see every fit.
        plain: a module by which parts are made, if that of the model is another.
        eager: whether each step runs in Python.
    """
    before = module.config.floatx()
    module.config.set_floatx(config["dtype"])
    parts = plain or module
    try:
        module.backend.clear_session()
        with tempfile.TemporaryDirectory() as folder:
            model = model_of(module, config, **of)
            if weights is not None:
                model.set_weights(weights)
            compile_model(parts, model, config)
            if eager:
                model.run_eagerly = True
            first: Any = None
            found = []
            for k, part in enumerate(config["fits"]):
                alone, given = data_in(config, k)
                # `compile` draws a seed; so do the programs of steps, of each kind of step others.
                module.utils.set_random_seed(config["number"] + k)
                change_before(parts, model, config, k)
                if eager:
                    model.run_eagerly = True
                place = os.path.join(folder, str(k))
                os.mkdir(place)
                own = first if part["again"] else callbacks_of(parts, alone, place)
                first = own if first is None else first
                arguments = {**fit_arguments(parts, alone, given), "shuffle": part["shuffle"]}
                history = model.fit(**arguments, callbacks=[*watching, *own])
                x, y, *w = parts_of(alone, given, "_val", alone["fit"]["weights"])
                evaluated = model.evaluate(
                    x, y, sample_weight=w[0] if w else None, batch_size=4, verbose=0,
                    return_dict=True,
                ) if part["evaluates"] else {}  # fmt: skip
                found.append(result(config, k, model, history.history, evaluated))
                found[-1]["epochs"] = list(history.epoch)
                found[-1]["predict"] = arrays_of(model.predict(x, batch_size=4, verbose=0))
            return found
    finally:
        module.config.set_floatx(before)
        module.backend.clear_session()
