"""The data of a graph that steps are fed, and the preceding work on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.core.plan import INPUT, HostPart
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import Application, SampleShape, SymbolicTensor


class Fed:
    """The part of a graph that runs while data are fed, built application by application.

    Args:
        read: For each input, whether steps read it unencoded.

    Attributes:
        numbers: By tensor, the number of the plan's node that computes it; `INPUT` and below
            for fed data.
        shapes: Sample shapes of the fed data, with their dtypes.
    """

    def __init__(self, inputs: Sequence[SymbolicTensor], read: Sequence[bool]) -> None:
        self.numbers: dict[int, int] = {}
        self.shapes: list[SampleShape] = []
        self._host = HostPart([], [])
        self._on_host = {id(t): INPUT - k for k, t in enumerate(inputs)}
        for tensor, in_steps in zip(inputs, read, strict=True):
            if in_steps:
                self.number(tensor)
            if tensor.layer._check_values is not None:
                self._host.checks.append((tensor.layer, self._on_host[id(tensor)]))

    def number(self, tensor: SymbolicTensor) -> int:
        """Return the number of the node that computes a tensor, or of the fed data."""
        if id(tensor) not in self.numbers:
            if tensor.dtype == "string":
                raise ValueError(
                    f"{tensor.name!r} returns strings, which steps cannot read and models cannot "
                    f"return: put layers.StringLookup after an input, and call a layer that "
                    f"returns strings on the predictions of the model."
                )
            self.numbers[id(tensor)] = self._feed(self._on_host[id(tensor)], tensor.sample)
        return self.numbers[id(tensor)]

    def _feed(self, number: int, shape: SampleShape) -> int:
        if number not in self._host.fed:
            self._host.fed.append(number)
            self.shapes.append(shape)
        return INPUT - self._host.fed.index(number)

    def sources(self, application: Application) -> list[int]:
        """Return the numbers of the data that the nodes of an application read, none computed in a
        step."""
        layer: Any = application.layer
        inputs = application.inputs
        if layer._check_values is not None and id(inputs[0]) in self._on_host:
            self._host.checks.append((layer, self._on_host[id(inputs[0])]))
        host = layer._host_part
        if host is None:
            return [self.number(t) for t in inputs]
        places: list[int] = []

        def place(number: int) -> int:
            return places[number] if number >= 0 else self._of(inputs[INPUT - number], layer.name)

        for step, source in host.steps:
            self._host.steps.append((step, place(source)))
            places.append(len(self._host.steps) - 1)
        for check, source in host.checks:
            if source >= 0 or id(inputs[INPUT - source]) in self._on_host:
                self._host.checks.append((check, place(source)))
        if layer._gives_on_host:
            self._on_host[id(application.outputs[0])] = places[-1]
            return []
        return [
            self.number(inputs[INPUT - n])
            if n < 0
            else self._feed(places[n], _encoded(layer, k, inputs[host.source(n)].sample))
            for k, n in enumerate(host.fed)
        ]

    def _of(self, tensor: SymbolicTensor, reader: str) -> int:
        if id(tensor) not in self._on_host:
            raise ValueError(
                f"{reader} encodes data while they are fed: it can only be applied to inputs of "
                f"the model, but {tensor.name!r} is computed in the step."
            )
        return self._on_host[id(tensor)]

    def part(self) -> HostPart | None:
        """Return the work on the host; None if there is none."""
        host = self._host
        return host if host.steps or host.checks else None


def _encoded(layer: Any, number: int, given: SampleShape) -> SampleShape:
    """Return the shape of what the steps of a layer read, encoded from ``given``. A model's plan
    declares it, since a layer in it may encode a text as several numbers; lengths that it leaves
    open are the given ones."""
    if layer._kind != "model":
        return sample_of(given, None)
    shape, dtype = layer._plan.input_shapes[number], layer._plan.input_dtypes[number]
    return sample_of(given if None in shape and len(shape) == len(given) else shape, dtype)
