"""How a model builds its plan and its parameters, and how it is used inside another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.common import registry
from gpunn.common.config import resolve_dtype
from gpunn.common.holds import Exclusive
from gpunn.common.names import snake_case, unique_name
from gpunn.common.overrides import replaces
from gpunn.common.random import draw_seed
from gpunn.core.arena import Arena, Parameter
from gpunn.core.holder import ParameterHolder
from gpunn.core.plan import HostPart, Node, Plan
from gpunn.layers import traced
from gpunn.layers.held import layers_in, name_parameters, parameters_in
from gpunn.layers.shapes import check_shape, sample_of
from gpunn.layers.symbolic import GraphOperation, SampleShape, SymbolicTensor, TreeDef

from .calls import ModelCall, run_graph
from .graph import Graph, by_name


class BuildableModel(GraphOperation, ParameterHolder, registry.Entry):
    """The part of a `Model` that builds its plan and its parameters; arguments as in `Model`."""

    kind = "model"
    _changes_by_itself = True
    _not_watched = frozenset(
        {"name", "dtype_given", "applications", "_backend", "_seed", "_body", "_preparing"}
        | {"_trains", "_plan", "_arena", "_graph", "_copied", "_trainable"}
    )
    takes_methods = True  # methods such as `fit` may be replaced on the object
    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("__call__", "build", "compute_output_shape", "compute_mask"),
            "write call(inputs), and build(input_shape) if needed, or combine layers with "
            "gpunn.Model(inputs, outputs)",
        ),
        **dict.fromkeys(
            (
                "train_step",
                "test_step",
                "compute_loss",
                "stateless_compute_loss",
                "make_train_function",
                "make_test_function",
            ),
            "the layers and the loss define a step; write a custom loss or layer, and combine "
            "the layers with gpunn.Model(inputs, outputs)",
        ),
        **dict.fromkeys(
            ("predict_step", "make_predict_function"),
            "the layers define a prediction; write a custom layer as the last one",
        ),
        **dict.fromkeys(
            ("compute_metrics", "get_metrics_result", "reset_metrics", "metrics"),
            "write a custom metric, and pass it to compile(metrics=...)",
        ),
    }
    not_copied = GraphOperation.not_copied | {"_plan", "_arena"}
    _plan: Plan | None = None
    _arena: Arena | None = None
    _graph: Graph | None = None
    _copied = False
    """Whether it is a copy of a built model; such a copy is built when it is first used."""
    is_graph = True
    """False for a chain, whose order determines the inputs of its layers."""

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/'; got {name!r}.")
        self.name = name or unique_name(self.default_name())
        self.dtype_given = None if dtype is None else resolve_dtype(dtype)
        self._backend = get_backend(backend)  # fixed, whatever is chosen later
        self._trainable = bool(trainable)
        self._seed = draw_seed()  # key of the order and of dropout; compile draws a new one
        self.applications = []
        self._body = ModelCall(self) if self.has_call else None
        self._preparing = Exclusive()  # for preparations that only one thread makes
        self._trains = Exclusive()  # held by the only call that trains the model
        self._reset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.has_call = replaces(cls, "call")

    @classmethod
    def default_name(cls) -> str:
        """Return the default name of a model, without a number."""
        return snake_case(cls.__name__)

    def _reset(self) -> None:
        """Discard everything bound to arrays: the layers have changed."""
        self._plan = self._arena = None
        self._copied = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_copied": self._copied or self._plan is not None}

    def _watched(self) -> Mapping[str, Any]:
        """Return the layers; for a model with a custom call, everything the call may read."""
        if self.has_call:
            return super()._watched()
        return {str(number): layer for number, layer in enumerate(self.layers)}

    @property
    def layers(self) -> list[Any]:
        """The layers, including models used as layers, in order."""
        raise TypeError(f"{type(self).__name__} must define layers.")

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Return the graph for inputs with these sample shapes."""
        raise TypeError(f"{type(self).__name__} must define graph_for(shapes).")

    def declared_inputs(self) -> list[SampleShape] | None:
        """Return the sample shape of each input if the layers declare it, else None."""
        raise TypeError(f"{type(self).__name__} must define declared_inputs().")

    @property
    def graph(self) -> Graph:
        """The graph from inputs to outputs; raises AttributeError before it is known."""
        raise TypeError(f"{type(self).__name__} must define graph.")

    @property
    def plan(self) -> Plan | None:
        """The nodes in execution order; None as long as the input shape is not known."""
        if self._plan is None and (shapes := self.declared_inputs()) is not None:
            self._build(shapes)
        return self._plan

    @property
    def arena(self) -> Arena | None:
        """The arena that holds the parameters; None as long as the input shape is not known."""
        return self._arena if self.plan else None

    def build(self, input_shape: Any = None) -> None:
        """Create the parameters.

        Args:
            input_shape: (batch or None, ...), or a list or dictionary of such shapes.
        """
        if self._body is not None and self._body.building:
            return  # called by the model's own build with super()
        if input_shape is None:
            self.require_values("build")
        else:
            self._build(self._samples(input_shape))

    def _samples(self, input_shape: Any) -> list[SampleShape]:
        """Return the sample shapes for one or several shapes with a batch axis."""
        several = isinstance(input_shape, Mapping) or any(
            isinstance(entry, (tuple, list)) for entry in input_shape
        )
        if several:
            names = self._input_names_for(input_shape)
            shapes = by_name(names, input_shape, "input_shape")
        else:
            shapes = [input_shape]
        return [check_shape(tuple(shape)[1:]) for shape in shapes]

    def _input_names_for(self, given: Any) -> list[str]:
        """Return the input names; for a model with a custom call they are decided now."""
        if self._body is not None and self._plan is None:
            self._body.form = form = TreeDef.of(given)
            return list(form.keys) or [""] * len(form.unpack(given))
        return self.graph.input_names if self.declared_inputs() is not None else ["x"]

    def _build(self, shapes: Sequence[SampleShape]) -> None:
        """Build the layers and the plan for inputs of these shapes."""
        built = self._plan is not None
        known = [t.sample for t in self.graph.inputs] if built else self.declared_inputs()
        if known is not None and known != list(shapes):
            names = [", ".join(map(str, given)) for given in (known, shapes)]
            raise ValueError(
                f"The model {self.name!r} takes samples of shape {names[0]}; got {names[1]}."
            )
        if self._plan is None:
            with self._preparing:  # another thread may have been faster
                if self._plan is None:
                    # A copy has its graph already: its layers are applied.
                    graph = self._graph if self._copied else None
                    plan = (graph or self.graph_for(shapes)).plan()
                    self._take_parameters(plan)
                    self._plan = plan

    def _take_parameters(self, plan: Plan) -> bool:
        """Move parameters from other arenas into this model's arena; return whether any moved.

        Several models may share a layer: each moves its parameters back before it computes.
        """
        if self._has_parameters():
            return False
        # A layer that occurs more than once in the plan has its parameters once.
        self._arena = Arena(self._backend, self.dtype, plan.parameters.values())
        return True

    def _has_parameters(self) -> bool:
        """Whether all parameters are in this model's arena."""
        arena = self._arena
        if arena is None:
            return False
        for parameter in arena.parameters:  # noqa: SIM110 (this runs at each prediction)
            if parameter.arena is not arena:
                return False
        return True

    def check_inputs(self, x: Any) -> list[SymbolicTensor]:
        given = [x] if isinstance(x, SymbolicTensor) else x
        tensors = by_name(self._input_names_for(x), given, f"The inputs of {self.name}")
        for entry in tensors:
            if not isinstance(entry, SymbolicTensor):
                raise TypeError(
                    f"{self.name}: symbolic tensors and arrays cannot be mixed; got {entry!r}."
                )
        return tensors

    @property
    def host_part(self) -> HostPart | None:
        return None if self.plan is None else self.plan.host

    def infer_shapes(self, shapes: Sequence[SampleShape], given: Any = None) -> list[SampleShape]:
        self._build(shapes)
        plan = self._known_plan("output_shape")
        return [*map(sample_of, plan.output_shapes, plan.output_dtypes)]

    def append_nodes(
        self,
        nodes: list[Node],
        sources: Sequence[int],
        shapes: Sequence[SampleShape],
        path: str = "",
        training: bool | None = None,
        given: Any = None,
    ) -> list[int]:
        self._build(shapes)
        plan = self._known_plan("plan")
        more, outputs = plan.nodes_from(len(nodes), sources, f"{path}{self.name}/", training)
        nodes += more
        return outputs

    # -- inside the call of a layer or of another model

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the outputs for tensors with `gpunn.ops`, layers and models.

        A subclass that overrides it is created without inputs and outputs, and is built for the
        first data that it sees. Other models run their layers.
        """
        return run_graph(self.graph, x, training)

    def call_in_trace(self, x: Any, training: bool | None) -> Any:
        """Apply the model to tensors inside a call.

        Raises:
            TypeError: if some of its layers compute on the host.
        """
        if self._plan is None and self.declared_inputs() is None:
            form = TreeDef.of(x)
            self._input_names_for(x)
            self._build([tuple(t.shape[1:]) for t in form.unpack(x)])
        if self.host_part is not None and self.host_part.steps:
            raise TypeError(traced.not_in_a_call(self.host_part.steps[0][0]))
        options = {"training": training} if traced.takes_training(self) else {}
        return self.call(x, **options)

    @property
    def layers_inside(self) -> list[Any]:
        """The layers, as for a layer that contains others."""
        return self.layers

    def with_layers_inside(self) -> list[Any]:
        """Return all layers at any depth, after the model itself if it has a custom call."""
        inside = chain.from_iterable(layer.with_layers_inside() for layer in self.layers)
        return [*([self] if self.has_call else []), *inside]

    def attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers by the attributes that hold them, or by their numbers."""
        if self._body is None:
            yield from ((str(number), layer) for number, layer in enumerate(self.layers))
        for name, value in vars(self).items() if self._body is not None else ():
            if name != "_body":
                yield from layers_in(name, value)

    def name_parameters(self, path: str = "") -> None:
        """Set the paths of the parameters from the names of layers."""
        name_parameters(self, path)

    @property
    def own_parameters(self) -> list[Parameter]:
        """The parameters that a model with a custom call has added by `add_weight`."""
        return [] if self._body is None else self._body.own_parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their names in this model."""
        return parameters_in(self)

    @property
    def traceable(self) -> bool:
        return all(layer.traceable for layer in self.layers)

    def add_weight(self, *args: Any, **kwargs: Any) -> Parameter:
        """Add a parameter to a model with a custom call; see `gpunn.layers.Layer.add_weight`."""
        if self._body is None:
            raise TypeError(f"{self.name}: only a model that defines call has its own parameters.")
        return self._body.add_weight(*args, **kwargs)

    def add_loss(self, loss: Any) -> None:
        """Inside `call`: add ``loss``, or each of a list; see `gpunn.layers.Layer.add_loss`."""
        traced.add_loss(loss)

    @property
    def built(self) -> bool:
        """Whether the parameters exist."""
        return self.plan is not None

    @built.setter
    def built(self, value: bool) -> None:
        """Ignored: Keras's models set it at the end of `build`; here it is known."""

    @property
    def dtype(self) -> str:
        """Dtype of parameters and computation.

        Raises:
            ValueError: if layers of the model request different ones.
        """
        asked = self.asked_dtypes()
        if len(asked) > 1:
            names = ", ".join(f"{name!r} {dtype}" for dtype, name in asked.items())
            raise ValueError(f"All layers of a model must have one dtype; requested: {names}.")
        if asked:
            return next(iter(asked))
        # If no layer requests a dtype, weights keep theirs: a model made from another model's
        # layers must not round them.
        held = {p.dtype for layer in self.layers for p in layer.weights} - {None}
        return resolve_dtype(held.pop() if len(held) == 1 else None)

    def asked_dtypes(self) -> dict[str, str]:
        """Return the dtypes that layers request, each with the name of one such layer."""
        asked: dict[str, str] = {}
        for layer in self.layers:
            if isinstance(layer, BuildableModel):
                asked.update(layer.asked_dtypes())
            elif layer.dtype is not None:
                asked[layer.dtype] = layer.name
        if self.dtype_given is not None:
            asked[self.dtype_given] = self.name
        return asked

    @property
    def backend(self) -> Backend:
        """The backend that the model runs on."""
        return self._backend

    def _known_plan(self, attribute: str) -> Plan:
        if self.plan is None:
            raise AttributeError(
                f"The model {self.name!r} has no {attribute} yet: it is not built."
            )
        return self.plan

    def _known_graph(self, attribute: str) -> Graph:
        """Return the graph, for an attribute that exists once the model is built."""
        self._known_plan(attribute)
        return self.graph

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in [*self.layers, *([] if self._body is None else [self._body])]:
            layer.trainable = value

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, kernel before bias."""
        _ = self.plan  # parameters exist once it does
        if self._plan is not None:
            return list(self._plan.parameters.values())
        unique = {id(p): p for _, p in self.named_parameters()}
        return list(unique.values())

    parameters = variables = weights

    def require_values(self, method: str) -> None:
        if self.plan is None:
            raise ValueError(
                f"{method}: the model {self.name!r} is not built, its input shape is not known. "
                f"Start it with layers.Input(shape), or call build((None, ...)) or fit first."
            )
