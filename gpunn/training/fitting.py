"""`Model.fit` and `Model.evaluate`, once their arguments are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from gpunn.callbacks import CallbackList, History
from gpunn.distribution import launch
from gpunn.feeding import data
from gpunn.feeding.batches import PREDICT_BATCH, Batches, batched_arrays, check_ends, fed
from gpunn.feeding.rows import Rows

from . import loops
from .batch_iterator import BatchIterator
from .data_facts import record_data, record_doubt
from .programs import Programs
from .trainer import Trainer
from .training import Training

DEFAULT_BATCH = 32
READ_ONCE = (
    "{argument} is a generator, which can be read only once: pass {option}, or something that can "
    "be iterated again each epoch."
)


def fit(
    model: Any, source: Any, x: Any, y: Any, batch_size: int | None, epochs: int, verbose: int,
    callbacks: Any, validation_split: float, validation_data: Any, shuffle: bool,
    class_weight: Mapping[int, float] | str | None, sample_weight: Any, initial_epoch: int,
    steps: int | None, validation_steps: int | None, validation_batch: int | None,
    validation_freq: Any, validation_strategy: str,
) -> History:
    """Train a model; see `gpunn.Model.fit`.

    Args:
        source: What makes rows or batches of data, and trains on them: a `Training`, or an
            `OwnTrainer` for steps that the model defines.
    """
    training: Training = model._training
    with training.exclusively("fit"):
        batched = batched_arrays(x, y, sample_weight, steps, validation_split)
        if batched is not None:
            x, y, batch_size, shuffle = batched.x, batched.y, batched.batch_size, batched.shuffle
        order_seed = None if batched is None else batched.seed
        divided = None if batch_size else steps
        x, y, sample_weight = fed(x, y, sample_weight, batch_size or DEFAULT_BATCH, divided)
        trainer, rows = source.source(x, y, sample_weight, class_weight, "fit")
        record_data(model, trainer, x, rows)
        ranks = launch.current()
        if ranks.size > 1:
            from . import agreement

            arguments = {
                "batch_size": batch_size, "epochs": epochs, "initial_epoch": initial_epoch,
                "shuffle": bool(shuffle), "steps_per_epoch": steps,
                "validation_split": validation_split, "validation_steps": validation_steps,
                "validation_batch_size": validation_batch, "validation_freq": validation_freq,
                "validation_strategy": validation_strategy,
                "whether there is validation_data": validation_data is not None,
            }
            agreement.compare_models(ranks, trainer.built)
            agreement.compare(ranks, arguments)
            agreement.compare_data(ranks, trainer, rows)
            agreement.send_state(ranks, trainer.built)
            trainer.receive(ranks)
            if isinstance(trainer, Trainer):
                from .rehearsal import rehearse

                rehearse(trainer, rows if isinstance(rows, Rows) else rows.first())
        more = epochs > initial_epoch + 1
        validation: Any = None
        parted = None
        if validation_data is not None:
            batched = batched_arrays(validation_data, None, None, validation_steps)
            given = validation_data if batched is None else (batched.x, batched.y)
            validation = _validation_rows(source, given)
            if ranks.size > 1:
                agreement.compare_data(ranks, trainer, validation, "validation_data: ")
        elif validation_split:
            if not isinstance(rows, Rows):
                raise ValueError(
                    "validation_split needs arrays; x yields batches. Use validation_data."
                )
            how = validation_split, validation_strategy
            parted = partial(_parted, rows, *how, trainer, class_weight is None)
            rows, validation = parted(trainer.progress.seed)
        if isinstance(rows, Batches):
            _check_passes("x", rows, "steps_per_epoch", steps, more)
        if isinstance(validation, Batches):
            _check_passes("validation_data", validation, "validation_steps", validation_steps, more)
            validation.keep(validation_steps)
        size = rows_of_a_batch(batch_size, rows, steps)
        feed = BatchIterator(trainer, rows, size, True, bool(shuffle), steps, order_seed)
        size = rows_of_a_batch(validation_batch, validation, validation_steps)
        check = validation and BatchIterator(
            trainer, validation, size, False, limit=validation_steps
        )
        run = range(initial_epoch, epochs)
        callback_list = CallbackList(
            callbacks, add_history=True, add_progbar=verbose != 0, model=model, epochs=epochs,
            steps=steps or feed.steps(), verbose=verbose, samples=feed.samples(),
            initial_epoch=initial_epoch, batch_size=batch_size if isinstance(rows, Rows) else None,
        )
        callback_list.set_data(rows, validation)
        if ranks.size > 1:
            agreement.compare(ranks, callback_list.listening())
        # If no user code runs between epochs, prepare once for all of them.
        alone = callback_list.only_watch and isinstance(rows, Rows)
        with (
            callback_list,
            trainer.train(ranks) as programs,
            feed.prepared(programs) if alone else nullcontext(),
        ):
            loops.fit(model, programs, feed, check, callback_list, run, validation_freq, parted)
        if check is not None:
            record_doubt(model, trainer, check.data)
        return model.history


def evaluate(
    model: Any, source: Any, x: Any, y: Any, batch_size: int | None, verbose: int,
    sample_weight: Any, steps: int | None, callbacks: Any,
) -> dict[str, float]:
    """Compute loss and metrics of a model; see `gpunn.Model.evaluate`."""
    check_ends(x, steps, "x", "steps")
    batched = batched_arrays(x, y, sample_weight, steps)
    x, y = (x, y) if batched is None else (batched.x, batched.y)
    x, y, sample_weight = fed(x, y, sample_weight, batch_size or PREDICT_BATCH)
    trainer, rows = source.source(x, y, sample_weight, None, "evaluate")
    default = DEFAULT_BATCH if steps else trainer.evaluation_batch
    size = rows_of_a_batch(batch_size, rows, steps, default)
    feed = BatchIterator(trainer, rows, size, False, limit=steps)
    callback_list = CallbackList(
        callbacks, model=model, steps=steps or feed.steps(), verbose=verbose
    )
    evaluated = partial(loops.evaluate, model)
    with callback_list.released_at_error():
        logs: dict[str, float] = trainer.evaluations.call(evaluated, feed, callback_list)
    if verbose:
        print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
    return logs


def train_on_batch(
    training: Training, x: Any, y: Any, sample_weight: Any, class_weight: Any
) -> dict[str, float]:
    """See `gpunn.Model.train_on_batch`."""
    with training.exclusively("train_on_batch"):
        trainer = training.ready("train_on_batch", x, y)
        given = x, y, sample_weight, class_weight
        rows = data.to_rows(trainer.spec, *given, resolve=trainer.resolve)
        ranks = launch.current()
        if ranks.size > 1:
            from . import agreement

            agreement.compare_data(ranks, trainer, rows)
            if trainer.training.ranks is not ranks:
                from .rehearsal import rehearse

                agreement.compare_models(ranks, trainer)
                agreement.send_state(ranks, trainer)
                rehearse(trainer, rows)
        with trainer.train(ranks) as programs:
            logs = programs.on_batch(rows)
            loops.warn_of_bad_loss(programs, logs)
            return logs


def test_on_batch(training: Training, x: Any, y: Any, sample_weight: Any) -> dict[str, float]:
    """See `gpunn.Model.test_on_batch`."""
    trainer = training.ready("test_on_batch", x, y)
    rows = data.to_rows(trainer.spec, x, y, sample_weight, resolve=trainer.resolve)

    def tested(programs: Programs) -> dict[str, float]:
        logs = programs.on_batch(rows)
        loops.warn_of_bad_loss(programs, logs)
        return logs

    return trainer.evaluations.call(tested)


def _validation_rows(source: Any, given: Any) -> Rows | Batches:
    """Return the data of the argument ``validation_data``."""
    parts = data.validation_parts(given, source.input_count, source.takes_x_alone)
    x, y, weight = fed(*parts, PREDICT_BATCH)
    return source.source(x, y, weight, None, "validation_data")[1]


def _check_passes(
    argument: str, batches: Batches, option: str, limit: int | None, more: bool
) -> None:
    """Check that batches end, and that several epochs can read them."""
    check_ends(batches.source, limit, argument, option)
    if batches.once and limit is None and more:
        raise ValueError(READ_ONCE.format(argument=argument, option=option))


def _parted(
    rows: Rows, fraction: float, strategy: str, trainer: Trainer, weighs: bool, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into training rows and held-out rows.

    ``weighs``: whether held-out rows keep their weights. As in Keras, class weights do not apply.
    """
    from gpunn.feeding import classes

    how = fraction, strategy, trainer.labels(rows), seed, trainer.backend
    training, validation = classes.split(rows, *how)
    return training, validation if weighs else validation.unweighted()


def rows_of_a_batch(
    given: int | None, rows: Any, steps: int | None, default: int = DEFAULT_BATCH
) -> int:
    """Return the given batch size, or one that divides the rows of arrays among the steps."""
    if given is None and steps is not None and hasattr(rows, "__len__"):
        return math.ceil(len(rows) / steps)
    return given or default
