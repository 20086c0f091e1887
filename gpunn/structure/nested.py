"""A model as a part of another model: applied to symbolic tensors, and inside a call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import isfunction
from itertools import chain
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.common.nested import TreeDef
from gpunn.common.overrides import declared, is_framework, replaces
from gpunn.common.registry import NOT_SEEN
from gpunn.core.plan import HostPart, Node, Plan
from gpunn.core.storage import Parameter
from gpunn.layers import InputLayer, applying, traced
from gpunn.layers.as_operation import is_training
from gpunn.layers.parameters import Stateless, layers_in
from gpunn.layers.shapes import dtype_of, sample_of, unknown
from gpunn.layers.symbolic import (
    Application,
    GraphOperation,
    SampleShape,
    SymbolicTensor,
)
from gpunn.ops.trace import tracing

from .builder import Builder
from .graph import Graph, by_name

TRAINS = ("train_step", "compute_loss", "compute_metrics")
TESTS = ("test_step", "compute_loss", "compute_metrics")
PREDICTS = ("predict_step",)
STEPS = {*TRAINS, *TESTS, *PREDICTS}
"""The methods by which a subclass defines its own steps."""


class NestedModel(GraphOperation, Stateless, registry.Entry):
    """The part of `Model` that lets other models and layers contain it."""

    _kind = "model"
    _methods_may_be_set = True  # methods such as `fit` may be replaced on the object
    _changes_by_itself = True
    _not_watched = frozenset({"name", "_applications", "_builder", "_trainable"})
    _refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("__call__", "build", "compute_output_shape", "compute_mask"),
            "write call(inputs), and build(input_shape) if needed, or combine layers with "
            "gpunn.Model(inputs, outputs)",
        ),
        **dict.fromkeys(
            (
                "stateless_compute_loss", "make_train_function", "make_test_function",
                "make_predict_function",
            ),
            "write train_step(data), test_step(data) or predict_step(data)",
        ),
    }
    _own_steps: ClassVar[frozenset[str]] = frozenset()
    """The names of `STEPS` that a subclass defines."""
    _builder: Builder
    built: bool  # see `Model.built`
    _trainable: bool

    def __init_subclass__(cls) -> None:
        _take_call(cls)
        super().__init_subclass__()
        cls._has_call = replaces(cls, "call")
        cls._own_steps = frozenset(name for name in STEPS if replaces(cls, name))
        if "build" in vars(cls) and not is_framework(cls):
            cls.build = _builds_all(cls.build)  # type: ignore[attr-defined]

    def _watched(self) -> Mapping[str, Any]:
        """Return the attributes that were set, which code may read, and, of a model without a call
        or steps of its own, the layers."""
        if self._has_call or self._own_steps:
            return super()._watched()
        watched: dict[str, Any] = {str(number): layer for number, layer in enumerate(self.layers)}
        if vars(self).keys() - self._not_watched - NOT_SEEN:
            watched.update(super()._watched())
        return watched

    @property
    def name(self) -> str:
        """Name of the model, and prefix of its weights' paths in another one.

        >>> import gpunn
        >>> gpunn.Sequential(name="encoder").name
        'encoder'
        """
        return self._builder.name

    @name.setter
    def name(self, name: str) -> None:
        self._builder.name = name

    @property
    def layers(self) -> list[Any]:
        """The layers, including models used as layers, in order.

        A chain does not list its `gpunn.Input`; other models list their input layers.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, name="scores")])
        >>> [layer.name for layer in model.layers]
        ['scores']
        """
        return self._builder.layers

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Model.layers` attribute is reserved: keep your layers under another name, such as "
            "self.blocks. Use `add()` and `pop()` to change those of a Sequential."
        )

    @property
    def _dtype_given(self) -> str | None:
        return self._builder.dtype_given

    # -- in a graph

    @property
    def _host_part(self) -> HostPart | None:
        plan = self._builder.plan
        return None if plan is None else plan.host

    def _plan_for(self, shapes: Sequence[SampleShape], masked: Any) -> Plan:
        """Return the plan for inputs of these shapes, followed by the masks of those that have one.
        Its outputs are followed by their masks."""
        plan = self._builder.plan_for(shapes[: len(masked)] if masked else shapes)
        if masked:
            graph = self._builder.known_graph("plan")
            inputs = [InputLayer(t.sample, dtype=dtype_of(t.sample)).output for t in graph.inputs]
            masks = []
            for tensor, shape in zip(inputs, masked, strict=True):
                if shape is not None:
                    tensor._keras_mask = InputLayer(shape, dtype="bool").output
                    masks.append(tensor._keras_mask)
            from .calls import run_graph

            outputs = run_graph(graph, graph.input_form.pack(inputs), None)
            whole = None if any(None in shape for shape in shapes) else shapes
            plan = Graph([*inputs, *masks], graph.output_form.unpack(outputs)).plan(whole)
        ends = [*plan.outputs, *(number for number in plan.masks if number is not None)]
        return Plan(plan.nodes, plan.input_shapes, ends, plan.host, plan.input_dtypes, plan.masks)

    # -- inside the call of a layer or of another model

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the outputs for tensors with `gpunn.ops`, layers and models.

        A subclass that overrides it is created without inputs and outputs, and is built for the
        first data that it sees. Other models run their layers.

        Args:
            x: A tensor (batch, ...), or several in the structure of the inputs.
            training: Whether layers such as dropout act as in training.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Squared(gpunn.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = gpunn.layers.Dense(1, kernel_initializer="ones")
        ...     def call(self, x):
        ...         return self.dense(x) ** 2
        >>> _Squared()([[1.0, 2.0]]).tolist()
        [[9.0]]
        """
        if self._has_call:
            raise TypeError(
                f"{self.name} defines no call(inputs): call the layers and models that it holds."
            )
        from .calls import run_graph

        return run_graph(self._builder.known_graph("graph"), x, training)

    def _call_in_trace(
        self, x: Any, training: bool | None, further: Mapping[str, Any] | None = None
    ) -> Any:
        """Apply the model to tensors inside a call, with ``further`` arguments of its own.

        Raises:
            TypeError: if some of its layers compute on the host.
        """
        builder = self._builder
        if not builder.is_built and builder.declared_inputs() is None:
            form = TreeDef.of(x)
            builder.input_names_for(x)
            builder.build([unknown(t.shape[1:]) for t in form.unpack(x)])
        if self._host_part is not None and self._host_part.steps:
            raise TypeError(traced.not_in_a_call(self._host_part.steps[0][0]))
        if self._has_call:
            training = is_training(training)
        options = {"training": training} if traced.takes_training(self) else {}
        with tracing().calling(training):
            return self.call(x, **options, **(further or {}))

    def add_weight(self, *args: Any, **kwargs: Any) -> Parameter:
        """Add a parameter to a model with a custom call; see `gpunn.layers.Layer.add_weight`.

        Raises:
            TypeError: for a model that defines no ``call``.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Shifted(gpunn.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.shift = self.add_weight((), "ones", name="shift")
        ...     def call(self, x):
        ...         return x + self.shift
        >>> _Shifted()([[1.0, 2.0]]).tolist()
        [[2.0, 3.0]]
        """
        if not self._has_call:
            raise TypeError(f"{self.name}: only a model that defines call has its own parameters.")
        return self._builder.source.add_weight(*args, **kwargs)

    add_variable = add_weight

    def add_loss(self, loss: Any) -> None:
        """Inside `call`: add ``loss``, or each of a list; see `gpunn.layers.Layer.add_loss`.

        Args:
            loss: A tensor, a number or a list of them.

        Raises:
            TypeError: outside a call.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Penalized(gpunn.Model):
        ...     def call(self, x):
        ...         self.add_loss(0.1 * gpunn.ops.sum(x))
        ...         return x
        >>> model = _Penalized()
        >>> model([[10.0, 20.0]]).tolist(), [loss.tolist() for loss in model.losses]
        ([[10.0, 20.0]], [3.0])
        """
        traced.add_loss(loss)

    # -- what it contains

    @property
    def _declares(self) -> Any:
        return self._builder.source

    @property
    def _is_closed(self) -> bool:  # type: ignore[override]
        return self._builder.is_built

    def _with_layers_inside(self) -> list[Any]:
        """Return all layers at any depth, after the model itself if it has a custom call."""
        inside = chain.from_iterable(layer._with_layers_inside() for layer in self.layers)
        return [*([self] if self._has_call else []), *inside]

    def _attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers by the attributes that hold them, or by their numbers."""
        if not self._has_call:
            yield from ((str(number), layer) for number, layer in enumerate(self.layers))
        entries = list(vars(self).items())  # in one step: other threads may set some
        for name, value in entries if self._has_call else ():
            yield from layers_in(name, value)

    @property
    def _own_parameters(self) -> list[Parameter]:
        """The parameters of a model with a custom call, by `add_weight` or from variables."""
        return list(self._builder.source._own_parameters) if self._has_call else []

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, kernel before bias.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, name="scores")])
        >>> [p.path for p in model.weights]
        ['scores/kernel', 'scores/bias']
        """
        plan = self._builder.plan  # parameters exist once it does
        if plan is not None:
            return list(plan.parameters.values())
        unique = {id(p): p for _, p in self.named_parameters()}
        return list(unique.values())

    def _require_values(self, method: str) -> None:
        if not self._has_values:
            raise ValueError(
                f"{method}: the model {self.name!r} is not built, its input shape is not known. "
                f"Start it with layers.Input(shape), or call build((None, ...)) or fit first."
            )
        for p in self.weights if self._builder.plan is None else ():
            if p.storage is None:
                p.layer._own_storage()

    @property
    def _has_values(self) -> bool:
        """Whether its weights have values. Without a call, it has the values of what it holds."""
        without_call = self._has_call and not replaces(type(self), "call")
        return self.built or bool(without_call and self.weights)

    def _by_path(self) -> Mapping[str, Parameter]:
        """Return the parameters by their path."""
        plan = self._builder.plan
        return dict(self.named_parameters()) if plan is None else plan.parameters

    @property
    def trainable(self) -> bool:
        """Whether training updates the layers' parameters; setting it sets it for all layers.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
        >>> model.trainable = False
        >>> len(model.trainable_weights), len(model.non_trainable_weights)
        (0, 2)
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in [*self.layers, *([self._builder.source] if self._has_call else [])]:
            layer.trainable = value

    @property
    def _traceable(self) -> bool:
        return all(layer._traceable for layer in self.layers)


def _builds_all(build: Callable[..., None]) -> Callable[..., None]:
    """Return a model's own method `build`: whoever calls it builds all of the model, which calls
    the method once on the way."""

    @functools.wraps(build)
    def build_all(self: Any, *shapes: Any, **named: Any) -> None:
        if named or len(shapes) != 1 or not self._has_call or self._builder.source.building:
            build(self, *shapes, **named)
        else:
            self._builder.build(self._builder.samples(shapes[0]))

    return build_all


# A model as a part of a graph, see `gpunn.layers.applying`.


@applying.check_inputs.for_models
def _(model: NestedModel, x: Any) -> list[SymbolicTensor]:
    given = [x] if isinstance(x, SymbolicTensor) else x
    names = model._builder.input_names_for(x)
    what = f"The inputs of {model.name}"
    tensors = by_name(names, model._builder.input_form.flat(given, what), what)
    for entry in tensors:
        if not isinstance(entry, SymbolicTensor):
            raise TypeError(
                f"{model.name}: symbolic tensors and arrays cannot be mixed; got {entry!r}."
            )
    return tensors


@applying.masks_for.for_models
def _(model: NestedModel, inputs: Sequence[SymbolicTensor], given: Any) -> Any:
    """Return the masks of inputs, and the shape of each input's mask, or None."""
    masks = [t._keras_mask for t in inputs]
    if model._has_call or not any(m is not None for m in masks):
        return (), given
    shapes = tuple(None if m is None else m.sample for m in masks)
    return [m for m in masks if m is not None], shapes


