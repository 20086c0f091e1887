"""`TapeEntry`: one run of a compiled call, whose results are operations of a tape."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence
from typing import Any

from gpunn.common.nested import found_in, replaced
from gpunn.common.random import draw_seed
from gpunn.core.draws import DrawPosition, active_draws
from gpunn.ops.gradients import gradients, gradients_of
from gpunn.ops.making import zeros_like
from gpunn.ops.primitive import Gradients, Primitive
from gpunn.ops.tensor import Tensor

RUNS = 4
"""Runs of a compiled call that keep what their gradients need; others compute it again."""

Wanted = tuple[bool, ...]
"""For each input of a call, whether its gradient is wanted."""


class TapeEntry:
    """One run of a `CompiledCall` on inputs with values. Gradients of the tape start from it.

    Raises:
        ValueError: for a value that the call refuses, such as a label that is no class.
    """

    def __init__(self, compiled: Any, trace: Any, inputs: Sequence[Tensor]) -> None:
        self.compiled, self.trace, self.inputs = compiled, weakref.ref(trace), inputs
        self._place = _next_place(compiled.draws)
        self._is_spent = False
        self._lent = [t for t in inputs if not t.has_values]
        self._buffers: Any = self._computed(compiled.wanted)

    def __del__(self) -> None:
        if "_buffers" in vars(self) and self._buffers is not None:
            self.compiled.give_back(self._buffers)

    def _computed(self, wanted: Wanted | None) -> Any:
        compiled, trace = self.compiled, self.trace()
        buffers, backend = compiled.take(wanted, self._place), compiled.backend
        first = len(self.inputs) - len(compiled.sources)
        for k, (into, t) in enumerate(zip(buffers.xs, self.inputs, strict=True)):
            if t.has_values:
                array = t.array_at(backend)
                backend.write(into, t.value if array is None else array)
            else:
                backend.write(into, compiled.sources[k - first].values_on(backend))
                assert trace is not None
                trace.computed.put(t, into, is_own=True)
        try:
            buffers.forward(self._place)
        except BaseException:  # also an interrupt
            compiled.give_back(buffers, is_whole=False)
            raise
        return buffers

    def made(self) -> list[Tensor]:
        """Return the outputs as tensors of the tape."""
        assert self._buffers is not None
        results = zip(self.compiled.outputs, self._buffers.ys, strict=True)
        made = self._tensors(_call, [(k, y, array) for k, (y, array) in enumerate(results)])
        for number, of in self.compiled.links.items():
            formula = self.compiled.outputs[number].attributes["formula"]
            made[number].attributes["link"] = formula, made[of]
        trace = self.trace()
        if self.compiled.alive > RUNS and trace is not None:
            for t in self._lent:
                trace.own(t)
            self.compiled.give_back(self._buffers)
            self._buffers = None
        return made

    def _tensors(
        self, primitive: Primitive, found: Sequence[tuple[int, Tensor, Any]], *given: Tensor,
        **attributes: Any,
    ) -> list[Tensor]:
        """Return copies of arrays as the results of an operation.

        Args:
            found: the number of each result, what it is like, and its array.
            given: the operation's arguments before the inputs.
        """
        trace, empty, write = self.trace(), self.compiled.backend.empty, self.compiled.backend.write
        assert trace is not None
        inputs, made = [*given, *self.inputs], []
        is_constant = all(t.is_constant for t in inputs)
        for number, like, array in found:
            own = empty(like.shape, like.dtype)
            write(own, array)
            if is_constant:
                t = Tensor.at(trace.computed.home, own, like.shape, like.dtype)
            else:
                named = {"entry": self, "number": number, **attributes}
                t = Tensor(like.shape, like.dtype, None, primitive, inputs, named)
                trace.take(t)
                trace.computed.put(t, own, is_own=True)
            made.append(t)
        return made

    def gradients(self, output: int, dy: Tensor, wanted: Wanted) -> list[Tensor | None]:
        """Return the gradients of sum(dy * output) with respect to the wanted inputs."""
        compiled, backend = self.compiled, self.compiled.backend
        compiled.want(wanted)
        buffers = self._buffers
        if buffers is None or self._is_spent or not covers(buffers.wanted, wanted):
            buffers = self._computed(compiled.wanted)
        for k, into in buffers.dys.items():
            given = dy.array_at(backend) if k == output else 0.0
            backend.write(into, dy.value if given is None else given)
        buffers.backward()
        self._is_spent |= buffers is self._buffers
        found = [x for x in buffers.dxs if wanted[x[0]]]
        made = self._tensors(_call_gradient, found, dy, output=output)
        if buffers is not self._buffers:
            compiled.give_back(buffers)
        places = {k: t for (k, _, _), t in zip(found, made, strict=True)}
        return [places.get(k) for k in range(len(wanted))]

    def composed(self, output: int, inputs: Sequence[Tensor]) -> Tensor:
        """Return an output for these inputs, with derivatives of every order."""
        trace, compiled = self.trace(), self.compiled
        assert trace is not None
        count = len(inputs) - len(compiled.sources)
        values = zip(compiled.sources, inputs[count:], strict=True)
        filled = args_with(compiled.form, inputs[:count])
        with (
            trace.own_losses() as losses,
            trace.drawing(self._place),
            trace.reading(values, keeps=False),
        ):
            result = compiled.function(*filled)
        every, place = [*found(result), *losses], compiled.places[output]
        if place < len(every):
            return every[place]
        link = next(link for link, of in compiled.links.items() if of == output)
        return every[compiled.places[link]].inputs[0]


def _next_place(count: int) -> DrawPosition:
    """Return where the next so many draws begin."""
    draws = active_draws()
    if draws is None or not count:
        number = draw_seed() >> 1 if count else 0
        return DrawPosition(0, number, number)
    place = draws.position
    draws.count += count
    return place


def _second_gradient(
    ddx: Tensor, dx: Tensor, dy: Tensor, *inputs: Tensor, entry: TapeEntry, number: int, output: int
) -> Gradients:
    def pulled(dy: Tensor, *inputs: Tensor) -> Tensor:
        (found,) = gradients([entry.composed(output, inputs)], [inputs[number]], [dy])
        return zeros_like(inputs[number]) if found is None else found

    return gradients_of(pulled, [dy, *inputs], ddx)


_call = Primitive(
    "call",
    None,
    lambda *shapes, **attributes: (),  # `TapeEntry` makes its tensors
    gradient=lambda dy, y, *inputs, entry, number, wants, link=None: entry.gradients(
        number, dy, tuple(wants)
    ),
)
_call.takes_wants = True
_call_gradient = Primitive("gradient of a call", None, _call._shape, gradient=_second_gradient)


def found(x: Any) -> list[Tensor]:
    """Return the tensors in ``x``, in order."""
    return [*found_in(x, Tensor)]


def args_with(args: Any, tensors: Sequence[Tensor]) -> Any:
    """Return arguments with other tensors."""
    new = iter(tensors)
    return replaced(lambda x: next(new) if isinstance(x, Tensor) else x, args)


def covers(computed: Wanted | None, wanted: Wanted) -> bool:
    """Whether all gradients that are wanted are among those that were computed."""
    return computed is not None and all(map(operator.ge, computed, wanted))
