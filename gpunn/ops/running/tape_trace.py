"""The trace of a tape: operations are computed when they are called, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.common.holds import Access
from gpunn.core.draws import DrawPosition, Draws, active_draws, context_at, context_now
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Mode, Trace, TracedVariable

from .compiled_calls import compiled_call, is_on
from .eager import EagerTrace


class TapeTrace(EagerTrace):
    """The operations inside one or several tapes; layers have derivatives of every order."""

    def __init__(self) -> None:
        backend = get_backend().isolated()  # so that its work arrays are freed
        super().__init__(backend, Mode.tape(), lambda: context_now(backend))
        self._draws_as: Draws | None = active_draws()  # those that its context is for
        self._repeats: Draws | None = None  # draws of a call that is composed again
        self._lent = set[int]()  # the `id` of leaves whose values are the arrays of a call
        self._seen: dict[int, tuple[Access, int]] = {}  # revisions of sources, by their `id`

    def variable_leaf(self, source: Any) -> Tensor:
        backend = self.computed.backend
        self._see(source)
        if isinstance(source, Parameter) and is_on(backend, source):
            return super().variable_leaf(source)
        # Copied: a variable belongs to no backend as long as only tapes read it.
        found = Trace.variable_leaf(self, source)
        array = backend.empty(source.shape, found.dtype)
        backend.write(array, source.values_on(backend))
        self.computed.put(found, array, is_own=True)
        return found

    def values_of(self, source: Any) -> np.ndarray | None:
        return None  # those stored now: it assigns at once

    def _see(self, source: Any) -> None:
        """Note of which revision the values of a source are."""
        self._seen[id(source)] = source.access, source.access.revision

    def _renew(self, source: Any) -> None:
        """Let a source be read again if its values were changed, by an optimizer for example."""
        variable = self.variables.get(id(source))
        seen = self._seen.get(id(source))
        if variable is None or seen == (source.access, source.access.revision):
            return
        leaves = self.leaves_of(source)
        if any(variable.now is t for t in leaves):  # else it is given, see `reading`
            variable.now = self.variable_leaf(source)

    def read(self, source: Any) -> Tensor:
        self._renew(source)
        found = super().read(source)
        if id(found) in self._lent:
            if not found.has_values:  # the call has failed
                array = source.array_on(self.computed.backend)
                self.computed.put(found, array)
            self.own(found)
        return found

    def lent_to_call(self, source: Any) -> Tensor:
        """Return the leaf of a weight; if it was not read before, the call gives it its values."""
        self._renew(source)
        if id(source) not in self.variables:
            self._see(source)
            first = Trace.variable_leaf(self, source)
            self.variables[id(source)] = TracedVariable(source, first, first)
            self._lent.add(id(first))
        return self.variables[id(source)].now

    def own(self, t: Tensor) -> None:
        """Let a leaf have a copy of its values, where they are the array of a call."""
        backend, array = self.computed.backend, self.computed.array(t)
        copy = backend.empty(array.shape, array.dtype)
        backend.write(copy, array)
        self._lent.discard(id(t))
        self.computed.put(t, copy, is_own=True)

    def next_draw(self) -> int:
        if self._repeats is not None:
            return self._repeats.next()
        draws, backend = active_draws(), self.computed.backend
        if draws is not self._draws_as:  # it is open around several calls of functions
            self._draws_as = draws
            self.computed.set_context(lambda: context_now(backend))
        return self._numbered(draws)

    @contextmanager
    def drawing(self, place: DrawPosition) -> Iterator[None]:
        """Return a context in which layers draw from a place on."""
        backend, before = self.computed.backend, self._repeats
        self._repeats = Draws(place)
        try:
            with self.computed.within(lambda: context_at(backend, place)):
                yield
        finally:
            self._repeats = before

    def called(self, part: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return compiled_call(self, part, function, args)

    def watch(self, t: Tensor) -> None:
        """Let gradients be taken with respect to a tensor with values."""
        if not t.is_constant:
            return
        array = self.computed.array(t) if t.shape else self.computed.backend.upload(t.numpy())
        t.is_constant, t.trace = False, self.number
        self.computed.put(t, array.reshape(t.shape), is_own=True)

    def has(self, t: Tensor) -> bool:
        """Whether a tensor is watched, or was computed from what is."""
        return any(t is one for one in self.computed.tensors)

    def assign(self, source: Any, value: Tensor) -> None:
        """Assign at once. What is read later has the gradient of the weight, not of the value."""
        if self.changes_nothing:
            super().assign(source, value)
            return
        variable = self._variable(source)
        others = [key for key, seen in self._seen.items() if seen == self._seen[id(source)]]
        revision = source.access.revision
        source.write(np.asarray(value))
        variable.now = self.variable_leaf(source)
        if source.access.revision == revision + 2:  # by this alone: others have their values
            self._seen.update(dict.fromkeys(others, self._seen[id(source)]))

    def end(self) -> None:
        """Let all its tensors be constants from now on."""
        for t in self.computed.tensors:
            t.is_constant, t.trace = True, None


def in_trace(work: Callable[[], Any]) -> tuple[Any, Sequence[Tensor]]:
    """Return the result of ``work()``, computed at once in a trace, and the losses that it adds."""
    trace = TapeTrace()
    try:
        with trace.active():
            result = work()
        return result, list(trace.losses)
    finally:
        trace.end()
