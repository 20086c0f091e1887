"""Base class of layers: parameters, a forward and a backward pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.common.arguments import check_dtype, check_flag, check_number, optional
from gpunn.common.fields import HasFields, field
from gpunn.common.lookups import lookups
from gpunn.common.names import snake_case, unique_name
from gpunn.common.overrides import is_framework
from gpunn.common.random import Counter
from gpunn.common.signatures import signature
from gpunn.core.arena import Parameter
from gpunn.core.plan import Call

from . import traced
from .applying import Applicable
from .arguments import check_regularizer
from .as_operation import apply_own
from .held import trainable
from .shapes import Shape, check_shape, without_batch_axis

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
    """Return the shape of one sample from any of the three arguments for it."""
    if argument == "input_dim":
        value = (value,)
    if argument == "batch_input_shape" and isinstance(value, (tuple, list)) and value:
        value = tuple(n for n in value[1:] if n is not None)
    return check_shape(value, argument)


class Layer(Applicable, registry.Entry, HasFields):
    """Base class of layers. A custom layer is one class in one file.

    It declares its parameters in `build`, with `add_weight`. It implements `call` on tensors, with
    `gpunn.ops` and other layers, and gpunn computes the gradients.

    Alternatively, it implements `forward` and `backward` on a `gpunn.core.plan.Call` (``call.x``,
    ``call.y``, ``call.dy``, ``call.dx``), and `compute_output_shape`. ``call.backend.xp`` is numpy
    or cupy: with it (and ``out=``) such a layer runs on both. `gpunn.testing.check_gradients`
    compares the gradients of either kind with finite differences.

    Args:
        trainable: whether updates change its parameters; may be set at any time.
        dtype: ``"float32"`` or ``"float64"``; the model's when None.
        name: unique in a model; derived from the class name when None.
        input_shape: shape of one sample, for the first layer of a Sequential.
        activity_regularizer: penalty on the output, divided by the number of samples.
        learning_rate_multiplier: factor on the learning rate of its parameters, at least
            0; "lecun" is 1 / sqrt(fan-in of its kernel), so that units with many inputs
            learn as fast as others (LeCun, 1993; in Haykin, "Neural Networks and Learning
            Machines", 2009, section 4.6). May be set at any time; takes effect at the
            next fit or epoch.

    >>> import gpunn
    >>> class _Double(gpunn.layers.Layer):
    ...     def call(self, x):
    ...         return 2 * x
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
        "compute_mask": "masks are not supported; write forward(call) so that it needs none",
        "build_from_config": "write build(input_shape)",
        "save_own_variables": "declare what is stored with self.parameter(...), in build",
        "load_own_variables": "declare what is stored with self.parameter(...), in build",
        "forward": "write is_view(call) too: it decides when forward is skipped, and this layer "
        "inherits one that skips it",
    }
    reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"forward": ("is_view", "reshapes")}
    _not_watched = frozenset(
        {"_parameters", "_training_calls", "_outputs_known", "_declares", "_added", "_may_add"}
        | {"applications", "built", "input_shape"}
    )
    reshapes = False
    """True for a layer that only ever reshapes its input."""

    trainable: bool = field(default=True, check=check_flag, kw_only=True, managed=trainable)
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
    activity_regularizer: Any = field(default=None, check=check_regularizer, kw_only=True)
    learning_rate_multiplier: float | str = field(
        default=1.0, check=_check_multiplier, kw_only=True, managed=True
    )

    def __post_init__(self) -> None:
        self._parameters: list[Parameter] = []
        self._training_calls = Counter()
        self._outputs_known: list[Any] = []
        self.applications = []
        self.name = self.name or unique_name(snake_case(type(self).__name__))
        shapes = map(vars(self).get, ("_batch_input_shape", "_input_dim", "_input_shape"))
        self.given_input_shape = next((shape for shape in shapes if shape is not None), None)
        # Whether the parameters are declared; always True if there are none to declare.
        self.built = type(self).build is Layer.build
        self.input_shape = None  # of one sample; a list for a layer that takes a list

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [c for c in cls.__mro__ if {"call", "forward"} & vars(c).keys()]
        cls.has_call = "call" in vars(own[0]) and own[0] is not Layer
        if own[0] is not cls or not is_framework(cls):
            called: Any = own[0]
            users = not is_framework(called)
            cls.reads_integers = cls.has_call and (users or called.reads_integers)
        if "build" in vars(cls):  # whoever calls it, the layer then knows that it is built
            cls.build = _marks_built(cls.build)  # type: ignore

    # -- what a layer implements

    def build(self, input_shape: Shape) -> None:
        """Declare the parameters with `parameter`; ``input_shape`` is (batch or None, ...)."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs for tensors (batch, ...), with `gpunn.ops` and layers.

        A subclass implements it with any arguments, including ``training`` if needed. It then
        needs no `forward`, `backward` or `compute_output_shape`. ``super().call(x)`` computes
        the output of the parent layer.
        """
        return apply_own(self, *args, **kwargs)

    def add_loss(self, loss: Any) -> None:
        """Add ``loss``, or each loss of a list, to the model's loss, inside `call`.

        As in Keras, a batch adds the sum of the values, not divided by the batch size.
        """
        traced.add_loss(loss)

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.x``."""
        raise TypeError(f"{type(self).__name__} must define call(x), or forward(call).")

    def backward(self, call: Call) -> None:
        """Write the parameters' gradients and, if not None, ``call.dx`` from ``call.dy``."""
        raise TypeError(f"{type(self).__name__} must define backward(call).")

    def is_view(self, call: Call) -> bool:
        """True if, in this call, the output is the reshaped input: nothing runs."""
        return self.reshapes or call.folded

    # -- what a layer provides

    @property
    def traceable(self) -> bool:
        return super().traceable and all(inner.traceable for inner in self.layers_inside)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create an equal layer."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.dtype is not None:
            config["dtype"] = self.dtype
        if self.learning_rate_multiplier != 1.0:
            config["learning_rate_multiplier"] = self.learning_rate_multiplier
        if self.given_input_shape is not None:
            config["input_shape"] = list(self.given_input_shape)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = registry.serialize(self.activity_regularizer)
        known = {*config, "dtype", "learning_rate_multiplier", "input_shape"}
        known.add("activity_regularizer")
        for name, parameter in signature(type(self)).parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and name not in known and hasattr(self, name):
                value = getattr(self, name)
                config[name] = registry.serialize(value) if hasattr(value, "kind") else value
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _marks_built(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def build_once(self: Layer, *shapes: Any, **named: Any) -> None:
        self._declares = True
        try:
            build(self, *shapes, **named)
        finally:
            self._declares = False
        first = shapes[0] if shapes else next(iter(named.values()))
        self.input_shape = without_batch_axis(first)
        self.built = True

    return build_once


def declared(layer: Any, name: str, shape: Sequence[int]) -> Parameter:
    """Declare a parameter of ``layer`` from its attributes ``name_initializer`` and so on."""
    kinds = ("initializer", "regularizer", "constraint")
    return layer.parameter(shape, name=name, **{k: getattr(layer, f"{name}_{k}") for k in kinds})


get, serialize, deserialize = lookups(Layer)
