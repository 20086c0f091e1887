"""The start and end of a step: batch, loss and metrics; the update and related operations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpunn.backends.shared.order import Order

from .control import RATES, UPDATES, Control
from .declaration import COUNTERS, PLAIN, OpCall, reads, rewrites, writes
from .device import Array
from .formulas import (
    ConstraintProtocol,
    LossProtocol,
    MetricProtocol,
    OptimizerProtocol,
    ScheduleProtocol,
)
from .operation import Operations, operation

if TYPE_CHECKING:
    from .ranks import Ranks

VALUES = rewrites("size", of=lambda call: call.storage.values)
GRADIENTS = rewrites("size", of=lambda call: call.storage.gradients)


def _slot(name: str) -> Any:
    return lambda call: call.storage.slots[name]


def _slots(call: OpCall) -> dict[str, Array]:
    return {name: call.storage.slots[name] for name in call.optimizer.slot_names}


def _targets(call: OpCall) -> tuple[str, str]:
    """Class indices, or a row of targets for each row; of any width for a custom loss."""
    formula: Any = vars(call).get("loss", vars(call).get("metric"))
    if formula._of_tensors:
        return ("rows *targets", "float" if call.y_true.dtype.kind == "f" else "int32")
    return ("rows", "int32") if call.y_true.ndim == 1 else ("rows classes", "float")


def _weights(call: OpCall) -> tuple[str, str]:
    """Weights of rows; custom formulas may have several for each sample."""
    formula: Any = vars(call).get("loss", vars(call).get("metric"))
    return "rows *each" if formula._of_tensors else "rows", "float"


class Steps(Operations):
    """The start and end of a step."""

    @operation(
        source=reads("n *row", "real", part=lambda call: call.source[: len(call.out)]),
        out=writes("batch *row", "float or int32"),
        counters=COUNTERS,
        where=("order.rows <= n", "0 <= first < 2**31", PLAIN),
    )
    def gather(
        self,
        source: Array,
        order: Order,
        control: Control,
        out: Array,
        scale: float = 1.0,
        offset: float = 0.0,
        first: int = 0,
    ) -> None:
        """Gather the next batch: out[i] = source[order[position + first + i]] * scale + offset.

        ``first`` is above 0 for a rank that takes the rows of a batch from there on.
        ``source`` has any real dtype, ``out`` the model's (or int32 for labels); pass and
        position are read from ``control``. A batch outside the pass raises an error if the host
        can read the position; otherwise rows outside the pass are left unchanged.
        """

    @operation(
        y_true=reads(_targets),
        y_pred=reads("rows classes"),
        weights=reads(_weights, optional=True),
        gradient=writes("rows classes", optional=True),
        totals=rewrites("sums", "float64"),
        where=(
            "loss.sparse == (y_true.ndim == 1)", "2 <= sums <= 3",
            "batch == 0 or rows <= batch < 2**31",
        ),
    )
    def loss(
        self,
        loss: LossProtocol,
        y_true: Array,
        y_pred: Array,
        weights: Array | None,
        scale: float,
        gradient: Array | None,
        totals: Array,
        batch: int = 0,
    ) -> None:
        """Compute the loss, its gradient and the number of correct rows in one pass.

        With l_i the loss of row i and w_i its weight (1 without weights):
        gradient = scale * w_i * dl_i/dy_pred (skipped if None);
        totals[0] += scale * batch * sum(w_i * l_i); totals[1] += rows;
        and if ``loss.counts_matches``: totals[2] += rows whose largest
        prediction is at the true class (the first one on ties), unless totals has
        only two elements. ``batch`` is the number of rows of the whole batch, of which these may
        be a rank's shard; 0 means ``rows``.

        For a loss with ``loss.sparse``, y_true holds class indices, all below classes.
        """

    @operation(
        y_true=reads(_targets),
        y_pred=reads("rows classes"),
        weights=reads(_weights, optional=True),
        state=rewrites("places", "float64"),
        where=(
            "metric._of_tensors or metric.sparse in (None, y_true.ndim == 1)",
            "places == metric.state_size",
        ),
    )
    def metric(
        self,
        metric: MetricProtocol,
        y_true: Array,
        y_pred: Array,
        weights: Array | None,
        state: Array,
    ) -> None:
        """Add one batch to a metric's ``state`` on the device."""

    @operation(array=rewrites("*shape"))
    def sum_over_ranks(self, array: Array, ranks: Ranks) -> None:
        """Replace the array by its sum over all ranks, which all call this in the same step."""

    @operation(
        values=VALUES,
        gradients=reads("size", of=lambda call: call.storage.gradients),
        slots=rewrites("size", of=_slots),
        counters=COUNTERS,
    )
    def update(self, optimizer: OptimizerProtocol, storage: Any, control: Control) -> None:
        """Update all groups of trained parameters by one optimizer step over the flat arrays.

        With ``optimizer.steps_per_update`` > 1, only the last of these steps updates.
        """

    @operation(values=VALUES, direction=reads("size", of=_slot("direction")), counters=COUNTERS)
    def step_by_norms(self, optimizer: OptimizerProtocol, storage: Any, control: Control) -> None:
        """``values -= rate * |values| / |direction| * direction``, parameter by parameter.

        ``direction`` is the slot of this name, filled by `update`. The ratio is 1
        where one of the norms is 0.
        """

    @operation(
        gradients=GRADIENTS,
        sums=rewrites("size", of=_slot("gradient_accumulator")),
        counters=COUNTERS,
    )
    def accumulate_gradients(
        self, optimizer: OptimizerProtocol, storage: Any, control: Control
    ) -> None:
        """Add the gradients to the slot "gradient_accumulator". In the updating step, the gradients
        become the mean of all that were added, and the slot is reset to zero."""

    @operation(
        values=reads(
            "size",
            of=lambda call: call.storage.values,
            rewritten=lambda call: bool(call.optimizer.ema_overwrite_frequency),
        ),
        averages=rewrites("size", of=_slot("average")),
        counters=COUNTERS,
    )
    def average_weights(self, optimizer: OptimizerProtocol, storage: Any, control: Control) -> None:
        """averages = m averages + (1 - m) values, with m = ``optimizer.ema_momentum``.

        m is 0 until the first update has been counted. The averages overwrite the values in
        steps where ``updates + 1`` is a multiple of ``optimizer.ema_overwrite_frequency``.
        """

    @operation(gradients=GRADIENTS, where=("by in ('value', 'norm', 'global_norm')",))
    def clip_gradients(self, storage: Any, by: str, limit: float) -> None:
        """Clip the gradients in place: each element ("value"), the norm of each
        parameter's gradient ("norm") or the norm of all together ("global_norm")."""

    @operation(
        values=reads("size", of=lambda call: call.storage.values),
        gradient=rewrites(
            "size",
            of=lambda call: {"gradients": call.storage.gradients} if call.gradients else {},
        ),
        totals=rewrites("sums", "float64"),
        where=("sums >= 1", "0 <= rows < 2**31"),
    )
    def regularize(self, storage: Any, rows: int, gradients: bool, totals: Array) -> None:
        """totals[0] += rows * the penalties on the weights, scaled as in `loss`, where a
        batch adds rows times its mean loss. With ``gradients``, add their derivatives to the
        gradients."""

    @operation(w=rewrites("*shape"))
    def constrain(self, constraint: ConstraintProtocol, w: Array) -> None:
        """Apply ``constraint`` to the weights of one parameter, in place."""

    @operation(
        updates=reads(
            "1", "int64", of=lambda call: call.control.counters[UPDATES : UPDATES + 1]
        ),
        rate=writes(
            "1", "float64", of=lambda call: call.control.rates[call.place : call.place + 1]
        ),
        where=(f"0 <= place < {RATES}",),
    )
    def schedule(self, schedule: ScheduleProtocol, control: Control, place: int) -> None:
        """control.rates[place] = the schedule's value for the next step.

        It counts steps, even if several steps make one update, as Keras does.
        """

    @operation(
        totals=reads("sums", "float64"),
        counters=replace(COUNTERS, written=True),
        where=("sums >= 1", "0 <= rows < 2**31"),
    )
    def advance(self, control: Control, rows: int, totals: Array) -> None:
        """End a step: count one batch and one update, and advance the position by ``rows``.

        If totals[0] (the loss so far) is not finite and no earlier step was marked,
        the step is marked in the control block.
        """
