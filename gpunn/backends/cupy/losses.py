"""Losses, penalties on weights, constraints and schedules on a GPU."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract import expression as ir
from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.pieces import cut_penalized

from .expressions import CupyExpressions
from .launch.codegen import BLOCK

CHUNK = 1 << 14  # weights whose penalty one block sums
LINE_TILE = 32  # as in constraints.cu


class CupyLosses(CupyExpressions):
    """The loss of a step, penalties, constraints and schedules; a part of `CupyBackend`."""

    def _loss(self, call: OpCall) -> None:
        loss, y_true, y_pred, rows = call.loss, call.y_true, call.y_pred, call.rows
        values = self.scratch((rows,), y_pred.dtype, "loss values")
        if loss.functor is None and loss._functor_of_rows is None:
            self._loss_by_formula(call, values)
            return
        if rows == 0:
            return
        counted, weights = None, call.weights
        if loss.functor is None:  # it ignores a class
            counted, weights = self._counted(call)
        both = {
            "row_losses": values,
            "row_matches": self.scratch((rows,), np.bool_, "loss matches"),
            "count_matches": loss.counts_matches and call.sums > 2,
        }
        tasks = [
            self._task(
                "loss_rows", call, y_pred.size, sliced=rows,
                functor=loss.functor or loss._functor_of_rows,
                parameters=self._parameters(loss), predictions=y_pred,
                targets=None if loss.sparse else y_true, labels=y_true if loss.sparse else None,
                **{**both, "weights": weights},
            ),
            self._task("loss_totals", call, BLOCK, batch=call.batch or rows, **both),
        ]
        if counted is not None:
            self._ask(tasks.pop(0))
            for array in (values, call.gradient):
                if array is not None and array.size:
                    array, kept = array.reshape(rows, -1), _kept(array.dtype.name)
                    self.expression(kept, rows, array.shape[1], [counted, array], [array])
        self._ask(*tasks)

    def _counted(self, call: OpCall) -> tuple[Array, Array]:
        """Return which rows have another class than the one that the loss ignores, (rows, 1), and
        the weights of all rows (rows,): 0 for the others and, for a mean, larger for these."""
        loss, rows, dtype = call.loss, call.rows, call.y_pred.dtype
        counted = self.scratch((rows, 1), dtype, "counted rows")
        weights = self.scratch((rows, 1), dtype, "weights of counted rows")
        count = self.scratch((1,), dtype, "number of counted rows")
        labels = call.y_true.reshape(-1, 1)
        self.expression(_differs(dtype.name, loss.ignore_class), rows, 1, [labels], [counted])
        self.column_sums(counted, count)
        mean = loss.reduction in ("sum_over_batch_size", "mean")
        given = [] if call.weights is None else [call.weights.reshape(-1, 1)]
        self.expression(
            _counted_weights(dtype.name, rows if mean else 0, len(given)), rows, 1,
            [counted, count.reshape(1, 1), *given], [weights],
        )
        return counted, weights.reshape(-1)

    def _loss_by_formula(self, call: OpCall, values: Array) -> None:
        """Perform a loss without a kernel, which computes its values and gradient itself."""
        loss, rows, weights, gradient = call.loss, call.rows, call.weights, call.gradient
        loss.forward_backward(self, call.y_true, call.y_pred, values, gradient)
        if rows == 0:
            return
        if gradient is not None:
            self._each(
                "affine", call, gradient, x=gradient, offset=0.0, accumulate=False, out=gradient
            )
        if weights is not None:
            for array in (values, gradient):
                if array is not None and array.size:
                    self._weigh(array.reshape(rows, -1), weights)
        counts = loss.counts_matches and call.sums > 2
        hits = self.scratch((rows,), np.bool_, "loss matches")
        if counts:
            loss.matches(self, call.y_true, call.y_pred, hits)
        self._part(
            "loss_totals", call, BLOCK, batch=call.batch or rows, row_losses=values,
            row_matches=hits, count_matches=counts,
        )

    def _regularize(self, call: OpCall) -> None:
        storage, rows, gradients, totals = call.storage, call.rows, call.gradients, call.totals
        pieces, factors = cut_penalized(storage.segments, CHUNK)
        n = len(pieces)
        if n:
            sums = self.scratch((n,), storage.values.dtype, "penalties")
            self._ask(
                self._task(
                    "penalties", call, n * BLOCK, weights=storage.values, segments=n, sums=sums,
                    starts=self._constant("starts", pieces[:, 0]),
                    stops=self._constant("stops", pieces[:, 1]),
                    factors=self._constant("factors", factors),
                    gradients=storage.gradients if gradients else None,
                ),
                self._task("penalty_totals", call, BLOCK, sums=sums, segments=n),
            )
        for parameter in storage.penalized:
            if parameter.regularizer.coefficients is None:
                gradient = parameter.gradient if gradients else None
                totals = self.xp.asarray(totals)  # tracing fails here, whatever the penalty calls
                totals[0] += rows * parameter.regularizer.penalty(self, parameter.array, gradient)

    def _constrain(self, call: OpCall) -> None:
        constraint, w = call.constraint, call.w
        if constraint.functor != "NormLimits":
            constraint.apply(self, w)
            return
        outer, n, inner = constraint.lines(w.shape)
        tiles = -(-outer * inner // LINE_TILE)
        self._part(
            "constrain_norms", call, tiles * BLOCK, weights=w, outer=outer, n=n, inner=inner,
            parameters=self._parameters(constraint),
        )

    def _schedule(self, call: OpCall) -> None:
        schedule, place = call.schedule, call.place
        self._part(
            "schedule", call, 1, functor=schedule.functor, parameters=self._parameters(schedule),
            rate=call.control.rates[place : place + 1],
        )


@lru_cache(64)
def _differs(dtype: str, number: int) -> ir.Expression:
    """Return the expression of 1 for each integer of a column that is not this number, else 0."""
    steps = ir.Instruction("constant", number=float(number)), ir.Instruction("not_equal", (0, 1))
    return ir.Expression(dtype, (ir.ROWS,), steps, (ir.ExpressionOutput(2),))


@lru_cache(64)
def _counted_weights(dtype: str, rows: int, given: int) -> ir.Expression:
    """Return the expression of the weights of `CupyLosses._counted`; ``rows`` is 0 for a sum."""
    inputs = ir.ROWS, ir.ONE, *[ir.ROWS] * given
    first = len(inputs)
    steps = [
        ir.Instruction("constant", number=1.0), ir.Instruction("maximum", (1, first)),
        ir.Instruction("constant", number=float(rows)),
        ir.Instruction("divide", (first + 2, first + 1)),
        ir.Instruction("multiply", (0, first + 3 if rows else first)),
    ]
    if given:
        steps.append(ir.Instruction("multiply", (first + 4, 2)))
    last = ir.ExpressionOutput(first + len(steps) - 1)
    return ir.Expression(dtype, inputs, tuple(steps), (last,))


@lru_cache(8)
def _kept(dtype: str) -> ir.Expression:
    """Return the expression of a matrix whose rows are kept where a column is not 0, else 0."""
    steps = ir.Instruction("constant", number=0.0), ir.Instruction("where", (0, 1, 2))
    return ir.Expression(dtype, (ir.ROWS, ir.ELEMENTS), steps, (ir.ExpressionOutput(3),))
