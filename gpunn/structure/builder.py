"""Building a model: its graph, its plan, and the storage of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from gpunn.backends import get_backend
from gpunn.common import registry
from gpunn.common.config import resolve_dtype
from gpunn.common.holds import Exclusive
from gpunn.common.nested import TreeDef
from gpunn.core.plan import KEPT_SHAPES, Plan
from gpunn.core.storage import ParameterStorage
from gpunn.layers import Layer
from gpunn.layers.shapes import check_shape, covers
from gpunn.layers.symbolic import SampleShape

from .graph import Graph, by_name


class Source(Protocol):
    """What gives a model its graph: a `Graph` itself, a chain of layers, or a custom call."""

    @property
    def layers(self) -> list[Any]:
        """The layers, including models used as layers, in order."""

    def declared_inputs(self) -> list[SampleShape] | None:
        """Return the sample shape of each input if the layers declare it, else None."""

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Return the graph for inputs with these sample shapes."""


class Builder:
    """Builds a model once the shapes of its inputs are known. Each model owns one.

    Args:
        source: What gives the graph.
        backend: The requested backend. It is fixed, whatever is chosen later.
    """

    storage: ParameterStorage | None = None
    """The storage of all parameters; None before the model is built."""

    def __init__(self, name: str, source: Source, dtype: Any, backend: Any) -> None:
        self.name = name
        self.source: Any = source
        self.dtype_given = None if dtype is None else resolve_dtype(dtype)
        self.backend = get_backend(backend)
        self.preparing = Exclusive()  # for preparations that only one thread makes
        self.graph: Graph | None = source if isinstance(source, Graph) else None
        self._plan: Plan | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is bound to arrays: a copy is built when it is first used."""
        return {**vars(self), "storage": None, "_plan": None}

    def reset(self) -> None:
        """Discard graph, plan and storage: the layers have changed."""
        self.storage = self._plan = None
        registry.record_change()
        if self.graph is not None:
            for application in self.graph.applications:
                application.layer._applications.remove(application)
            self.graph = None

    @property
    def plan(self) -> Plan | None:
        """The nodes in execution order; None as long as the input shape is not known."""
        if self._plan is None and (shapes := self.declared_inputs()) is not None:
            self.build(shapes)
        return self._plan

    @property
    def is_built(self) -> bool:
        return self._plan is not None

    @property
    def has_call(self) -> bool:
        """Whether the source is a custom call, which the first data or `build` show its inputs."""
        return isinstance(self.source, Layer)

    @property
    def layers(self) -> list[Any]:
        """The layers, without operations such as ``a + b``."""
        return [layer for layer in self.source.layers if not layer._by_operator]

    @property
    def is_graph(self) -> bool:
        """Whether the layers may have several inputs: not for a chain or a custom call."""
        return isinstance(self.source, Graph)

    def declared_inputs(self) -> list[SampleShape] | None:
        """Return the sample shape of each input if it is known, else None."""
        graph = self.graph
        return self.source.declared_inputs() if graph is None else graph.declared_inputs()

    def build(self, shapes: Sequence[SampleShape]) -> None:
        """Build the layers and the plan for inputs of these shapes."""
        known = self.declared_inputs()
        if known is not None and not covers(known, list(shapes)):
            names = [", ".join(map(str, given)) for given in (known, shapes)]
            raise ValueError(
                f"The model {self.name!r} takes samples of shape {names[0]}; got {names[1]}."
            )
        if self._plan is None:
            with self.preparing:  # another thread may have been faster
                if self._plan is None:
                    graph = self.graph or self.source.graph_for(shapes)
                    plan = graph.plan()
                    self.take_parameters(plan)
                    plan.others = lru_cache(KEPT_SHAPES)(graph.plan)
                    self.graph, self._plan = graph, plan

    def plan_for(self, shapes: Sequence[SampleShape]) -> Plan:
        """Return the plan for samples of these shapes, of which `plan` may leave axes unknown."""
        self.build(shapes)
        plan = self.known_plan("plan")
        return plan if any(None in shape for shape in shapes) else plan.of(shapes)

    def take_parameters(self, plan: Plan) -> bool:
        """Move parameters from other storages into this model's storage; return whether any moved.

        Several models may share a layer: each moves its parameters back before it computes.
        """
        if self.has_parameters():
            return False
        # A layer that occurs more than once in the plan has its parameters once.
        self.storage = ParameterStorage(self.backend, self.dtype, plan.parameters.values())
        return True

    def has_parameters(self) -> bool:
        """Whether all parameters are in this model's storage."""
        storage = self.storage
        if storage is None:
            return False
        for parameter in storage.parameters:  # noqa: SIM110 (this runs at each prediction)
            if parameter.storage is not storage:
                return False
        return True

    def samples(self, input_shape: Any) -> list[SampleShape]:
        """Return the sample shapes for one or several shapes with a batch axis."""
        several = isinstance(input_shape, Mapping) or any(
            isinstance(entry, (tuple, list)) for entry in input_shape
        )
        if several:
            names = self.input_names_for(input_shape)
            given = self.input_form.flat(input_shape, "input_shape")
            shapes = by_name(names, given, "input_shape")
        else:
            shapes = [input_shape]
        return [check_shape(tuple(shape)[1:]) for shape in shapes]

    def input_names_for(self, given: Any) -> list[str]:
        """Return the input names; for a model with a custom call they are decided now."""
        if self.has_call and self._plan is None:
            self.source.form = form = TreeDef.of(given)
            keys = () if form.is_nested else form.keys
            return list(keys) or [""] * len(form.unpack(given))
        if self.declared_inputs() is None:
            return ["x"]
        return self.known_graph("inputs").input_names

    @property
    def input_form(self) -> TreeDef:
        """The structure of the inputs, as far as it is known."""
        if self.graph is not None:
            return self.graph.input_form
        return (self.source.form if self.has_call else None) or TreeDef()

    @property
    def dtype(self) -> str:
        """See `Model.dtype`."""
        asked = self.asked_dtypes()
        if len(asked) > 1:
            names = ", ".join(f"{name!r} {dtype}" for dtype, name in asked.items())
            raise ValueError(f"All layers of a model must have one dtype; requested: {names}.")
        if asked:
            return next(iter(asked))
        # If no layer requests a dtype, weights keep theirs: a model made from another model's
        # layers must not round them.
        dtypes = {p.stored_dtype for layer in self.layers for p in layer.weights} - {None}
        return resolve_dtype(dtypes.pop() if len(dtypes) == 1 else None)

    def asked_dtypes(self) -> dict[str, str]:
        """Return the dtypes that layers request, each with the name of one such layer."""
        asked: dict[str, str] = {}
        for layer in self.layers:
            inner = getattr(layer, "_builder", None)  # of a model used as a layer
            if inner is not None:
                asked.update(inner.asked_dtypes())
            elif layer.dtype is not None:
                asked[layer.dtype] = layer.name
        if self.dtype_given is not None:
            asked[self.dtype_given] = self.name
        return asked

    def known_plan(self, attribute: str) -> Plan:
        """Return the plan, for an attribute that exists once the model is built."""
        plan = self.plan
        if plan is None:
            raise AttributeError(
                f"The model {self.name!r} has no {attribute} yet: it is not built."
            )
        return plan

    def known_graph(self, attribute: str) -> Graph:
        """Return the graph, for an attribute that exists once the graph is known."""
        if self.graph is None:
            self.known_plan(attribute)
        assert self.graph is not None
        return self.graph
