"""What one of many models has to do, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.callbacks import Callback, History
from gpunn.models import Model, NonFiniteLossError

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
        arguments: the other arguments of `Model.fit`, the same for all models.
        history: of the epochs that are done.
        error: what ended the training early.
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
    history: History = field(default_factory=History)
    error: BaseException | None = None

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

    def fit(self) -> None:
        """Train the model as `Model.fit` does on its rows, and keep the history and the error."""
        given, weight = dict(self.arguments), self.sample_weight
        if self.validation_rows is not None:
            held = *self.data.take(self.validation_rows), taken(weight, self.validation_rows)
            given["validation_data"] = held if weight is not None else held[:2]
        x, y = self.data.take(self.rows)
        self.model.history = None
        try:
            self.model.fit(
                x, y, sample_weight=taken(weight, self.rows), class_weight=self.class_weight,
                callbacks=self.callbacks, verbose=0, **given,
            )  # fmt: skip
        except Exception as error:
            self.error = error
        finally:
            self.history = self.model.history or self.history
