"""The two ends of a step: batch, loss and metrics; the update and what belongs to it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..control import UPDATES, Control
from ..order import Order
from ..recorder import touching
from .operation import Array, Operations, operation


class Steps(Operations):
    """The two ends of a step."""

    @operation
    @touching(lambda given: {"source": given["source"][: len(given["out"])], "out": given["out"]})
    @abstractmethod
    def gather(
        self,
        source: Array,
        order: Order,
        control: Control,
        out: Array,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        """The next batch: out[i] = source[order[position + i]] * scale + offset.

        ``source`` (rows, ...) of any real dtype, ``out`` (batch, ...) of the model's
        dtype (or int32 for labels); pass and position are read from ``control``.
        """

    @operation
    @abstractmethod
    def loss(
        self,
        loss: Any,
        y_true: Array,
        y_pred: Array,
        weights: Array | None,
        scale: float,
        gradient: Array | None,
        totals: Array,
    ) -> None:
        """Loss, its gradient and the count of right answers in one pass over the rows.

        With l_i the loss of row i and w_i its weight (1 without weights):
        gradient = scale * w_i * dl_i/dy_pred (skipped if None);
        totals[0] += scale * rows * sum(w_i * l_i); totals[1] += rows;
        and where ``loss.counts_matches``: totals[2] += rows whose largest
        prediction is at the true class (the first one on ties), unless totals has
        only two places.

        y_pred (rows, classes); y_true int32 (rows,) for a loss with
        ``loss.sparse``, otherwise (rows, classes) in the model's dtype;
        totals float64 (3,) or (2,).
        """

    @operation
    @abstractmethod
    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        """Add one batch to a metric's float64 ``state`` on the device."""

    @operation
    @touching(
        lambda given: {
            "values": given["arena"].values,
            "gradients": given["arena"].gradients,
            **{name: given["arena"].slots[name] for name in given["optimizer"].slot_names},
        },
        rewritten=lambda given: ("values", *given["optimizer"].slot_names),
    )
    @abstractmethod
    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        """One optimizer step over the arena's flat arrays (all runs of trainable segments).

        Of ``optimizer.steps_per_update`` steps the last one does it.
        """

    @operation
    @touching(
        lambda given: {
            "values": given["arena"].values,
            "direction": given["arena"].slots["direction"],
        },
        rewritten=lambda given: ("values",),
    )
    @abstractmethod
    def step_by_norms(self, optimizer: Any, arena: Any, control: Control) -> None:
        """values -= rate * |values| / |direction| * direction, parameter by parameter.

        ``direction`` is the slot of this name, which `update` has filled. The ratio is 1
        where one of the norms is 0.
        """

    @operation
    @touching(
        lambda given: {
            "gradients": given["arena"].gradients,
            "sums": given["arena"].slots["gradient_accumulator"],
        },
        rewritten=lambda given: ("gradients", "sums"),
    )
    @abstractmethod
    def accumulate_gradients(self, optimizer: Any, arena: Any, control: Control) -> None:
        """Add the gradients to the slot "gradient_accumulator". In the step that updates they
        become the mean of all that were added, and the slot becomes zero."""

    @operation
    @touching(
        lambda given: {
            "values": given["arena"].values,
            "averages": given["arena"].slots["average"],
        },
        rewritten=lambda given: ("averages",),
    )
    @abstractmethod
    def average_weights(self, optimizer: Any, arena: Any, control: Control) -> None:
        """averages = m averages + (1 - m) values, with m = ``optimizer.ema_momentum``.

        Until the first update has been counted m is 0. In the steps before which
        ``updates + 1`` is a multiple of ``optimizer.ema_overwrite_frequency``, the values
        become their averages.
        """

    @operation
    @touching(lambda given: {"gradients": given["arena"].gradients}, lambda given: ("gradients",))
    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        """Limit the gradients in place: each element ("value"), the norm of each
        parameter's ("norm") or the norm of all together ("global_norm")."""
        xp = self.xp
        if by == "value":
            for run in arena.runs:
                xp.clip(run.gradients, -limit, limit, out=run.gradients)
            return
        groups = (
            [[p.gradient] for p in arena.trained]
            if by == "norm"
            else [[run.gradients for run in arena.runs]]
        )
        for group in groups:
            # A dot product of the flat array with itself would go to BLAS, which a
            # recorded graph cannot hold; square and sum can be recorded.
            squares = 0.0
            for g in group:
                square = self.scratch(g.shape, g.dtype, "square")
                xp.square(g, out=square)
                squares = squares + xp.sum(square)
            factor = limit / xp.maximum(xp.sqrt(squares), limit)
            for g in group:
                xp.multiply(g, factor.astype(g.dtype), out=g)

    @operation
    @touching(
        lambda given: {
            "values": given["arena"].values,
            **({"gradients": given["arena"].gradients} if given["gradients"] else {}),
            "totals": given["totals"],
        },
        rewritten=lambda given: ("gradients", "totals"),
    )
    @abstractmethod
    def regularize(self, arena: Any, rows: int, gradients: bool, totals: Array) -> None:
        """totals[0] += rows * the penalties on the arena's weights, as in `loss`, where a batch
        of ``rows`` adds rows times its mean loss; with ``gradients`` their derivatives are added
        to the gradients."""

    @operation
    @touching(rewritten=lambda given: ("w",))
    @abstractmethod
    def constrain(self, constraint: Any, w: Array) -> None:
        """Bring the weights of one parameter back to what ``constraint`` allows, in place."""

    @operation
    @touching(
        lambda given: {
            "updates": given["control"].counters[UPDATES : UPDATES + 1],
            "rate": given["control"].rates[given["place"] : given["place"] + 1],
        }
    )
    @abstractmethod
    def schedule(self, schedule: Any, control: Control, place: int, every: int = 1) -> None:
        """control.rates[place] = the schedule's value after the updates done so far.

        An update is done every so many steps.
        """

    @operation
    @abstractmethod
    def advance(self, control: Control, rows: int, totals: Array) -> None:
        """End of a step: one more batch and update, ``rows`` further in the order.

        If totals[0] (the loss so far) is not finite and no earlier step was marked,
        the step is marked in the control block.
        """
