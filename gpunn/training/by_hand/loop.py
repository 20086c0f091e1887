"""`fit`, `evaluate` and `predict` of a model that defines its own steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from gpunn.callbacks import CallbackList, History
from gpunn.common.nested import found_in, replaced
from gpunn.distribution import launch
from gpunn.feeding import data
from gpunn.feeding.batches import RepeatableBatches
from gpunn.feeding.classes import check_class_weight
from gpunn.layers.symbolic import TreeDef
from gpunn.ops.running.step_function import Function
from gpunn.optimizers.on_arrays import Update
from gpunn.structure.non_finite import origin
from gpunn.training.batch_iterator import CHUNK_SECONDS
from gpunn.training.fitting import READ_ONCE
from gpunn.training.loops import NonFiniteLossError, validates, warn_of_end
from gpunn.training.predicting import on_device
from gpunn.training.predictor import PREDICT_BATCH

from .feed import Feed, arrays_of
from .steps import ordered, steps_of


def fit(
    model: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    epochs: int,
    verbose: int,
    callbacks: Any,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Mapping[int, float] | str | None,
    sample_weight: Any,
    initial_epoch: int,
    steps: int | None,
    validation_steps: int | None,
    validation_batch: int | None,
    validation_freq: Any,
    validation_strategy: str,
) -> History:
    """Train a model by its `train_step`; see `gpunn.Model.fit`."""
    training = model._training
    with training.exclusively("fit"):
        step = steps_of(model).function("train_step")
        if launch.current().size > 1:
            raise ValueError(
                f"{model.name} defines train_step, which one process runs: several processes "
                f"share the steps of fit alone."
            )
        if validation_strategy != "tail":
            raise ValueError(f"validation_strategy must be 'tail' for {model.name}'s train_step.")
        held_out: Any = None
        if validation_split:
            (x, y, sample_weight), held_out = _split(x, y, sample_weight, validation_split)
        seed = training.seed if shuffle else None
        feed = Feed(
            x, y, sample_weight, batch_size, seed, steps, "x", "steps_per_epoch", class_weight
        )
        if steps is None and feed.once and epochs > initial_epoch + 1:
            raise ValueError(READ_ONCE.format(argument="x", option="steps_per_epoch"))
        own = steps_of(model)
        feed.passes, check = own.passes_begun(), None
        if validation_data is not None:
            held_out = data.validation_parts(validation_data, _inputs_of(model))
        if held_out is not None:
            check = _validation(held_out, validation_batch, validation_steps)
        listeners = CallbackList(
            callbacks, add_history=True, add_progbar=verbose != 0, model=model, epochs=epochs,
            steps=feed.steps(), verbose=verbose, samples=None if feed.is_stream else feed.rows,
            initial_epoch=initial_epoch, batch_size=None if feed.is_stream else batch_size,
        )
        run = range(initial_epoch, epochs)
        with listeners:
            try:
                _fit(model, step, feed, check, listeners, run, validation_freq)
            finally:
                own.count_passes(feed.passes)
                if not feed.is_stream and feed.has_large_copies:
                    step.forget_rows()
        history: History = model.history
        return history


def _fit(
    model: Any,
    step: Function,
    feed: Feed,
    check: Feed | None,
    callbacks: CallbackList,
    epochs: range,
    validation_freq: Any,
) -> None:
    model.stop_training, model._resume_from = False, None
    logs: dict[str, float] = {}
    warned = False
    callbacks.on_train_begin({})
    if model._resume_from is not None:
        raise ValueError(
            f"{model.name} defines train_step: a run of it cannot be resumed within fit. Save the "
            f"model, and continue with initial_epoch."
        )
    for epoch in epochs:
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch, {})
        logs, count = _train(model, step, feed, callbacks)
        limit = feed.limit
        if limit is not None and count < limit and not (warned or model.stop_training):
            warn_of_end(epoch, epochs, count, limit, feed.exhausted)
            warned = True
        if not count and feed.exhausted and epoch > epochs.start:
            break
        if not count:
            raise ValueError("x yielded no batches: there is nothing to train on.")
        if not math.isfinite(logs.get("loss", 0.0)) and not model.stop_training:
            where = f"the loss became {logs['loss']} in epoch {epoch + 1}"
            if (said := _bad_layer(model, feed)) is not None:
                raise NonFiniteLossError(f"T{where[1:]}: {said}")
            raise NonFiniteLossError(
                f"Training diverges: {where}. Usual reasons: a learning rate that is too high, or "
                f"inputs that are not scaled."
            )
        if check is not None and validates(epoch, validation_freq):
            found = _evaluate(model, check, callbacks)
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, dict(logs))
        if model.stop_training or feed.exhausted:
            break
    optimizer = model._training.optimizer
    if optimizer is not None and optimizer.use_ema and len(epochs):
        variables = [v for v in model.trainable_variables if optimizer._slots.is_stepped(v)]
        if variables:  # the step may leave some to another optimizer
            Update.of(optimizer, variables).finish(variables)
    callbacks.on_train_end(logs)


def _bad_layer(model: Any, feed: Feed) -> str | None:
    """Return a sentence about the layer that makes values which are not finite of a batch."""
    with suppress(Exception):  # an error of this search must not hide that of the loss
        for first in range(0, 0 if feed.is_stream else feed.rows, feed.size):
            batch = feed.batch(slice(first, first + feed.size))
            x = batch[0] if isinstance(batch, tuple) else batch
            predictor, xs = on_device(model._training.predictor_for(x), x)
            bound = predictor.plan, predictor.arena, xs
            found = origin(*bound, training=True, seed=model._training.seed)
            if found is not None:
                return found.explained(first + found.row)
    return None


def _train(
    model: Any, step: Function, feed: Feed, callbacks: CallbackList
) -> tuple[dict[str, float], int]:
    """Run an epoch; return the logs of its last step, and the number of steps."""
    progress, result, count, done = callbacks.needs_progress, None, 0, 0
    if not feed.is_stream and not callbacks.needs_train_batches:
        return _train_on_rows(model, step, feed, callbacks)
    for batch in feed.epoch():
        watched = callbacks.next_train_batch(count) == count
        if watched:
            callbacks.on_train_batch_begin(count, {})
        result = step.start(batch)
        count += 1
        if watched:
            callbacks.on_train_batch_end(count - 1, logs_of(result, "train_step"))
        if progress:
            done += rows_of(batch)
            callbacks.on_train_progress(done, None if feed.is_stream else feed.rows)
        if model.stop_training:
            break
    return ({} if result is None else logs_of(result, "train_step")), count


def _train_on_rows(
    model: Any, step: Function, feed: Feed, callbacks: CallbackList
) -> tuple[dict[str, float], int]:
    """Run an epoch over arrays, of which nobody sees each batch: many steps at once."""
    count, result = 0, None
    progress = callbacks.needs_progress
    for number, position, steps, size in feed.pieces():
        until = position + steps * size
        while position < until and not model.stop_training:
            started = time.perf_counter()
            program = step.program_for(feed.batch(slice(0, size)))
            sources = None if program is None else feed.placed(program.backend)
            rows = None
            if program is not None and sources is not None:
                rows = program.on_rows(sources, feed.order)
            if rows is None:
                now = 1
                place = feed.order.indices(number)[position : position + size]
                result = step.start(feed.batch(place))
            else:
                now = min(rows.at_once, (until - position) // size)
                rows.begin(number, position)
                result = rows.run(now)
                took = max(time.perf_counter() - started, 1e-9)
                rows.at_once = max(1, min(int(now * CHUNK_SECONDS / took), 2 * rows.at_once))
            position, count = position + now * size, count + now
            if progress:
                callbacks.on_train_progress(position, feed.rows)
    return ({} if result is None else logs_of(result, "train_step")), count


def rows_of(batch: Any) -> int:
    """Return the number of rows of a batch."""
    first: Any = next(iter(TreeDef.of(batch).unpack(batch)))
    return len(first) if np.ndim(first) else 1


def logs_of(result: Any, method: str) -> dict[str, float]:
    """Return what a step returned, a dictionary, as numbers by name."""
    found = result.values()
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{method} must return a dictionary of numbers by name, such as "
            f"{{'loss': loss}}; got {type(found).__name__}."
        )
    logs = {}
    for name, value in found.items():
        number = np.asarray(value, np.float64)
        logs[str(name)] = float(number if number.size == 1 else number.mean())
    return logs


def evaluate(
    model: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    verbose: int,
    sample_weight: Any,
    steps: int | None,
    callbacks: Any,
) -> dict[str, float]:
    """Evaluate a model by its `test_step`; see `gpunn.Model.evaluate`."""
    feed = Feed(x, y, sample_weight, batch_size, None, steps)
    listeners = CallbackList(callbacks, model=model, steps=feed.steps(), verbose=verbose)
    with listeners.released_at_error():
        logs = ordered(model, _evaluate(model, feed, listeners))
    if verbose:
        print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
    return logs


def _evaluate(model: Any, feed: Feed, callbacks: CallbackList) -> dict[str, float]:
    step = steps_of(model).function("test_step")
    model.stop_evaluating = False
    model.reset_metrics()
    feed.restart()
    callbacks.on_test_begin({})
    result = None
    for count, batch in enumerate(feed.epoch()):
        if callbacks.needs_test_batches:
            callbacks.on_test_batch_begin(count, {})
        result = step.start(batch)
        if callbacks.needs_test_batches:
            callbacks.on_test_batch_end(count, logs_of(result, "test_step"))
        if model.stop_evaluating:
            break
    if result is None:
        raise ValueError("The data yielded no batches: there is nothing to evaluate.")
    logs = logs_of(result, "test_step")
    callbacks.on_test_end(logs)
    return logs


def predict(model: Any, x: Any, size: int | None, steps: int | None, callbacks: Any) -> Any:
    """Predict by a model's `predict_step`; see `gpunn.Model.predict`."""
    size = size if size or steps else PREDICT_BATCH
    feed = Feed(x, None, None, size, None, steps)
    listeners = CallbackList(callbacks, model=model, steps=feed.steps())
    step = steps_of(model).function("predict_step")
    found: list[list[np.ndarray]] = []
    form = None
    with listeners.released_at_error():
        listeners.on_predict_begin({})
        for number, batch in enumerate(feed.epoch()):
            listeners.on_predict_batch_begin(number, {})
            y = step.start(batch).values()
            form = form or TreeDef.of(y)
            found.append([np.asarray(part) for part in form.unpack(y)])
            listeners.on_predict_batch_end(number, {"outputs": y})
        listeners.on_predict_end({})
    if form is None:
        raise ValueError("x yields no batches: there is no data.")
    outputs = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return outputs[0] if form.kind is None else form.pack(outputs)


