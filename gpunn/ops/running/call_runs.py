"""Runs of call programs: the results of a call as operations of a tape, and their gradients."""

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
"""Runs of a program that keep what their gradients need; further ones compute it again."""

Wanted = tuple[bool, ...]
"""For each input of a call, whether a gradient by it is wanted."""


class CallRun:
    """One run of a call in a tape, on inputs with values: what its gradients are computed from.

    Raises:
        ValueError: for a value that the call refuses, such as a label that is no class.
    """

    def __init__(self, program: Any, trace: Any, inputs: Sequence[Tensor]) -> None:
        self.program, self.trace, self.inputs = program, weakref.ref(trace), inputs
        self._place = _next_place(program.draws)
        self._is_spent = False
        self._lent = [t for t in inputs if not t.has_values]
        self._bound: Any = self._computed(program.wanted)

    def __del__(self) -> None:
        if "_bound" in vars(self) and self._bound is not None:
            self.program.give_back(self._bound)

    def _computed(self, wanted: Wanted | None) -> Any:
        program, trace = self.program, self.trace()
        bound, backend = program.take(wanted, self._place), program.backend
        first = len(self.inputs) - len(program.sources)
        for k, (into, t) in enumerate(zip(bound.xs, self.inputs, strict=True)):
            if t.has_values:
                array = t.array_at(backend)
                backend.write(into, t.value if array is None else array)
            else:
                backend.write(into, program.sources[k - first].values_on(backend))
                assert trace is not None
                trace.computed.put(t, into, is_own=True)
        try:
            bound.forward(self._place)
        except BaseException:  # also an interrupt
            program.give_back(bound, is_whole=False)
            raise
        return bound

    def made(self) -> list[Tensor]:
        """Return the outputs as tensors of the tape."""
        assert self._bound is not None
        results = zip(self.program.outputs, self._bound.ys, strict=True)
        made = self._tensors(_call, [(k, y, array) for k, (y, array) in enumerate(results)])
        for number, of in self.program.links.items():
            formula = self.program.outputs[number].attributes["formula"]
            made[number].attributes["link"] = formula, made[of]
        trace = self.trace()
        if self.program.alive > RUNS and trace is not None:
            for t in self._lent:
                trace.own(t)
            self.program.give_back(self._bound)
            self._bound = None
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
        trace, empty, write = self.trace(), self.program.backend.empty, self.program.backend.write
        assert trace is not None
        inputs, made = [*given, *self.inputs], []
        is_constant = all(t.is_constant for t in inputs)
        for number, like, array in found:
            own = empty(like.shape, like.dtype)
            write(own, array)
            if is_constant:
                t = Tensor.at(trace.computed.home, own, like.shape, like.dtype)
            else:
                named = {"run": self, "number": number, **attributes}
                t = Tensor(like.shape, like.dtype, None, primitive, inputs, named)
                trace.take(t)
                trace.computed.put(t, own, is_own=True)
            made.append(t)
        return made

    def gradients(self, output: int, dy: Tensor, wanted: Wanted) -> list[Tensor | None]:
        """Return the gradients of sum(dy * output) by the inputs that are wanted."""
        program, backend = self.program, self.program.backend
        program.want(wanted)
        bound = self._bound
        if bound is None or self._is_spent or not covers(bound.wanted, wanted):
            bound = self._computed(program.wanted)
        for k, into in bound.dys.items():
            given = dy.array_at(backend) if k == output else 0.0
            backend.write(into, dy.value if given is None else given)
        bound.backward()
        self._is_spent |= bound is self._bound
        found = [x for x in bound.dxs if wanted[x[0]]]
        made = self._tensors(_call_gradient, found, dy, output=output)
        if bound is not self._bound:
            program.give_back(bound)
        places = {k: t for (k, _, _), t in zip(found, made, strict=True)}
        return [places.get(k) for k in range(len(wanted))]

    def composed(self, output: int, inputs: Sequence[Tensor]) -> Tensor:
        """Return an output for these inputs, with derivatives of every order."""
        trace, program = self.trace(), self.program
        assert trace is not None
        count = len(inputs) - len(program.sources)
        values = zip(program.sources, inputs[count:], strict=True)
        filled = args_with(program.form, inputs[:count])
        with (
            trace.own_losses() as losses,
            trace.drawing(self._place),
            trace.reading(values, keeps=False),
        ):
            result = program.function(*filled)
        every, place = [*found(result), *losses], program.places[output]
        if place < len(every):
            return every[place]
        link = next(link for link, of in program.links.items() if of == output)
        return every[program.places[link]].inputs[0]


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
    ddx: Tensor, dx: Tensor, dy: Tensor, *inputs: Tensor, run: CallRun, number: int, output: int
) -> Gradients:
    def pulled(dy: Tensor, *inputs: Tensor) -> Tensor:
        (found,) = gradients([run.composed(output, inputs)], [inputs[number]], [dy])
        return zeros_like(inputs[number]) if found is None else found

    return gradients_of(pulled, [dy, *inputs], ddx)


_call = Primitive(
    "call",
    None,
    lambda *shapes, **attributes: (),  # its tensors are made by hand
    gradient=lambda dy, y, *inputs, run, number, wants, link=None: run.gradients(
        number, dy, tuple(wants)
    ),
)
_call.selects = True
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
