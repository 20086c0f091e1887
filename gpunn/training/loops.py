"""The loops of `fit` and `evaluate`: they run the steps and call the callbacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import length_hint
from typing import Any

import numpy as np

from gpunn.backends.contract.control import BAD_BATCH, POSITION
from gpunn.common.names import warn
from gpunn.distribution.communicator import ALONE, Communicator
from gpunn.feeding.rows import Rows

from .batch_iterator import BatchIterator
from .programs import Programs


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the message names the epoch and the step.

    `gpunn.Model.fit` raises it instead of training on. It is a ``FloatingPointError``:

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> model.fit([[1.0]], [[1e30]], verbose=0)
    Traceback (most recent call last):
    gpunn.training.loops.NonFiniteLossError: ...
    """


def fit(
    model: Any, programs: Programs, feed: BatchIterator, validation: BatchIterator | None,
    callbacks: Any, epochs: range, validation_freq: Any,
    parted: Callable[[int], tuple[Rows, Rows]] | None = None,
) -> None:
    """Train for these epochs and call the callbacks.

    ``parted`` returns the rows of both feeds for a seed, if they are a split of one data set.
    """
    trainer, seed, ranks = feed.trainer, feed.trainer.progress.seed, programs.ranks
    if model.stop_training or model._resume_from:  # seldom; setting an attribute takes time
        model.stop_training, model._resume_from = False, None
    logs: dict[str, float] = {}
    listeners = None if callbacks.only_watch else callbacks  # for batches, and for validation
    if any(callback.saves_states for callback in callbacks.callbacks):
        trainer.check_state()
    callbacks.on_train_begin({})
    if ranks.size > 1:
        from .agreement import average_state, check_weights, send_callbacks, send_state

        model._resume_from = ranks.first(model._resume_from)
        if model._resume_from is not None:
            send_state(ranks, trainer.built)
            trainer.receive(ranks)
            send_callbacks(ranks, callbacks.callbacks)
    first_batch, warned = 0, False
    if model._resume_from is not None:
        first_epoch, first_batch = model._resume_from
        if parted is not None and trainer.progress.seed != seed:  # the resumed run had another seed
            assert validation is not None
            rows, held_out = parted(trainer.progress.seed)
            feed.read(rows)
            validation.read(held_out)
            callbacks.set_data(rows, held_out)
        done = range(epochs.start, first_epoch)
        epochs = range(first_epoch, epochs.stop)
        feed.resume(int(trainer.control.get()[POSITION]), len(done), first_batch)
        if validation is not None:
            validation.catch_up(sum(validates(epoch, validation_freq) for epoch in done))
    upcoming = iter(epochs)

    def record(sums: np.ndarray) -> None:
        """Report an epoch that is over, and of which nobody has been told that it began."""
        nonlocal logs
        epoch, logs = next(upcoming), trainer.logs_of(sums)
        _refuse_bad_loss(programs, feed, epoch, steps, logs, model, parted is None)
        callbacks._note(epoch, logs)

    def unwatched() -> int:
        """Return how many upcoming epochs nobody needs to be told of before they are over."""
        if model.stop_training or validation or ranks.size > 1 or trainer.layer_metrics:
            return 0
        return int(min(length_hint(upcoming), callbacks._epochs_ahead()))

    for epoch in upcoming:
        if not first_batch:
            programs.reset_totals()
        callbacks.on_epoch_begin(epoch, {})
        limit = feed.remaining_steps(first_batch)
        steps = feed.run(programs, listeners, first_batch, model)
        over = feed.exhausted
        if limit is not None and steps < limit and not (warned or model.stop_training):
            warn_of_end(epoch, epochs, steps, limit, over)
            warned = True
        if steps == 0 and over and epoch > epochs.start:
            break
        if steps == 0 and not first_batch:
            raise ValueError("x yielded no batches: there is nothing to train on.")
        first_batch = 0
        logs = programs.logs()
        if ranks.size > 1:
            check_weights(ranks, trainer.built, epoch)
            average_state(ranks, trainer.built)
        _refuse_bad_loss(programs, feed, epoch, steps, logs, model, parted is None)
        if validation is not None and validates(epoch, validation_freq):
            evaluated = partial(evaluate, model, ranks=ranks)
            found = trainer.evaluations.call(evaluated, validation, listeners)
            logs.update({f"val_{name}": value for name, value in found.items()})
        callbacks.on_epoch_end(epoch, dict(logs))
        if ranks.size > 1:
            model.stop_training = ranks.any(model.stop_training)
            ranks.compare_warnings()
        while most := unwatched():
            left = length_hint(upcoming)
            feed.run_epochs(programs, most, record)
            if length_hint(upcoming) == left:  # they do not run at once
                break
        if model.stop_training or over:
            break
    trainer.finish()
    callbacks.on_train_end(logs)


