"""A row of fits the long way: each epoch in a new model, on the batches in the order used."""

from __future__ import annotations

import math
import tempfile
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

import numpy as np

import gpunn

from .building import compile_model, model_of
from .data import batches_of, data_set_of, parts_of, rows_in
from .drawing import Config
from .own_steps import noting
from .rows_of_fits import callbacks_in, change_before, data_in, has_rate, result, run_row
from .running import callbacks_of

Epochs = list[list[list[int]]]  # the rows of each batch of each epoch
BY_CLASS = {0: 0.5, 1: 2.0, 2: 1.5}


def orders_of(config: Config, weights: Any, **of: Any) -> tuple[list[Config], list[Epochs]]:
    """Run the fits eagerly, with a step that notes its rows; return the results and the rows."""
    recorded: list[Any] = []
    marks = gpunn.callbacks.LambdaCallback(
        on_train_begin=lambda logs: recorded.append("fit"),
        on_epoch_begin=lambda epoch, logs: recorded.append("epoch"),
        on_train_end=lambda logs: recorded.append("end"),
    )
    module = noting(recorded)
    found = run_row(module, config, weights, [marks], gpunn, eager=True, **of)
    fits: list[Epochs] = []
    within = False
    for entry in recorded:
        if isinstance(entry, str):
            within = entry != "end"
            if entry == "fit":
                alone, given = data_in(config, len(fits))
                known = _keys(parts_of(alone, given, "", None))
                fits.append([])
            elif entry == "epoch":
                fits[-1].append([])
        elif within:
            fits[-1][-1].append([known.index(key) for key in _keys(entry[:2])])
    return found, fits


def _keys(parts: Any) -> list[bytes]:
    """Return what tells each row from the others."""
    arrays = [a for part in parts for a in (
        part.values() if isinstance(part, dict)
        else part if isinstance(part, (list, tuple)) else [part])]  # fmt: skip
    rows = [np.asarray(a, np.float64).reshape(len(a), -1) for a in arrays]
    return [row.tobytes() for row in np.concatenate(rows, axis=1)]