@applying.with_masks.for_models
def _(model: NestedModel, application: Application) -> list[SymbolicTensor]:
    outputs = list(application.outputs)
    read = [t.sample for t in (*application.inputs, *application.masks)]
    plan = model._plan_for(read, application.masked)
    masks = iter(outputs[len(plan.masks) :])
    for tensor, number in zip(outputs, plan.masks, strict=False):
        tensor._keras_mask = None if number is None else next(masks)
    return outputs[: len(plan.masks)]


@applying.infer_shapes.for_models
def _(model: NestedModel, shapes: Sequence[SampleShape], given: Any = None) -> list[SampleShape]:
    plan = model._plan_for(shapes, given)
    return [*map(sample_of, plan.output_shapes, plan.output_dtypes)]


@applying.append_nodes.for_models
def _(
    model: NestedModel,
    nodes: list[Node],
    sources: Sequence[int],
    shapes: Sequence[SampleShape],
    path: str = "",
    training: bool | None = None,
    given: Any = None,
) -> list[int]:
    plan = model._plan_for(shapes, given)
    more, outputs = plan.nodes_from(len(nodes), sources, f"{path}{model.name}/", training)
    nodes += more
    return outputs


def _take_call(cls: type) -> None:
    """Let the `__call__` of a custom model be its `call`, if it has none and `__call__` does not
    refer to its base's."""
    method = vars(cls).get("__call__")
    if is_framework(cls) or not isfunction(method) or replaces(cls, "call"):
        return
    if "call" not in declared(cls, "_refused") and "__call__" not in method.__code__.co_names:
        cls.call = method  # type: ignore[attr-defined]
        del cls.__call__
