"""What one of many models has to do, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.backends.shared.interrupts import end_if_asked
from gpunn.callbacks import Callback, History
from gpunn.feeding.batches import fed
from gpunn.models import Model, NonFiniteLossError
from gpunn.structure.nested import TRAINS

from .shared import Shared, taken


@dataclass(eq=False)
class Job:
    """The training of one model.

    Attributes:
        number: of the model in the list.
        model: compiled, and built unless its class trains it by its own steps.
        data: what all jobs share.
        rows, validation_rows: row numbers (rows,) in the shared data; None for all, or for a
            validation as ``arguments`` say.
        sample_weight, class_weight: of this model; the weights are of all shared rows.
        callbacks: of this model alone.
        arguments: all other arguments of `Model.fit`.
        context: what the calling thread has chosen, such as a backend; each job has its own.
        keeps_errors: whether ``error`` holds what the training raised, whatever it is; otherwise
            only that of a model that diverges.
        when_done: is called with the job, in the thread that trained it.
        history: of the epochs that are done.
        what: which training it is, in messages.
        error: what ended the training early.
        is_done: whether it ended, by an error too, but not by Ctrl-C.
    """

    number: int
    model: Model
    data: Shared
    rows: np.ndarray | None
    validation_rows: np.ndarray | None
    sample_weight: Any
    class_weight: Any
    callbacks: list[Callback]
    arguments: Mapping[str, Any]
    context: Context = field(default_factory=copy_context)
    when_done: Callable[[Job], None] | None = None
    keeps_errors: bool = False
    history: History = field(default_factory=History)
    what: str = ""
    error: Exception | None = None
    is_done: bool = False

    @property
    def row_count(self) -> int:
        """The number of rows to train on."""
        return self.data.rows if self.rows is None else len(self.rows)

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite."""
        losses: Sequence[float] = self.history.history.get("loss", ())
        return isinstance(self.error, NonFiniteLossError) or bool(
            losses and not math.isfinite(losses[-1])
        )

    def check(self) -> None:
        """Check the first rows as `fit` checks all, before any model trains: their shapes and
        weights are those of all.

        Raises:
            Exception: what `fit` would raise for these rows.
        """
        if self.model._replaces_steps(TRAINS):
            return  # its own steps decide what they read
        rows = np.arange(min(2, self.row_count)) if self.rows is None else self.rows[:2]
        given = *self.data.take(rows), taken(self.sample_weight, rows)
        training = self.model._training
        try:
            with training.exclusively("fit"):
                training.source(*fed(*given, len(rows)), self.class_weight, "fit")
        except Exception as error:
            error.add_note(f"In the first rows of {self}.")
            raise

    def __str__(self) -> str:
        return f"model {self.number} ({self.model.name!r})"

    def fit(self) -> None:
        """Train the model as `Model.fit` does on its rows.

        Raises:
            Exception: of the training, unless ``error`` keeps it.
        """
        self.context.run(self._fit)

    def _fit(self) -> None:
        end_if_asked()
        given, weight = dict(self.arguments), self.sample_weight
        if self.validation_rows is not None:
            held = *self.data.take(self.validation_rows), taken(weight, self.validation_rows)
            given["validation_data"] = held if weight is not None else held[:2]
        x, y = self.data.take(self.rows)
        self.model.history = None
        error: Exception | None = None
        try:
            self.model.fit(
                x, y, sample_weight=taken(weight, self.rows), class_weight=self.class_weight,
                callbacks=self.callbacks, verbose=0, **given,
            )  # fmt: skip
        except NonFiniteLossError as diverged:
            error = diverged
        except Exception as other:
            if not self.keeps_errors:
                other.add_note(f"In {self.what or f'the training of {self}'}.")
                raise
            error = other
        finally:
            self.history = self.model.history or self.history
        self.end(error)

    def end(self, error: Exception | None = None) -> None:
        """Note that the training ended; whoever trains the model without `fit` sets ``history``
        and calls this."""
        self.error, self.is_done = error, True
        if self.when_done is not None:
            self.when_done(self)