def warn_of_end(epoch: int, epochs: range, steps: int, limit: int, over: bool) -> None:
    """Warn that an epoch has fewer steps than were asked for; ``over``: it is the last one."""
    warn(
        f"The data ran out in epoch {epoch + 1} of {epochs.stop}, after {steps} of {limit} "
        f"steps: {'training' if over else 'the epoch'} ends there."
    )


def validates(epoch: int, frequency: Any) -> bool:
    """Whether `fit` validates after an epoch."""
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def _refuse_bad_loss(
    programs: Programs, feed: BatchIterator, epoch: int, steps: int, logs: dict[str, float],
    model: Any, whole: bool,
) -> None:
    """Raise an error for a loss that is not finite; ``whole``: the feed has all rows of x."""
    loss = logs.get("loss", 0.0)
    if math.isfinite(loss) or model.stop_training:
        return
    trainer = feed.trainer
    bad = trainer.bad_batch()
    step = steps if bad is None else bad - (trainer.progress.batches - steps) + 1
    where = f"the loss became {loss} in epoch {epoch + 1}, step {step}"
    if (found := programs.bad_layer(feed, whole)) is not None:
        raise NonFiniteLossError(f"T{where[1:]}: {found}")
    optimizer = trainer.optimizer
    rate = "" if optimizer is None else f" (now {optimizer.learning_rate:g})"
    raise NonFiniteLossError(
        f"Training diverges: {where}. "
        f"Usual reasons: a learning rate that is too high{rate}, or inputs that are not scaled. "
        f"Try a tenth of the learning rate, Rescaling(1/255), or clipnorm=1."
    )


def warn_of_bad_loss(
    programs: Programs, logs: dict[str, float], feed: BatchIterator | None = None
) -> None:
    """Warn of the layer that made a loss not finite which is returned, as in Keras."""
    if math.isfinite(logs.get("loss", 0.0)):
        return
    found = programs.bad_layer(feed, whole=True)
    if not programs.training:
        programs.control.set(BAD_BATCH, -1)  # the next evaluation looks for its own
    if found is not None:
        warn(f"The loss is {logs['loss']}: {found}")


def evaluate(
    model: Any, programs: Programs, feed: BatchIterator, callbacks: Any,
    ranks: Communicator = ALONE,
) -> dict[str, float]:
    """Run one pass over the data, of which these ranks share the rows; return loss and metrics."""
    programs.join(ranks)
    programs.reset_totals()
    if callbacks is not None:
        callbacks.on_test_begin({})
    model.stop_evaluating = False
    feed.restart()
    done = feed.run(programs, callbacks, 0, model)
    if not done:
        raise ValueError("The data yielded no batches: there is nothing to evaluate.")
    if feed.limit is not None and done < feed.limit and not model.stop_evaluating:
        warn(f"The data to evaluate on ran out after {done} of {feed.limit} steps.")
    logs = programs.logs()
    warn_of_bad_loss(programs, logs, feed)
    if callbacks is not None:
        callbacks.on_test_end(logs)
    return logs
