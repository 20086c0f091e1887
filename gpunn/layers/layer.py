"""Base class of layers: parameters, a forward and a backward pass."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar, cast

from gpunn import constraints, initializers, regularizers
from gpunn.backends import get_backend
from gpunn.common import registry
from gpunn.common.arguments import check_dtype, check_flag, name_first, optional
from gpunn.common.config import resolve_dtype, runs_eagerly
from gpunn.common.fields import HasFields, checked, field
from gpunn.common.holds import Exclusive
from gpunn.common.names import snake_case, unique_name
from gpunn.common.overrides import is_framework
from gpunn.common.parts import lookups
from gpunn.common.random import Counter
from gpunn.common.signatures import given_to
from gpunn.core.holder import Runnable
from gpunn.core.plan import Call
from gpunn.core.recording import recorded
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.core.tracked_metrics import metrics_of_layer
from gpunn.ops.dtypes import integers_of
from gpunn.ops.op_arguments import OpArguments
from gpunn.ops.tensor import Tensor

from . import applying, traced
from .arguments import (
    check_activation,
    check_constraint,
    check_initializer,
    check_multiplier,
    check_name,
    check_regularizer,
    check_sample,
)
from .as_operation import by_passes, formula_in, is_formula
from .as_operation import formula as formula  # for built-in layers
from .formula_passes import FormulaPasses, settings_of
from .parameters import (
    Stateless,
    add_parameter,
    check_declaration,
    check_passes,
    layers_in,
    losses_of,
    marks_built,
    of_known_shapes,
    track,
    track_in,
    trainable,
    untrack,
)
from .shapes import Shape, is_shape, with_batch_axis, without_batch_axis
from .symbolic import GraphOperation, SampleShape

__all__ = ["Layer", "deserialize", "get", "serialize"]

_making_storage = Exclusive()


class Layer(GraphOperation, Stateless, registry.Entry, HasFields, Runnable):
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
        input_dim: number of features of a sample, an older form of ``input_shape``.
        batch_input_shape: ``input_shape`` with the batch axis, an older form.
        activity_regularizer: penalty on the output, divided by the number of samples.
        learning_rate_multiplier: factor on the learning rate of its parameters, at least
            0; "lecun" is ``1 / sqrt(fan-in of its kernel)``, so that units with many inputs
            learn as fast as others (LeCun, 1993; in Haykin, "Neural Networks and Learning
            Machines", 2009, section 4.6). May be set at any time; takes effect at the
            next fit or epoch.

    >>> import gpunn
    >>> class _Scale(gpunn.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
    ...     def call(self, x):
    ...         return 2 * self.scale * x
    >>> layer = _Scale()
    >>> layer([[1.0, 2.0]]).tolist(), layer.count_params()
    ([[2.0, 4.0]], 2)
    """

    _kind = "layer"
    _checks: ClassVar[Mapping[str, Any]] = {
        "activation": check_activation, "_constraint": check_constraint,
        "_initializer": check_initializer, "_regularizer": check_regularizer,
    }
    __experimental__ = frozenset({"is_view", "stream_seed", "takes_list"})
    _undescribed: ClassVar[Container[str]] = ()  # arguments that `get_config` leaves out
    _refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("__call__", "stateless_call", "quantized_call", "symbolic_call"),
            "write call(x), or forward(call) and backward(call), its derivative",
        ),
        "compute_output_spec": "write compute_output_shape(input_shape)",
        "forward": "write is_view(call) too: it decides when forward is skipped, and this layer "
        "inherits one that skips it",
    }
    # Pieces of `call` in Keras's layers: a class that writes `call` may have some of its own.
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("_calculate_scores", "_apply_scores", "_calculate_score_mask", "_compute_attention",
         "_compute_attention_mask", "_compute_causal_mask", "_masked_softmax", "_moments"),
        ("call",),
    )  # fmt: skip
    _not_watched = frozenset(
        {"_parameters", "_training_calls", "_outputs_known", "_added", "_applications"}
        | {"built", "input_shape", "_shapes_in_call"}
    )
    _on_host = False
    """True for a layer that encodes data as numbers while they are fed, by ``encode(x, argument)``:
    it follows inputs of a model, and `call` computes the rest in the step."""
    _builds_itself = False
    """Whether its own `call` builds it, if a subclass's `call` lacks arguments of `build`."""
    _has_passes = True
    """True for a class that implements `forward` and `backward`, on arrays."""
    _holds_layers = False
    """Whether its attributes may hold layers, whose weights are then its own."""
    supports_masking = False
    """Whether the outputs have the masks that `compute_mask` returns; if not, masks end there."""
    _shapes_in_call = cast("Any", None)
    """The shapes of the outputs of its last call inside another call, in their structure."""
    _added = cast("Sequence[Any] | None", ())
    """The losses that its last call on arrays added; None if only calls in a model added some."""

    trainable: bool = field(default=True, check=check_flag, kw_only=True, managed=trainable)
    dtype: Any = field(default=None, check=check_dtype, kw_only=True)
    name: Any = field(default=None, check=optional(check_name), kw_only=True)
    input_shape: Any = field(
        default=None, check=optional(check_sample), kw_only=True, attribute="_input_shape"
    )
    input_dim: Any = field(
        default=None, check=optional(check_sample), kw_only=True, attribute="_input_dim"
    )
    batch_input_shape: Any = field(
        default=None, check=optional(check_sample), kw_only=True, attribute="_batch_input_shape"
    )
    activity_regularizer: Any = field(default=None, kw_only=True)
    learning_rate_multiplier: float | str = field(
        default=1.0, check=check_multiplier, kw_only=True, managed=True
    )

    def __post_init__(self) -> None:
        self._training_calls = Counter()
        self._outputs_known: list[Any] = []  # of earlier calls, see `applying.outputs_for`
        self._applications = []
        shapes = map(vars(self).get, ("_batch_input_shape", "_input_dim", "_input_shape"))
        self._given_input_shape = next((shape for shape in shapes if shape is not None), None)
        # Whether the parameters are declared; always True if there are none to declare.
        self.built = type(self).build is Layer.build
        self.input_shape = None  # of one sample; for several inputs, in their structure
        self._parameters: list[Parameter] = []  # from here on, what is set is checked and tracked
        self.name = self.name or unique_name(snake_case(type(self).__name__))
        track(self)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [c for c in cls.__mro__ if {"call", "forward"} & vars(c).keys()]
        if "call" not in vars(own[0]):  # which `super().call(x)` of a subclass then finds
            cls.call = Layer.call  # type: ignore[method-assign]
        cls._has_call = not (cls.call is Layer.call or is_formula(cls.call))
        cls._holds_layers = cls._has_call or not is_framework(cls)
        cls._has_passes = "forward" in vars(own[0])
        if "forward" in vars(cls) and not cls._has_call:
            check_passes(cls)
        if "backward" in vars(cls) and not cls._has_passes:
            raise TypeError(
                f"{cls.__name__}.backward would be ignored: the layer has no forward(call). "
                f"Instead, write call(x), or both. See docs/reference/own-parts.md."
            )
        if not is_framework(own[0] if cls._has_call else cls):
            cls._reads_integers = cls._has_call
        if "compute_mask" in vars(cls) and "supports_masking" not in vars(cls):
            cls.supports_masking = True
        if "build" in vars(cls):  # whoever calls it, the layer then knows that it is built
            cls.build = marks_built(cls.build)  # type: ignore
        if "compute_output_shape" in vars(cls):
            cls.compute_output_shape = of_known_shapes(cls.compute_output_shape)  # type: ignore

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. A variable becomes a weight, as in Keras; an argument is checked."""
        if "_parameters" in vars(self):
            value = checked(self, name, value)
            track_in(self, name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; a weight is no longer one, as in Keras."""
        if "_parameters" in vars(self):
            untrack(self, name)
        super().__delattr__(name)

    # -- what a layer implements

    def build(self, input_shape: Shape) -> None:
        """Declare the parameters with `add_weight` or `parameter`; a subclass implements it.

        gpunn calls it once, when the input shape is known.

        Args:
            input_shape: (batch or None, ...), or a list of such shapes.

        >>> from gpunn.layers import Dense
        >>> layer = Dense(2)
        >>> layer.build((None, 3))
        >>> layer.built, layer.kernel.shape
        (True, (3, 2))
        """

    def _shape_of_build(self) -> Any:
        return None if self.input_shape is None else with_batch_axis(self.input_shape)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs for tensors (batch, ...), with `gpunn.ops` and layers.

        A subclass implements it with any arguments, including ``training`` if needed. It then
        needs no `forward`, `backward` or `compute_output_shape`. ``super().call(x)`` computes
        the output of the parent layer.

        >>> class _Square(Layer):
        ...     def call(self, x):
        ...         return x * x
        >>> _Square()([[3.0]]).tolist()
        [[9.0]]
        """
        return by_passes(self, *args, **kwargs)

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.x``; a layer without `call` implements it, and `backward`.

        Args:
            call: The arrays of one application of the layer, a `gpunn.core.plan.Call`.

        >>> class _Double(Layer):
        ...     def forward(self, call):
        ...         call.backend.affine(call.x, 2.0, 0.0, call.y)
        ...     def backward(self, call):
        ...         call.backend.affine(call.dy, 2.0, 0.0, call.dx, accumulate=call.accumulate_dx)
        >>> _Double()([[1.0, 2.0]]).tolist()
        [[2.0, 4.0]]
        """
        raise self._without("forward")

    def backward(self, call: Call) -> None:
        """Write the parameters' gradients and, if not None, ``call.dx`` from ``call.dy``.

        Args:
            call: The arrays of one application of the layer, a `gpunn.core.plan.Call`. ``call.x``
                and ``call.y`` are as in `forward`.

        >>> import gpunn
        >>> class _Double(gpunn.layers.Layer):
        ...     def forward(self, call):
        ...         call.backend.affine(call.x, 2.0, 0.0, call.y)
        ...     def backward(self, call):
        ...         call.backend.affine(call.dy, 2.0, 0.0, call.dx, accumulate=call.accumulate_dx)
        >>> gpunn.grad(lambda x: gpunn.ops.sum(_Double()(x)))([[1.0, 5.0]]).tolist()
        [[2.0, 2.0]]
        """
        raise self._without("backward")

    def _without(self, name: str) -> TypeError:
        cls = type(self)
        if not any(is_formula(vars(base).get("call")) for base in cls.__mro__):
            return TypeError(
                f"{cls.__name__} must define call(x), or forward(call) and backward(call)."
            )
        return TypeError(
            f"{cls.__name__}.{name}: there is none to call. A built-in layer is computed by its "
            f"call, and gpunn derives the gradients. Write call(x), where super().call(x) is its "
            f"output."
        )

    def compute_output_shape(self, *shapes: Any, **named: Any) -> Any:
        """Return the shape of the output (batch or None, ...): of `call`, if there is one, else by
        default the shape of the input.

        Args:
            shapes: ``input_shape``, (batch or None, ...), or a list of such shapes; for a `call` of
                several tensors, such as ``query`` and ``value``, one shape for each.
            named: shapes by name, such as ``value_shape``.

        >>> from gpunn.layers import Dense
        >>> Dense(2).compute_output_shape((None, 3))
        (None, 2)
        """
        if "input_shape" in named:
            shapes = (named.pop("input_shape"), *shapes)
        if not self._has_call:
            return shapes[0]
        named = {name.removesuffix("_shape"): shape for name, shape in named.items()}
        tensors, given = OpArguments.of(shapes, named, is_shape, leaf=is_shape)
        samples = [without_batch_axis(shape) for shape in tensors]
        return applying.in_form(*self._outputs_for(samples, given), tensors[0][0])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output, or a list of masks of several: by default the mask of the
        input. A class that overrides it supports masks.

        Args:
            inputs: a tensor, or several in lists.
            mask: booleans (batch, steps), False for steps to be skipped; or None.

        >>> Layer().compute_mask([[1.0, 2.0]], [[True, False]])
        [[True, False]]
        """
        return mask

    # -- how it runs

    def _passes(self, call: Call) -> tuple[applying.Pass, applying.Pass]:
        """Return the functions for the forward and the backward pass of a call."""
        if not self._has_passes:
            alike = not self._has_call and call.given is None and call.shard is None
            alike = alike and not runs_eagerly()
            settings = settings_of(call) if alike else None
            found: Any = (
                traced.TracedPasses(call, None if self._has_call else formula_in(call))
                if settings is None
                else FormulaPasses(settings)
            )
            return found.forward, found.backward
        return self.forward, self.backward

    @property
    def _traceable(self) -> bool:
        return super()._traceable and all(inner._traceable for inner in self._layers_inside)

    @recorded
    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Run the layer by itself on an array or tensor (batch, ...), returning a tensor.

        On a symbolic tensor, an output of `Input` or of another layer, it returns a symbolic
        tensor. Nothing is run; `gpunn.Model` creates a model from the resulting graph.

        A layer that prepares texts returns them as a NumPy array: tensors hold numbers.

        A layer with a `call` takes its arguments, with arrays or tensors anywhere in lists,
        tuples and dictionaries; others take one array, or one list of them.
        """
        return applying.dispatch(self, args, kwargs, training)

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        """Run the layer by itself on an array (batch, ...), or several of them."""
        return applying.run(self, *args, training=training, **kwargs)

    def _fix_batch(self, shape: Shape) -> None:
        """Prepare for batches of this shape, as a stateful layer does."""

    def add_loss(self, loss: Any) -> None:
        """Add ``loss``, or each loss of a list, to the model's loss, inside `call`.

        As in Keras, a batch adds the sum of the values, not divided by the batch size.

        Args:
            loss: a tensor, a number or a list of them.

        >>> from gpunn import ops
        >>> class _Penalized(Layer):
        ...     def call(self, x):
        ...         self.add_loss(0.1 * ops.sum(x))
        ...         return x
        >>> layer = _Penalized()
        >>> layer([[10.0, 20.0]]).tolist(), [loss.tolist() for loss in layer.losses]
        ([[10.0, 20.0]], [3.0])
        """
        traced.add_loss(loss)

    @property
    def losses(self) -> list[Tensor]:
        """The sum of the losses that its last call on arrays added, and the penalties on its
        trainable weights.

        Raises:
            TypeError: inside a call, where losses are part of the step's loss.
            ValueError: if it adds a loss, but was only called by a model so far.

        >>> import gpunn
        >>> l1 = gpunn.regularizers.L1(0.5)
        >>> layer = gpunn.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=l1)
        >>> layer([[1.0, 1.0, 1.0, 1.0]]).tolist()
        [[4.0]]
        >>> [loss.tolist() for loss in layer.losses]  # 0.5 * 4
        [2.0]
        """
        if self._added is None:
            raise ValueError(
                f"{self.name}.losses: added losses are only known for calls on arrays, "
                f"{self.name}(x). For a model, read model.losses after model(x)."
            )
        return losses_of(self, self._added)

    # -- parameters

    @name_first("shape", "dtype", "initializer", "regularizer", "trainable", "constraint")
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
        """Declare a weight: `parameter` with Keras's name and arguments. Floats have the layer's
        ``dtype``. Integers and booleans are read unconverted and are not trained.

        Args:
            shape: shape of the weight, or its length. A string in its place is the name, before
                ``shape``, ``dtype`` and ``initializer``: the order of Keras 2.
            initializer: name or object, see `gpunn.initializers`; Glorot's uniform one by default.
            dtype: None, a float dtype, which the layer's replaces, or one of integers.
            trainable: whether updates change it.
            regularizer: penalty on it, see `gpunn.regularizers`.
            constraint: applied after each update, see `gpunn.constraints`.
            name: its name in the layer; numbered by default.

        Returns:
            The parameter, which `call` uses like a tensor.

        Raises:
            TypeError: inside a `call`, which may run any number of times.

        >>> layer = Layer(name="mine")
        >>> kernel = layer.add_weight((2, 3), "zeros", name="kernel")
        >>> kernel.path, kernel.shape
        ('mine/kernel', (2, 3))
        """
        return type(self).parameter(  # an attribute may have that name
            self, [shape] if isinstance(shape, int) else shape,
            "glorot_uniform" if initializer is None else initializer,
            name, trainable, regularizer=regularizer, constraint=constraint,
            integers=None if dtype is None else integers_of(dtype),
        )

    add_variable = add_weight

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
        integers: str | None = None,
    ) -> Parameter:
        """Declare a parameter; its values exist once it has a storage.

        Args:
            shape: shape of the parameter.
            initializer: name or object, see `gpunn.initializers`.
            name: its name in the layer; numbered by default.
            trained: whether updates change it.
            multiplier: factor on the learning rate.
            decay: whether an optimizer's weight decay applies to it.
            regularizer: penalty on it, see `gpunn.regularizers`.
            constraint: applied after each update, see `gpunn.constraints`.
            integers: an integer dtype, for a parameter that is read unconverted and not trained.

        Raises:
            TypeError: inside a `call`, which may run any number of times.

        >>> from gpunn.layers import Layer
        >>> Layer(name="mine").parameter((2, 3), "zeros", name="kernel").path
        'mine/kernel'
        """
        check_declaration(self, name, shape)
        made = Parameter(
            shape, initializers.get(initializer), name or f"parameter_{len(self._parameters)}",
            trained and integers is None, multiplier, decay, regularizers.get(regularizer),
            constraints.get(constraint), integers,
        )
        return add_parameter(self, made)

    @property
    def _rate_factor(self) -> float:
        """The learning rate multiplier as a number."""
        given = self.learning_rate_multiplier
        if not isinstance(given, str):
            return given
        kernel = next((p for p in self._parameters if len(p.shape) > 1), None)
        return 1.0 if kernel is None else float(initializers.fans(kernel.shape)[0] ** -0.5)

    @property
    def _own_parameters(self) -> list[Parameter]:
        """The parameters that it has declared itself, in Keras's order: in order of declaration,
        non-trainable ones last."""
        if self._holds_layers:
            track(self)
        return sorted(self._parameters, key=attrgetter("trained"), reverse=True)

    @property
    def metrics(self) -> list[Any]:
        """The metrics that it and the layers inside it hold as attributes.

        >>> from gpunn.layers import Dense
        >>> Dense(2).metrics
        []
        """
        return metrics_of_layer(self)

    @property
    def weights(self) -> list[Parameter]:
        """All parameters in the order of their declaration, trained ones first.

        >>> from gpunn.layers import Dense
        >>> layer = Dense(2)
        >>> layer.build((None, 3))
        >>> [p.name for p in layer.weights]
        ['kernel', 'bias']
        """
        if not self._holds_layers:
            return self._own_parameters
        return [p for _, p in self.named_parameters()]

    def _attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers inside, with the attributes that hold them."""
        entries = list(vars(self).items())  # in one step: other threads may set some
        for name, value in entries if self._holds_layers else ():
            yield from layers_in(name, value)

    def _with_layers_inside(self) -> list[Any]:
        """Return the layer and all layers in it, at any depth."""
        inside = (inner._with_layers_inside() for inner in self._layers_inside)
        return [self, *chain.from_iterable(inside)]

    def _require_values(self, method: str) -> None:
        if not self.built:
            raise ValueError(
                f"{method}: {self.name} is not built yet: its input shape is not known."
            )
        self._own_storage()

    def _own_storage(self) -> ParameterStorage:
        """Return the storage that holds the parameters: the model's, or a small separate one."""
        weights = self.weights
        if weights and all(p.storage for p in weights):
            return cast("ParameterStorage", weights[0].storage)
        with _making_storage:  # another thread may have been faster
            if weights and all(p.storage for p in weights):
                return cast("ParameterStorage", weights[0].storage)
            kept = next((p.stored_dtype for p in weights if p.stored_dtype), None)  # of a copy
            return ParameterStorage(get_backend(), resolve_dtype(self.dtype or kept), weights)

    # -- shapes, and symbolic tensors

    def _outputs_for(self, shapes: Sequence[Shape], given: Any) -> tuple[list[Any], OpArguments]:
        """Build it; return the shapes of one sample of its `call`'s outputs, and their
        structure."""
        return applying.outputs_for(self, shapes, given)

    def _output_sample(self, input_shape: Any, own: bool = False) -> SampleShape:
        compute = self.compute_output_shape
        if own and self._has_call:
            forward: Any = next(cls for cls in type(self).__mro__ if "forward" in vars(cls))
            if forward.compute_output_shape is Layer.compute_output_shape:
                return input_shape
            compute = partial(forward.compute_output_shape, self)
        shape = compute(with_batch_axis(input_shape))
        return tuple([n if n is None else int(n) for n in shape[1:]])

    @property
    def output_shape(self) -> Any:
        """(None, ...) with the shape of one output sample; in the structure of several outputs.

        Raises:
            AttributeError: if the layer is not built, or takes several tensors and was not called.

        >>> from gpunn.layers import Dense
        >>> layer = Dense(2)
        >>> layer.build((None, 3))
        >>> layer.output_shape
        (None, 2)
        """
        if self.input_shape is None:
            raise AttributeError(f"{self.name} has no output shape yet: it is not built.")
        if self._has_call and self._outputs_known:
            return applying.in_form(*self._outputs_known[0][2])
        if self._shapes_in_call is not None:
            return self._shapes_in_call
        if self._has_call and applying.reads_several(self):
            raise AttributeError(f"{self.name} has no output shape yet: it was not called.")
        return (None, *self._output_sample(self.input_shape))

    @property
    def input(self) -> Any:
        """The input of its first application in a model: a symbolic tensor, or a list of them.

        >>> from gpunn.layers import Dense, Input
        >>> layer = Dense(2)
        >>> y = layer(Input((3,)))
        >>> layer.input.shape
        (None, 3)
        """
        inputs = applying.first_application(self, "input").inputs
        return list(inputs) if len(inputs) != 1 else inputs[0]

    @property
    def output(self) -> Any:
        """The output of its first application in a model; a list if it has several.

        >>> from gpunn.layers import Dense, Input
        >>> layer = Dense(2)
        >>> y = layer(Input((3,)))
        >>> layer.output is y, y.shape
        (True, (None, 2))
        """
        found = list(applying.first_application(self, "output").outputs)
        return found[0] if len(found) == 1 else found

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create an equal layer, as JSON-serializable values.

        >>> from gpunn.layers import Flatten
        >>> Flatten(name="flat").get_config()
        {'name': 'flat', 'trainable': True, 'data_format': None}
        """
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.dtype is not None:
            config["dtype"] = self.dtype
        if self.learning_rate_multiplier != 1.0:
            config["learning_rate_multiplier"] = self.learning_rate_multiplier
        if self._given_input_shape is not None:
            config["input_shape"] = list(self._given_input_shape)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = registry.serialize(self.activity_regularizer)
        used = {*config, "dtype", "learning_rate_multiplier", "input_shape", "activity_regularizer"}
        config |= registry.all_described(given_to(self, used))
        return {name: value for name, value in config.items() if name not in self._undescribed}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


get, serialize, deserialize = lookups(Layer)
