"""What every layer is: parameters declared once, forward and backward beside each other."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from gpunn.backends import get_backend
from gpunn.common import registry
from gpunn.common.arguments import check_dtype, check_flag, check_number, optional
from gpunn.common.config import resolve_dtype
from gpunn.common.fields import HasFields, field
from gpunn.common.names import snake_case, unique_name
from gpunn.core.arena import Arena, Parameter, ParameterHolder
from gpunn.core.plan import INPUT, Call, Node, Plan
from gpunn.core.workspace import run_once

from . import traced
from .shapes import Shape, check_shape, whole_shape, with_batch_axis
from .symbolic import GraphOperation, Sample, SymbolicTensor, is_symbolic

Pass = Callable[[Call], None]

__all__ = ["Layer", "deserialize", "get", "serialize"]


def _check_name(argument: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise ValueError(f"{argument} must be a non-empty string without '/'; got {value!r}.")
    return value


def _check_multiplier(argument: str, value: Any) -> float | str:
    if value == "lecun":
        return value
    if isinstance(value, str):
        raise ValueError(f'{argument} must be a number or "lecun"; got {value!r}.')
    return check_number(argument, value, 0)


def _check_sample(argument: str, value: Any) -> tuple[int, ...]:
    """The shape of one sample, as each of the three arguments says it."""
    if argument == "input_dim":
        value = (value,)
    if argument == "batch_input_shape" and isinstance(value, (tuple, list)) and value:
        value = tuple(n for n in value[1:] if n is not None)
    return check_shape(value, argument)


class Layer(GraphOperation, ParameterHolder, registry.Entry, HasFields):
    """Base class of layers. A layer of your own is one class in one file.

    It writes `forward` and `backward`, each in terms of one `gpunn.core.plan.Call`
    (``call.x``, ``call.y``, ``call.dy``, ``call.dx``), declares its parameters in
    `build`, and says in `compute_output_shape` what comes out. ``call.backend.xp`` is
    numpy or cupy: with it (and ``out=``) a layer runs on both. There is no automatic
    differentiation; `gpunn.testing.check_gradients` compares a backward pass with
    finite differences.

    Args:
        trainable: whether updates change its parameters; may be set at any time.
        dtype: ``"float32"`` or ``"float64"``; None takes the model's.
        name: unique in a model; made from the class name when None.
        input_shape: shape of one sample, for the first layer of a Sequential.
        learning_rate_multiplier: factor on the learning rate of its parameters, at least
            0; "lecun" is 1 / sqrt(fan-in of its kernel), so that units with many inputs
            learn as fast as others (LeCun, 1993; in Haykin, "Neural Networks and Learning
            Machines", 2009, section 4.6). May be set at any time; takes effect at the
            next fit.

    >>> import gpunn
    >>> class _Double(gpunn.layers.Layer):
    ...     def forward(self, call):
    ...         call.backend.xp.multiply(call.x, 2, out=call.y)
    ...     def backward(self, call):
    ...         call.backend.xp.multiply(call.dy, 2, out=call.dx)
    >>> _Double()([[1.0, 2.0]]).tolist()
    [[2.0, 4.0]]
    """

    kind = "layer"
    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("__call__", "stateless_call", "quantized_call", "symbolic_call"),
            "write call(x), or forward(call) and backward(call), its derivative",
        ),
        "compute_output_spec": "write compute_output_shape(input_shape)",
        "compute_mask": "there are no masks; write forward(call) so that it needs none",
        "build_from_config": "write build(input_shape)",
        "save_own_variables": "declare what is stored with self.parameter(...), in build",
        "load_own_variables": "declare what is stored with self.parameter(...), in build",
        "forward": "write is_view(call) too: it says when forward is left out, and this layer "
        "inherits one that does",
    }
    reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"forward": ("is_view", "reshapes")}
    reshapes = False
    """True for a layer that never does more than give its input another shape."""
    folds_into_input = False
    """True for a layer whose ``scale`` and ``offset`` the batch gather can apply."""
    takes_list = False
    """True for a layer that reads a list of arrays: `build` and `compute_output_shape` get a
    list of shapes, and `call.xs` and `call.dxs` hold as many arrays."""

    trainable: bool = field(default=True, check=check_flag, kw_only=True, managed=True)
    dtype: Any = field(default=None, check=check_dtype, kw_only=True)
    name: Any = field(default=None, check=optional(_check_name), kw_only=True)
    input_shape: Any = field(
        default=None, check=optional(_check_sample), kw_only=True, attribute="_input_shape"
    )
    input_dim: Any = field(
        default=None, check=optional(_check_sample), kw_only=True, attribute="_input_dim"
    )
    batch_input_shape: Any = field(
        default=None, check=optional(_check_sample), kw_only=True, attribute="_batch_input_shape"
    )
    learning_rate_multiplier: float | str = field(
        default=1.0, check=_check_multiplier, kw_only=True, managed=True
    )

    def __post_init__(self) -> None:
        self._parameters: list[Parameter] = []
        self._training_calls = itertools.count()
        self.applications = []
        self.name = self.name or unique_name(snake_case(type(self).__name__))
        shapes = map(vars(self).get, ("_batch_input_shape", "_input_dim", "_input_shape"))
        self.given_input_shape = next((shape for shape in shapes if shape is not None), None)
        # Whether the parameters are declared: always, where there is nothing to declare.
        self.built = type(self).build is Layer.build
        self.input_shape = None  # of one sample; of a layer that takes a list, a list

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [c for c in cls.__mro__ if {"call", "forward"} & vars(c).keys()]
        cls.has_call = "call" in vars(own[0]) and own[0] is not Layer
        if "build" in vars(cls):  # called by whom it may: a layer that was built knows it
            cls.build = _marks_built(cls.build)  # type: ignore

    # -- what a layer writes

    def build(self, input_shape: Shape) -> None:
        """Declare parameters with `parameter`; ``input_shape`` is (batch or None, ...)."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output (batch or None, ...): of `call`, if there is one, else the input's,
        unless a layer says otherwise."""
        if not self.has_call:
            return input_shape
        return (None, *traced.shapes_of(self, input_shape, resolve_dtype(self.dtype))[0])

    def call(self, x: Any, training: bool | None = None) -> Any:
        """What comes out for tensors ``x`` (batch, ...), in terms of `gpunn.ops` and of layers.

        A subclass that writes it needs neither `forward`, `backward` nor `compute_output_shape`;
        ``super().call(x)`` is what the layer it derives from computes.
        """
        return traced.apply_own(self, x, training)

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.x``."""
        raise TypeError(f"{type(self).__name__} must define call(x), or forward(call).")

    def backward(self, call: Call) -> None:
        """From ``call.dy``, write the parameters' gradients and, if not None, ``call.dx``."""
        raise TypeError(f"{type(self).__name__} must define backward(call).")

    def is_view(self, call: Call) -> bool:
        """True if, in this call, the output is the input under another shape: nothing runs."""
        return not self.has_call and (self.reshapes or call.folded)

    def passes(self, call: Call) -> tuple[Pass, Pass]:
        """The functions of a call that do its forward and its backward pass."""
        if self.has_call:
            found = traced.TracedCall(call)
            return found.forward, found.backward
        return self.forward, self.backward

    def add_weight(
        self,
        shape: Sequence[int] | int = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Parameter:
        """`parameter` by Keras's name and arguments; ``dtype`` is the layer's."""
        return self.parameter(
            [shape] if isinstance(shape, int) else shape,
            "glorot_uniform" if initializer is None else initializer,
            name, trainable, regularizer=regularizer, constraint=constraint,
        )  # fmt: skip

    def parameter(
        self,
        shape: Sequence[int],
        initializer: Any = "glorot_uniform",
        name: str | None = None,
        trained: bool = True,
        multiplier: float = 1.0,
        decay: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Parameter:
        """Declare a parameter; its values exist once the layer is in an arena.

        >>> from gpunn.layers import Layer
        >>> Layer(name="mine").parameter((2, 3), "zeros", name="kernel").path
        'mine/kernel'
        """
        from gpunn import constraints, initializers, regularizers

        parameter = Parameter(
            shape,
            initializers.get(initializer),
            name or f"parameter_{len(self._parameters)}",
            trained,
            multiplier,
            decay,
            regularizers.get(regularizer),
            constraints.get(constraint),
        )
        if parameter.name in [p.name for p in self._parameters]:
            raise ValueError(f"{self.name} already has a parameter named {parameter.name!r}.")
        parameter.layer = self
        self._parameters.append(parameter)
        return parameter

    # -- what a layer offers

    @property
    def rate_factor(self) -> float:
        """The multiplier as a number."""
        given = self.learning_rate_multiplier
        if not isinstance(given, str):
            return given
        from gpunn.initializers import fans

        kernel = next((p for p in self._parameters if len(p.shape) > 1), None)
        return 1.0 if kernel is None else float(fans(kernel.shape)[0] ** -0.5)

    @property
    def own_parameters(self) -> list[Parameter]:
        """Those that it has declared itself, in order."""
        return list(self._parameters)

    @property
    def layers_inside(self) -> list[Layer]:
        """The layers that a layer with a `call` has as attributes."""
        if not self.has_call:
            return []
        return list(dict.fromkeys(traced.layers_in(list(vars(self).values()))))

    def with_layers_inside(self) -> list[Layer]:
        """The layer and all layers in it, at any depth."""
        inside = (inner.with_layers_inside() for inner in self.layers_inside)
        return [self, *chain.from_iterable(inside)]

    @property
    def traceable(self) -> bool:
        inside = all(layer.traceable for layer in self.layers_inside)
        return inside and (self.has_call or super().traceable)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters by their names in this layer."""
        return traced.parameters_in(self)

    @property
    def weights(self) -> list[Parameter]:
        """All parameters in the order of their declaration."""
        return [p for _, p in self.named_parameters()] if self.has_call else self.own_parameters

    parameters = variables = weights

    def require_values(self, method: str) -> None:
        if not self.built:
            raise ValueError(
                f"{method}: {self.name} is not built yet: its input shape is not known."
            )
        self.own_arena()

    def ensure_built(self, input_shape: Any, own: bool = False) -> Sample:
        """Declare parameters for this input shape once; return the output shape.

        Both are of one sample; a layer that takes a list is given a list of shapes. With ``own``
        the output is that of `forward`, not of a `call` around it.
        """
        input_shape = whole_shape(input_shape)
        known = self.input_shape is not None  # else its parameters are those of layers in it
        if self.built and known and input_shape != self.input_shape and self.weights:
            raise ValueError(
                f"Layer {self.name!r} was built for inputs of shape {self.input_shape} a "
                f"sample; got {input_shape}."
            )
        if not self.built:
            self.build(with_batch_axis(input_shape))
        self.input_shape = input_shape
        return self._output_sample(input_shape, own)

    def _output_sample(self, input_shape: Any, own: bool = False) -> Sample:
        compute = self.compute_output_shape
        if own and self.has_call:
            compute = partial(traced.forward_class(self).compute_output_shape, self)
        shape = compute(with_batch_axis(input_shape))
        return tuple(int(n) for n in shape[1:] if n is not None)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the shape of one output sample."""
        if self.input_shape is None:
            raise AttributeError(f"{self.name} has no output shape yet: it is not built.")
        return (None, *self._output_sample(self.input_shape))

    @property
    def input(self) -> Any:
        """What it was first applied to, in a model: a symbolic tensor, or a list of them."""
        inputs = self._first_application("input").inputs
        return list(inputs) if len(inputs) != 1 else inputs[0]

    @property
    def output(self) -> SymbolicTensor:
        """What came out when it was first applied in a model."""
        return self._first_application("output").outputs[0]

    def _first_application(self, attribute: str) -> Any:
        if not self.applications:
            raise AttributeError(
                f"The layer {self.name!r} has no {attribute} yet: it was never called on a "
                f"symbolic tensor, and stands in no model that is built."
            )
        return self.applications[0]

    def check_inputs(self, x: Any) -> list[SymbolicTensor]:
        given = list(x) if isinstance(x, (list, tuple)) else [x]
        for entry in given:
            if not isinstance(entry, SymbolicTensor):
                raise TypeError(
                    f"{self.name}: symbolic tensors and arrays cannot be mixed; got {entry!r}."
                )
        if self.takes_list and not isinstance(x, (list, tuple)):
            raise ValueError(f"{self.name} takes a list of tensors; got {x!r}.")
        if not self.takes_list and len(given) != 1:
            raise ValueError(
                f"{self.name} takes one tensor; got {len(given)}. Put them together first, with "
                f"layers.Concatenate or layers.Add."
            )
        return given

    def _shape_argument(self, shapes: Sequence[Sample]) -> Any:
        return list(shapes) if self.takes_list else shapes[0]

    def infer_shapes(self, shapes: Sequence[Sample]) -> list[Sample]:
        return [self.ensure_built(self._shape_argument(shapes))]

    def append_nodes(
        self,
        nodes: list[Node],
        sources: Sequence[int],
        shapes: Sequence[Sample],
        path: str = "",
        training: bool | None = None,
    ) -> list[int]:
        shape = self.ensure_built(self._shape_argument(shapes))
        nodes.append(Node(self, tuple(sources), shape, f"{path}{self.name}", training))
        return [len(nodes) - 1]

    def stream_seed(self, model_seed: int) -> int:
        """The key of the layer's random stream; layers with a seed of their own say so."""
        return model_seed

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Run the layer by itself on an array (batch, ...), returning a NumPy array.

        On a symbolic tensor, an output of `Input` or of another layer, it gives a symbolic
        tensor: nothing is run, and `gpunn.Model` makes a model of what was put together.
        """
        if traced.is_traced(x):
            return traced.apply(self, x, training)
        return self.apply(x, training)[0] if is_symbolic(x) else self.run(x, bool(training))

    def run(self, x: Any, training: bool) -> np.ndarray:
        """Run the layer by itself on an array (batch, ...), or a list of them."""
        held = next((p.dtype for p in self.weights), None)
        dtype = held or resolve_dtype(self.dtype)
        if self.takes_list and not isinstance(x, (list, tuple)):
            raise ValueError(f"{self.name} takes a list of arrays; got {type(x).__name__}.")
        xs = [np.asarray(entry, dtype) for entry in (x if self.takes_list else [x])]
        for array in xs:
            if array.ndim == 0:
                raise ValueError(f"{self.name}: x must have a batch axis; got a single number.")
            if len(array) != len(xs[0]):
                raise ValueError(
                    f"{self.name}: arrays with as many rows are expected; got "
                    f"{', '.join(str(len(a)) for a in xs)}."
                )
        shapes = [array.shape[1:] for array in xs]
        nodes: list[Node] = []
        self.append_nodes(nodes, [INPUT - k for k in range(len(xs))], shapes)
        backend = self.own_arena().backend
        given = [backend.upload(array) for array in xs]
        number = next(self._training_calls) if training else 0
        return run_once(Plan(nodes, shapes), backend, dtype, given, training, number, 0)[0]

    def own_arena(self) -> Arena:
        """The arena that holds the parameters: the model's, or a small one of its own."""
        arena = next((p.arena for p in self.weights), None)
        return arena or Arena(get_backend(), resolve_dtype(self.dtype), self.weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal layer."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.dtype is not None:
            config["dtype"] = self.dtype
        if self.learning_rate_multiplier != 1.0:
            config["learning_rate_multiplier"] = self.learning_rate_multiplier
        if self.given_input_shape is not None:
            config["input_shape"] = list(self.given_input_shape)
        known = {*config, "dtype", "learning_rate_multiplier", "input_shape"}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and name not in known and hasattr(self, name):
                value = getattr(self, name)
                config[name] = registry.serialize(value) if hasattr(value, "kind") else value
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _marks_built(build: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @functools.wraps(build)
    def build_once(self: Layer, input_shape: Any) -> None:
        build(self, input_shape)
        several = isinstance(input_shape, list) and self.takes_list
        shapes = [tuple(s)[1:] for s in (input_shape if several else [input_shape])]
        samples = [tuple(n for n in shape if n is not None) for shape in shapes]
        self.input_shape = samples if several else samples[0]
        self.built = True

    return build_once


def declared(layer: Any, name: str, shape: Sequence[int]) -> Parameter:
    """A parameter of ``layer``, made as its attributes ``name_initializer`` and so on say."""
    kinds = ("initializer", "regularizer", "constraint")
    return layer.parameter(shape, name=name, **{k: getattr(layer, f"{name}_{k}") for k in kinds})


get, serialize, deserialize = registry.lookups(Layer)