class _Keep(gpunn.callbacks.Callback):
    """Keeps the weights and the state as they are before the averages replace the weights."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights, self.training = self.model.get_weights(), self.model.training_state()


class LongWay:
    """The weights, the state of the optimizer and the learning rate, from model to model."""

    def __init__(self, config: Config, weights: Any, **of: Any) -> None:
        self.config, self.weights, self.of = config, weights, of
        self.state: Any = None
        self.rate: float | None = None

    def model(self) -> Any:
        """A new model that is where the last one was."""
        gpunn.backend.clear_session()
        made = model_of(gpunn, self.config, **self.of)
        compile_model(gpunn, made, self.config)
        made.set_weights(self.weights)
        if self.state is not None:
            made.set_training_state(*self.state)
        if has_rate(self.config):
            self.rate = self.rate or float(made.optimizer.learning_rate)
            made.optimizer.learning_rate = self.rate
        return made

    def keep(self, model: Any) -> None:
        self.weights, self.state = model.get_weights(), model.training_state()
        self.rate = float(model.optimizer.learning_rate)

    def fits(self, orders: list[Epochs]) -> list[Config]:
        before = gpunn.config.floatx()
        gpunn.config.set_floatx(self.config["dtype"])
        try:
            return [self.fit(k, epochs) for k, epochs in enumerate(orders)]
        finally:
            gpunn.config.set_floatx(before)
            gpunn.backend.clear_session()

    def fit(self, k: int, epochs: Epochs) -> Config:
        part, (alone, given) = self.config["fits"][k], data_in(self.config, k)
        model = self.model()
        if "compile" not in part["before"]:  # a new model from the state is compiled again
            change_before(gpunn, model, self.config, k)
        self.keep(model)
        if part["before"] == "new optimizer":
            self.state = None
        chosen = callbacks_in(self.config, k)
        swaps = any(name == "SwapEMAWeights" for name, _ in chosen)
        acting = [c for c in chosen if c[0] in ACTING]
        substitute = SimpleNamespace(
            stop_training=False, get_weights=lambda: self.weights, set_weights=self._set_weights,
            optimizer=SimpleNamespace(learning_rate=self.rate, fixed_learning_rate=self.rate),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            acts = gpunn.callbacks.CallbackList(
                callbacks_of(gpunn, {"callbacks": acting}, folder), model=substitute
            )
        history: dict[str, list[float]] = {}
        averaged, first = self.weights, alone["fit"].get("initial_epoch", 0)
        acts.on_train_begin({})
        for epoch, batches in enumerate(epochs, first):
            assert not substitute.stop_training
            acts.on_epoch_begin(epoch, {})
            self.rate = substitute.optimizer.learning_rate
            logs, averaged = self._epoch(alone, given, batches)
            held_out = validation_batches(alone, given)
            if held_out and _validates(alone["fit"].get("validation_freq", 1), epoch):
                judge = self.model()
                judge.set_weights(averaged if swaps else self.weights)
                found = judge.evaluate(data_set_of(gpunn, held_out), verbose=0, return_dict=True)
                logs |= {f"val_{name}": value for name, value in found.items()}
            acts.on_epoch_end(epoch, logs)
            self.rate = substitute.optimizer.learning_rate
            for name, value in logs.items():
                history.setdefault(name, []).append(value)
        if len(epochs) < alone["fit"]["epochs"] - first:
            assert substitute.stop_training or any(name == "stop" for name, _ in chosen)
        self.weights = averaged  # those of the optimizer, if it keeps averages
        acts.on_train_end({})
        model = self.model()
        x, y, *w = parts_of(alone, given, "_val", alone["fit"]["weights"])
        evaluated = model.evaluate(
            x, y, sample_weight=w[0] if w else None, batch_size=4, verbose=0, return_dict=True
        ) if part["evaluates"] else {}  # fmt: skip
        return result(self.config, k, model, history, evaluated)

    def _set_weights(self, weights: Any) -> None:
        self.weights = weights

    def _epoch(self, alone: Config, given: Config, batches: list[list[int]]) -> Any:
        """Train a new model on these batches; return the logs, and the weights it ends with."""
        parts = parts_of(alone, given, "", alone["fit"]["weights"])
        if alone["fit"]["weights"] == "classes":
            parts.append(np.array([BY_CLASS.get(c, 1.0) for c in _classes(parts[1])]))
        model, keep = self.model(), _Keep()
        arguments: Any = {"epochs": 1, "shuffle": False, "verbose": 0, "callbacks": [keep]}
        sizes = [len(batch) for batch in batches]
        if set(sizes[:-1]) <= {sizes[0]} and sizes[-1] <= sizes[0]:
            every = [row for batch in batches for row in batch]
            x, y, *w = (rows_in(p, np.array(every)) for p in parts)
            arguments |= {"x": x, "y": y, "sample_weight": w[0] if w else None}
            arguments["batch_size"] = sizes[0]
        else:  # a smaller batch is among the others
            each = [tuple(rows_in(p, np.array(b)) for p in parts) for b in batches]
            arguments["x"] = data_set_of(gpunn, each)
        history = model.fit(**arguments).history
        self.weights, self.state = keep.weights, keep.training
        return {name: value for name, (value,) in history.items()}, model.get_weights()


ACTING = ("EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler")


def _classes(y: np.ndarray) -> list[int]:
    rows = np.asarray(y).reshape(len(y), -1)
    return [int(row.argmax()) if len(row) > 1 else round(float(row[0])) for row in rows]


def _validates(frequency: Any, epoch: int) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def validation_batches(alone: Config, given: Config) -> list[Any]:
    """Return the batches on which an epoch of a fit is judged."""
    fit = alone["fit"]
    kind, weights, steps = fit["validation"], fit["weights"], fit.get("validation_steps")
    if kind is None:
        return []
    if kind in ("generator", "data set"):
        batches = batches_of(parts_of(alone, given, "_val", None), 3)
        return [*islice(cycle(batches), steps)] if kind == "generator" else batches[:steps]
    if kind == "split":
        weights = None if weights == "classes" else weights
        at = math.floor(alone["rows"] * (1 - fit["validation_split"]))
        parts = parts_of(alone, given, "", weights)
        parts, rows = [rows_in(p, slice(at, None)) for p in parts], alone["rows"] - at
    else:
        weighted = kind == "weighted data" and weights != "classes"
        parts, rows = parts_of(alone, given, "_val", weights if weighted else None), 7
    given = None if fit["data"] in ("generator", "data set") else fit["batch_size"]
    size = fit.get("validation_batch_size") or given
    size = size or (math.ceil(rows / steps) if steps else 32)
    return batches_of(parts, size)[:steps]
