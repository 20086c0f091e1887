"""How a model comes to its plan and its parameters, and how it stands in another model."""

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
    """The part of a `Model` that makes its plan and its parameters; arguments as there."""

    kind = "model"
    _changes_by_itself = True
    _not_watched = frozenset(
        {"name", "dtype_given", "applications", "_backend", "_seed", "_body", "_preparing"}
        | {"_trains", "_plan", "_arena", "_graph", "_copied", "_trainable"}
    )
    takes_methods = True  # such as `fit`: a method set on the object is the one that is called
    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("__call__", "build", "compute_output_shape", "compute_mask"),
            "write call(inputs), and a build(input_shape) beside it if need be, or put layers "
            "together with gpunn.Model(inputs, outputs)",
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
            "a step is what the layers and the loss say; write a loss or a layer of your own, "
            "and put the layers together with gpunn.Model(inputs, outputs)",
        ),
        **dict.fromkeys(
            ("predict_step", "make_predict_function"),
            "a prediction is what the layers say; write a layer of your own as the last one",
        ),
        **dict.fromkeys(
            ("compute_metrics", "get_metrics_result", "reset_metrics", "metrics"),
            "write a metric of your own, and pass it to compile(metrics=...)",
        ),
    }
    not_copied = GraphOperation.not_copied | {"_plan", "_arena"}
    _plan: Plan | None = None
    _arena: Arena | None = None
    _graph: Graph | None = None
    _copied = False
    """Whether it is the copy of a model that was built, and will be when it is first used."""
    is_graph = True
    """False for a chain, whose order says all about what its layers read."""

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
        self._backend = get_backend(backend)  # for good, whatever is chosen later
        self._trainable = bool(trainable)
        self._seed = draw_seed()  # key of the order and of dropout; compile draws a new one
        self.applications = []
        self._body = ModelCall(self) if self.has_call else None
        self._preparing = Exclusive()  # what is made once, by whichever thread comes first
        self._trains = Exclusive()  # held by the one call that trains it
        self._reset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.has_call = replaces(cls, "call")

    @classmethod
    def default_name(cls) -> str:
        """What a model without a name is called, but for a number."""
        return snake_case(cls.__name__)

    def _reset(self) -> None:
        """Forget what was bound to arrays: the layers have changed."""
        self._plan = self._arena = None
        self._copied = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_copied": self._copied or self._plan is not None}

    def _watched(self) -> Mapping[str, Any]:
        """Its layers; of a model with a call of its own all that this may read."""
        if self.has_call:
            return super()._watched()
        return {str(number): layer for number, layer in enumerate(self.layers)}

    @property
    def layers(self) -> list[Any]:
        """The layers, and models that stand here as layers, in their order."""
        raise TypeError(f"{type(self).__name__} must define layers.")

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """The graph for inputs of these shapes of one sample."""
        raise TypeError(f"{type(self).__name__} must define graph_for(shapes).")

    def declared_inputs(self) -> list[SampleShape] | None:
        """The shapes of one sample of each input if the layers say it, else None."""
        raise TypeError(f"{type(self).__name__} must define declared_inputs().")

    @property
    def graph(self) -> Graph:
        """Inputs, outputs and what lies between them; an AttributeError before it is known."""
        raise TypeError(f"{type(self).__name__} must define graph.")

    @property
    def plan(self) -> Plan | None:
        """What runs in which order; None as long as the input shape is not known."""
        if self._plan is None and (shapes := self.declared_inputs()) is not None:
            self._build(shapes)
        return self._plan

    @property
    def arena(self) -> Arena | None:
        """Where the parameters lie; None as long as the input shape is not known."""
        return self._arena if self.plan else None

    def build(self, input_shape: Any = None) -> None:
        """Make the parameters.

        Args:
            input_shape: (batch or None, ...), or a list or dictionary of such.
        """
        if self._body is not None and self._body.building:
            return  # the model's own build calls the one that it replaces
        if input_shape is None:
            self.require_values("build")
        else:
            self._build(self._samples(input_shape))

    def _samples(self, input_shape: Any) -> list[SampleShape]:
        """The shapes of one sample of a shape with the batch axis, or of several such."""
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
        """What the inputs are called; of a model with a call of its own, it is decided now."""
        if self._body is not None and self._plan is None:
            self._body.form = form = TreeDef.of(given)
            return list(form.keys) or [""] * len(form.unpack(given))
        return self.graph.input_names if self.declared_inputs() is not None else ["x"]

    def _build(self, shapes: Sequence[SampleShape]) -> None:
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
                    # The graph of a copy is there: its layers are applied already.
                    graph = self._graph if self._copied else None
                    plan = (graph or self.graph_for(shapes)).plan()
                    self._take_parameters(plan)
                    self._plan = plan

    def _take_parameters(self, plan: Plan) -> bool:
        """Move parameters that lie elsewhere into this model's arena; True if some did.

        A layer may stand in several models: each takes it back before it computes.
        """
        if self._has_parameters():
            return False
        # A layer that stands in the plan more than once has its parameters once.
        self._arena = Arena(self._backend, self.dtype, plan.parameters.values())
        return True

    def _has_parameters(self) -> bool:
        """Whether all parameters lie in this model's arena."""
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
        """What comes out for tensors, in terms of `gpunn.ops`, layers and models.

        A subclass that writes it is made without inputs and outputs, and built for the first
        data that it sees. Of other models it is what their layers give.
        """
        return run_graph(self.graph, x, training)

    def call_in_trace(self, x: Any, training: bool | None) -> Any:
        """The model applied to tensors inside a call.

        Raises:
            TypeError: if layers of it compute on the host.
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
        """The layers, as of a layer that has some in it."""
        return self.layers

    def with_layers_inside(self) -> list[Any]:
        """All layers in it, at any depth; before them the model, if it has a call of its own."""
        inside = chain.from_iterable(layer.with_layers_inside() for layer in self.layers)
        return [*([self] if self.has_call else []), *inside]

    def attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """The layers by their places: the attributes that hold them, or their numbers."""
        if self._body is None:
            yield from ((str(number), layer) for number, layer in enumerate(self.layers))
        for name, value in vars(self).items() if self._body is not None else ():
            if name != "_body":
                yield from layers_in(name, value)

    def name_parameters(self, path: str = "") -> None:
        """Tell the parameters where they stand, by the names of layers."""
        name_parameters(self, path)

    @property
    def own_parameters(self) -> list[Parameter]:
        """Those that a model with a call has declared itself, by `add_weight`."""
        return [] if self._body is None else self._body.own_parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters by their names in this model."""
        return parameters_in(self)

    @property
    def traceable(self) -> bool:
        return all(layer.traceable for layer in self.layers)

    def add_weight(self, *args: Any, **kwargs: Any) -> Parameter:
        """A parameter of a model with a call of its own; see `gpunn.layers.Layer.add_weight`."""
        if self._body is None:
            raise TypeError(f"{self.name}: only a model with a call of its own has parameters.")
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
        """What Keras's models say at the end of their `build`; here it is known."""

    @property
    def dtype(self) -> str:
        """Dtype of parameters and computation.

        Raises:
            ValueError: if layers of the model ask for different ones.
        """
        asked = self.asked_dtypes()
        if len(asked) > 1:
            names = ", ".join(f"{name!r} {dtype}" for dtype, name in asked.items())
            raise ValueError(f"All layers of a model have one dtype; asked for: {names}.")
        if asked:
            return next(iter(asked))
        # If no layer asks for a dtype, weights keep theirs: a model made of another model's layers
        # must not round them.
        held = {p.dtype for layer in self.layers for p in layer.weights} - {None}
        return resolve_dtype(held.pop() if len(held) == 1 else None)

    def asked_dtypes(self) -> dict[str, str]:
        """The dtypes that layers ask for, each with the name of one such layer."""
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
        """The backend the model runs on."""
        return self._backend

    def _known_plan(self, attribute: str) -> Plan:
        if self.plan is None:
            raise AttributeError(
                f"The model {self.name!r} has no {attribute} yet: it is not built."
            )
        return self.plan

    def _known_graph(self, attribute: str) -> Graph:
        """The graph, for an attribute that there is once the model is built."""
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
                f"Begin it with layers.Input(shape), or call build((None, ...)) or fit first."
            )