def on_batch(model: Any, name: str, x: Any, y: Any, weight: Any, by_class: Any) -> dict[str, float]:
    """Run `train_step` or `test_step` on one batch."""
    if by_class is not None:
        check_class_weight(by_class, is_whole=False)
    with model._training.exclusively(name.replace("step", "on_batch")):
        rows = max(len(np.atleast_1d(a)) for a in TreeDef.of(x).unpack(x))
        model.reset_metrics()
        (batch,) = Feed(x, y, weight, rows, by_class=by_class).epoch()
        return logs_of(steps_of(model).function(name).start(batch), name)


def _split(x: Any, y: Any, weight: Any, fraction: float) -> tuple[list[Any], list[Any]]:
    """Return the first rows of each part, and the last ones as validation data."""
    if not data.is_array(x):
        raise ValueError("validation_split needs arrays; x yields batches. Use validation_data.")
    names = ("x", "y", "sample_weight")
    parts = [
        None if part is None else arrays_of(part, name)
        for part, name in zip((x, y, weight), names, strict=True)
    ]
    rows = len(next(found_in(parts, np.ndarray)))
    at = math.floor(rows * (1.0 - fraction))
    if not 0 < at < rows:
        raise ValueError(
            f"validation_split={fraction} of {rows} rows leaves none for one of the two parts."
        )

    def part_of(place: slice) -> list[Any]:
        return [None if p is None else replaced(lambda a: a[place], p) for p in parts]

    return part_of(slice(at)), part_of(slice(at, None))


def _inputs_of(model: Any) -> int:
    """Return the number of a model's inputs; 1 if it is not known."""
    declared = model._builder.declared_inputs()
    return 1 if declared is None else len(declared)


def _validation(parts: Any, batch_size: int | None, steps: int | None) -> Feed:
    x, y, weight = parts
    if hasattr(x, "__next__"):  # each epoch gets the same batches
        x = RepeatableBatches(x, steps)
    return Feed(x, y, weight, batch_size, None, steps, "validation_data", "validation_steps")
