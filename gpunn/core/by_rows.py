"""Gradients and updates of tables by rows: a step costs, and changes, only what its batch reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import Control
from gpunn.common.registry import is_own
from gpunn.distribution.communicator import Shard

from .plan import INPUT, Plan
from .storage import Parameter, ParameterStorage


class RowGradient:
    """The gradient of a parameter (n, ...) that a step reads row by row, such as an embedding.

    The backward pass writes it instead of the parameter's gradient, so that a step costs what its
    batch costs, whatever the number of rows. Rows that are read several times are there as often.

    Attributes:
        rows: the gradient of each row that is read (count, ...).
        indices: the indices of these rows (count,).
    """

    def __init__(self, backend: Backend, parameter: Parameter, count: int) -> None:
        assert parameter.storage is not None
        self.parameter = parameter
        shape = (count, *parameter.shape[1:])
        self.rows: Array = backend.zeros(shape, parameter.storage.dtype)
        self.indices: Array = backend.zeros((count,), "int32")

        self._zeros: Array = backend.zeros(shape, parameter.storage.dtype)

    def targets(self, gradient: Any) -> list[tuple[Any, Array]]:
        """Return the tensors to compute for a gradient that is that of `take`, with arrays."""
        _, rows, indices = gradient.inputs
        return [(rows, self.rows.reshape(rows.shape)), (indices, self.indices)]

    def take(self, backend: Backend, table: Array, rows: Array) -> None:
        """Copy the rows that are read from an array of the parameter's size to ``rows``."""
        backend.take_rows(self._flat(table), self.indices[None], self._flat(rows), False)

    def put(self, backend: Backend, rows: Array, table: Array, merging: str = "Last") -> None:
        """Write, or with "Sum" add, ``rows`` to the rows of an array of the parameter's size."""
        of_rows, whole = self._flat(rows), self._flat(table)
        backend.scatter_rows(merging, of_rows, self.indices[None], whole, False)

    def sum(self, backend: Backend) -> None:
        """Write these rows of the parameter's gradient; others keep the values of earlier steps."""
        self.put(backend, self._zeros, self.parameter.gradient)
        self.put(backend, self.rows, self.parameter.gradient, "Sum")

    def complete(self, backend: Backend) -> None:
        """Write all rows of the parameter's gradient in the last step."""
        backend.xp.copyto(self.parameter.gradient, 0)
        self.put(backend, self.rows, self.parameter.gradient, "Sum")

    def _flat(self, x: Array) -> Array:
        return x.reshape(1, -1, math.prod(self.parameter.shape[1:]))


def tables(plan: Plan, storage: ParameterStorage, optimizer: Any, shard: Shard) -> list[Parameter]:
    """Return the parameters that steps on a batch update by rows.

    A rule that leaves weights of gradient 0 as they are gives the same numbers either way: then
    tables are updated by rows if these are fewer than half of all. A lazy rule must be, or raises a
    ValueError.
    """
    found: list[Parameter] = []
    if optimizer is None or not (optimizer._is_lazy or optimizer._skips_zeros):
        return []
    for p in storage.trained:
        if not p.by_rows:
            continue
        reason, read = _obstacle(plan, optimizer, p, shard)
        if reason and optimizer._is_lazy:
            raise ValueError(
                f"{type(optimizer).__name__}(lazy=True) updates the rows of a batch, but cannot "
                f"for {p.path!r}: {reason}. Leave lazy out, which updates all rows in each step."
            )
        if not reason and (optimizer._is_lazy or 2 * read <= p.shape[0]):
            found.append(p)
    return found


def _obstacle(plan: Plan, optimizer: Any, p: Parameter, shard: Shard) -> tuple[str | None, int]:
    """Return why a parameter cannot be updated by rows, if so, and how many a batch reads."""
    readers = [n for n in plan.nodes if any(p is known for known in n.layer.parameters)]
    if len(readers) != 1 or readers[0].layer is not p.layer or not is_own(p.layer):
        return "a custom layer reads it, or several layers do", 0
    if p.regularizer is not None or p.constraint is not None:
        return "its regularizer or constraint changes all rows", 0
    if reason := optimizer._needs_all_rows(optimizer.decays(p)):
        return reason, 0
    if shard.ranks.size > 1:
        return "several processes add up the gradients of all rows", 0
    (source,) = readers[0].sources
    shapes = plan.input_shapes
    sample = plan.nodes[source].output_shape if source >= 0 else shapes[INPUT - source]
    return None, shard.rows * math.prod(sample)


def complete_gradients(storage: ParameterStorage) -> None:
    """Write the gradients of tables in full, of which the last step has written only some rows."""
    with storage.backend.stream_lock:
        for gradient in storage.row_gradients.values():
            gradient.complete(storage.backend)


def updating(
    optimizer: Any, storage: ParameterStorage, found: Sequence[RowGradient], backend: Backend
) -> Callable[[Control, Backend], None]:
    """Return the update of a parameter storage in which these gradients are written by rows."""
    excluded = {id(gradient.parameter) for gradient in found}
    others = storage.part([p for p in storage.trained if id(p) not in excluded])
    others.take_slots(storage.slots)
    updates = [RowUpdate(gradient, storage, optimizer, backend) for gradient in found]

    def update(control: Control, backend: Backend) -> None:
        optimizer.step(others, control, backend)
        for each in updates:
            each(control, backend)

    return update


class RowUpdate:
    """The update of one table: rows are copied, updated as an array of their own, and put back.

    A row that is read several times is updated once, with the sum of its gradients.
    """

    def __init__(
        self, gradient: RowGradient, storage: ParameterStorage, optimizer: Any, backend: Backend
    ) -> None:
        p, self._gradient, self._optimizer = gradient.parameter, gradient, optimizer
        treated = {"multiplier": p.multiplier, "decay": optimizer.decays(p)}
        rows = Parameter(gradient.rows.shape, name=p.name, **treated)
        self._rows = own = ParameterStorage(backend, storage.dtype, [rows])
        own.add_slots(optimizer.slot_names)
        slots = [(storage.slots[name], own.slots[name]) for name in optimizer.slot_names]
        self._changed = [(p.array, rows.array)]
        self._changed += [(storage.segment(a, p), own.segment(b, rows)) for a, b in slots]
        self._read = [(p.gradient, rows.gradient), *self._changed]

    def __call__(self, control: Control, backend: Backend) -> None:
        gradient = self._gradient
        if not len(gradient.indices):
            return
        gradient.sum(backend)
        for table, rows in self._read:
            gradient.take(backend, table, rows)
        backend.update(self._optimizer, self._rows, control)
        for table, rows in self._changed:
            gradient.put(backend, rows, table)
