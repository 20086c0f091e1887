"""Training and evaluation of a model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from gpunn.callbacks import CallbackList, History
from gpunn.callbacks.streams import check_verbose
from gpunn.common.arguments import (
    check_choice,
    check_epochs,
    check_fraction,
    check_integer,
)
from gpunn.feeding import classes, data
from gpunn.feeding.arrays import value_range
from gpunn.feeding.batches import Batches, check_ends, fed, peek
from gpunn.feeding.rows import Rows
from gpunn.feeding.spec import Spec
from gpunn.training import loops
from gpunn.training.programs import Programs

from .predicting import DEFAULT_BATCH, PREDICT_BATCH, PredictingModel, rows_of_a_batch


class FittingModel(PredictingModel):
    """`PredictingModel` with fit and evaluate; `Model` adds the graph and files."""

    abstract = True  # not an entry to look up

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        validation_strategy: str = "tail",
    ) -> History:
        """Train the model for a number of epochs.

        Args:
            x: Input data (rows, ...): a NumPy or CuPy array or any object with ``__dlpack__``; a
                pandas, polars or Arrow frame; or a SciPy sparse matrix, which is made dense batch
                by batch. For several inputs, a list, or a dictionary by input name. Or something
                that yields batches ``(x, y)`` or ``(x, y, weight)``.
            y: Targets (rows, ...), in the same forms; class indices (rows,) for a sparse loss.
            batch_size: Samples per step; the last batch may be smaller. Default 32, or, with
                ``steps_per_epoch``, the size that divides the rows among that many steps.
            epochs: Number of the last epoch (counted from ``initial_epoch``).
            verbose: 0 is silent. 1 prints a line per epoch, and shows a progress bar with metrics
                in a terminal or notebook. 2 prints only the line. ``"auto"`` is 1 in a terminal
                or notebook, otherwise 2.
            callbacks: A callback or a list of callbacks.
            validation_split: Fraction of the rows to validate on, with their ``sample_weight``.
            validation_data: ``(x, y)``, ``(x, y, weight)`` or batches. Each epoch starts again
                with the first batch; batches of a generator are kept in memory for that.
            shuffle: Whether each epoch visits the rows in a new order.
            class_weight: Factor on the loss by class, in training only.
            sample_weight: Factor on the loss by row.
            initial_epoch: Epoch to start from, to continue training a loaded model.
            steps_per_epoch: Batches per epoch; all by default.
            validation_steps, validation_batch_size, validation_freq: As in Keras. The batch size
                is ``batch_size`` by default, or divides the rows among the steps.
            validation_strategy: Which rows validation_split takes: ``"tail"`` (as
                Keras), ``"shuffled"`` or ``"stratified"``.

        Returns:
            A History whose ``history`` maps each metric to its values by epoch. Metrics
            without ``val_`` are means over the epoch while the weights change.

        Raises:
            ValueError, TypeError: for invalid data or arguments, before the first step.
            RuntimeError: if the model is already being trained, by another thread or by the
                call that runs a callback.
            gpunn.models.NonFiniteLossError: if the loss becomes NaN or infinite.
            gpunn.models.OutOfMemoryError: if a batch does not fit in device memory; the message
                names a batch size that would fit. Data that do not fit are streamed from the
                host, with a notice.
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        epochs = check_integer("epochs", epochs, 0)
        initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
        steps = check_integer("steps_per_epoch", steps_per_epoch, 1, None)
        validation_steps = check_integer("validation_steps", validation_steps, 1, None)
        validation_batch = check_integer(
            "validation_batch_size", validation_batch_size, 1, batch_size
        )
        check_fraction("validation_split", validation_split, below_one=True)
        check_choice("validation_strategy", validation_strategy, ("tail", "shuffled", "stratified"))
        verbose = check_verbose(verbose)
        validation_freq = check_epochs("validation_freq", validation_freq)
        with self._training("fit"):
            divided = None if batch_size else steps
            x, y, sample_weight = fed(x, y, sample_weight, batch_size or DEFAULT_BATCH, divided)
            trainer, rows = self._source(x, y, sample_weight, class_weight, "fit")
            if type(x) in (np.ndarray, np.memmap) and x.dtype.kind in "biuf":
                rest = {name: v for name, v in self.trained_on.items() if name != "range"}
                found = value_range(x)
                self.trained_on = {"range": found, **rest} if found else rest
            validation: Any = None
            parted = None
            if validation_data is not None:
                validation = self._validation_source(validation_data)
            elif validation_split:
                if not isinstance(rows, Rows):
                    raise ValueError(
                        "validation_split needs arrays; x yields batches. Use validation_data."
                    )
                how = validation_split, validation_strategy, trainer.spec
                parted = partial(_parted, rows, *how, class_weight is None)
                rows, validation = parted(trainer.seed)
            for argument, given, option, limit in (
                ("x", rows, "steps_per_epoch", steps),
                ("validation_data", validation, "validation_steps", validation_steps),
            ):
                check_ends(getattr(given, "source", None), limit, argument, option)
                once = isinstance(given, Batches) and given.once
                if once and limit is None and epochs > initial_epoch + 1:
                    raise ValueError(
                        f"{argument} is a generator, which can be read only once: pass {option}, "
                        f"or something that can be iterated again each epoch."
                    )
            if isinstance(validation, Batches):
                validation.keep(validation_steps)
            size = rows_of_a_batch(batch_size, rows, steps)
            feed = loops.BatchIterator(trainer, rows, size, True, bool(shuffle), steps)
            size = rows_of_a_batch(validation_batch, validation, validation_steps)
            check = validation and loops.BatchIterator(
                trainer, validation, size, False, limit=validation_steps
            )
            run = range(initial_epoch, epochs)
            callback_list = CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                model=self,
                epochs=epochs,
                steps=steps or feed.steps(),
                verbose=verbose,
                samples=feed.samples(),
                initial_epoch=initial_epoch,
                batch_size=batch_size if isinstance(rows, Rows) else None,
            )
            callback_list.set_data(rows, validation)
            # If no user code runs between epochs, prepare once for all of them.
            alone = callback_list.only_watch and isinstance(rows, Rows)
            with (
                callback_list,
                trainer.train() as programs,
                feed.prepared(programs) if alone else nullcontext(),
            ):
                loops.fit(self, programs, feed, check, callback_list, run, validation_freq, parted)
            assert self.history is not None
            return self.history

    def _source(
        self, x: Any, y: Any, weight: Any, class_weight: Any, argument: str
    ) -> tuple[Any, Rows | Batches]:
        """Return the trainer, and the data as rows or batches."""
        if data.is_array(x):
            trainer = self._ready(argument, x, y)
            where = "validation_data: " if argument == "validation_data" else ""
            rows = data.to_rows(
                trainer.spec, x, y, weight, class_weight, where=where, call=argument
            )
            return trainer, rows
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(
                f"{argument}: x yields batches, which bring their own {extra}; leave it out."
            )
        source, first = peek(x, "validation_data" if argument == "validation_data" else "x")
        trainer = self._ready(
            argument, *(first[:2] if isinstance(first, (tuple, list)) else [first])
        )
        return trainer, Batches(trainer.spec, source, first, argument, class_weight)

    def _validation_source(self, given: Any) -> Rows | Batches:
        assert self.plan is not None
        x, y, weight = fed(*data.validation_parts(given, len(self.graph.inputs)), PREDICT_BATCH)
        return self._source(x, y, weight, None, "validation_data")[1]

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute loss and metrics on data with the current weights.

        Args:
            x, y, sample_weight: As for `fit`.
            batch_size: Rows per batch. By default gpunn chooses a size, or, with ``steps``, the
                size that divides the rows among that many steps.
            steps: Number of batches; all by default.
            verbose, callbacks: As for `fit`.
            return_dict: Whether to return a dictionary.

        Returns:
            The loss, or, with metrics, a list ``[loss, metric, ...]``; with
            ``return_dict``, a dictionary by name.
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        verbose = check_verbose(verbose)
        check_ends(x, steps, "x", "steps")
        x, y, sample_weight = fed(x, y, sample_weight, batch_size or PREDICT_BATCH)
        trainer, rows = self._source(x, y, sample_weight, None, "evaluate")
        size = rows_of_a_batch(batch_size, rows, steps, DEFAULT_BATCH if steps else PREDICT_BATCH)
        feed = loops.BatchIterator(trainer, rows, size, False, limit=steps)
        callback_list = CallbackList(
            callbacks, model=self, steps=steps or feed.steps(), verbose=verbose
        )
        evaluated = partial(loops.evaluate, self)
        logs = trainer.evaluations.call(evaluated, feed, callback_list)
        if verbose:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
        return _result(logs, return_dict)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Run one update on one batch; return its loss (before the update) and metrics."""
        with self._training("train_on_batch"):
            trainer = self._ready("train_on_batch", x, y)
            rows = data.to_rows(trainer.spec, x, y, sample_weight, class_weight)
            with trainer.train() as programs:
                logs = programs.on_batch(rows)
        return _result(logs, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute loss and metrics on one batch."""
        trainer = self._ready("test_on_batch", x, y)
        rows = data.to_rows(trainer.spec, x, y, sample_weight)
        return _result(trainer.evaluations.call(Programs.on_batch, rows), return_dict)


def _parted(
    rows: Rows, fraction: float, strategy: str, spec: Spec, weighs: bool, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into training rows and held-out rows.

    ``weighs``: whether held-out rows keep their weights. As in Keras, class weights do not apply.
    """
    training, validation = classes.split(rows, fraction, strategy, spec, seed)
    return training, validation if weighs else validation.unweighted()


def _result(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
