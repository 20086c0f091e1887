"""Which data of a graph steps are fed with, and what is done on the host before."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn.core.plan import INPUT, HostPart
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import Application, SampleShape, SymbolicTensor


class Fed:
    """The part of a graph that is done while data are fed, put together application by application.

    Args:
        inputs: of the graph.
        read: of each, whether steps read it as it is.

    Attributes:
        numbers: by tensor, that of the node of the plan which makes it; for what is fed `INPUT`
            and below.
        shapes: of one sample of what is fed, with its dtype.
    """

    def __init__(self, inputs: Sequence[SymbolicTensor], read: Sequence[bool]) -> None:
        self.numbers: dict[int, int] = {}
        self.shapes: list[SampleShape] = []
        self._host = HostPart([], [])
        self._on_host = {id(t): INPUT - k for k, t in enumerate(inputs)}
        for tensor, in_steps in zip(inputs, read, strict=True):
            if in_steps:
                self.number(tensor)
            if tensor.layer.check_values is not None:
                self._host.checks.append((tensor.layer, self._on_host[id(tensor)]))

    def number(self, tensor: SymbolicTensor) -> int:
        """Of the node whose output it is, or of what is fed."""
        if id(tensor) not in self.numbers:
            if tensor.dtype == "string":
                raise ValueError(
                    f"{tensor.name!r} gives texts, which no step reads and no model gives: put "
                    f"layers.StringLookup behind an input, and call a layer that gives texts on "
                    f"what the model predicts."
                )
            self.numbers[id(tensor)] = self._feed(self._on_host[id(tensor)], tensor.sample)
        return self.numbers[id(tensor)]

    def _feed(self, number: int, shape: SampleShape) -> int:
        if number not in self._host.fed:
            self._host.fed.append(number)
            self.shapes.append(shape)
        return INPUT - self._host.fed.index(number)

    def sources(self, application: Application) -> list[int]:
        """The numbers of what the nodes of an application read.

        Raises:
            ValueError: where what is encoded on the host is known in steps alone.
        """
        layer, inputs = application.layer, application.inputs
        if layer.check_values is not None and id(inputs[0]) in self._on_host:
            self._host.checks.append((layer, self._on_host[id(inputs[0])]))
        host = layer.host_part
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
        if layer.gives_on_host:
            self._on_host[id(application.outputs[0])] = places[-1]
            return []
        inner = getattr(layer, "plan", None)  # of a model, which says what its steps read
        dtypes = (None,) * len(host.fed) if inner is None else inner.input_dtypes
        return [
            self.number(inputs[INPUT - n])
            if n < 0
            else self._feed(places[n], sample_of(inputs[host.source(n)].sample, dtype))
            for n, dtype in zip(host.fed, dtypes, strict=True)
        ]

    def _of(self, tensor: SymbolicTensor, reader: str) -> int:
        if id(tensor) not in self._on_host:
            raise ValueError(
                f"{reader} encodes data while they are fed: it can be applied to inputs of the "
                f"model, and {tensor.name!r} is computed in the step."
            )
        return self._on_host[id(tensor)]

    def part(self) -> HostPart | None:
        """What is done on the host; None for nothing."""
        host = self._host
        return host if host.steps or host.checks else None
