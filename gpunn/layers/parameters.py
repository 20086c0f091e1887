"""Parameters of layers: their declaration when a layer is built, the parameters of layers in
attributes, and calls with given values."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag
from gpunn.common.config import resolve_dtype
from gpunn.common.names import numbered
from gpunn.common.nested import found_in
from gpunn.common.overrides import is_framework
from gpunn.common.signatures import required
from gpunn.core.holder import ParameterHolder
from gpunn.core.operators import Kept
from gpunn.core.recording import recorded
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.primitive import place_in_user_code
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current, tracing
from gpunn.ops.variable import Variable, become_weight

from .shapes import (
    check_spec,
    common,
    covers,
    each_shape,
    is_shape,
    over_lengths,
    unknown,
    whole_shape,
    with_batch_axis,
    without_batch_axis,
)
from .symbolic import GraphOperation, SampleShape


def check_declaration(layer: Any, name: str | None, shape: Sequence[Any]) -> None:
    """Raise an error if a parameter of a layer cannot be declared, or not now, inside a `call`."""
    if None in shape:
        raise ValueError(
            f"{layer.name}: the weight {name or ''} of the shape {tuple(shape)} needs the length "
            f"of an axis of x that is unknown (None). Give Input that length."
        )
    if current() is not None and layer not in _building:
        raise TypeError(
            f"{layer.name}: a weight cannot be created in call, which may run any number of "
            f"times. Create it in build(input_shape), and keep it as an attribute."
        )


def add_parameter(layer: Any, parameter: Parameter) -> Parameter:
    """Add a parameter to those that a layer has declared; return it. A second one of the same name
    is numbered: ``w``, ``w_1``. One of another layer keeps its name, by which that knows it."""
    if parameter.layer in (None, layer):
        name = numbered(parameter.name, [p.name for p in layer._parameters])
        if parameter.name != name:
            parameter.name = name
        parameter.layer = layer
    layer._parameters.append(parameter)
    return parameter


def track_in(holder: Any, name: str, value: Any) -> None:
    """Make the variables in an attribute weights of the layer or model that holds it; in a class of
    one's own also those in lists, tuples and dictionaries.

    Whoever else holds a variable, as a callback or a second layer, then holds the weight.

    Raises:
        TypeError: inside a `call`.
        ValueError: if the model is built already.
    """
    own = is_framework(type(holder))
    if name in holder._not_watched or (own and not isinstance(value, Kept)):
        return
    layer, found = holder._declares, found_in(value, Kept)
    for variable in filter(_is_variable, [value] if own else found):
        if any(p is variable for p in layer._parameters):
            continue
        if isinstance(variable, Parameter):  # of another layer
            if holder._is_closed or current() is not None:
                continue
        elif holder._is_closed:
            raise ValueError(
                f"{holder.name}.{name}: a variable of the shape {variable.shape} would not be "
                f"trained or saved, since the model is built already. Create it in __init__ or in "
                f"build(input_shape), as in Keras."
            )
        else:
            check_declaration(layer, name, variable.shape)
            become_weight(variable, layer, name)
        add_parameter(layer, variable)


def track(holder: Any) -> None:
    """Track what came to the attributes of a layer or model without its notice: before
    ``super().__init__()``, and into lists and dictionaries. A trace, which reads them, tracks none.
    """
    if current() is None:
        every = not is_framework(type(holder))
        for name, value in list(vars(holder).items()):
            if every or isinstance(value, Kept):
                track_in(holder, name, value)


def track_inside(layer: Any) -> None:
    """Let a layer and all inside it track theirs before a trace reads them."""
    if layer._holds_layers and current() is None:
        list(layer.named_parameters())


def _is_variable(x: Any) -> bool:
    """Whether it is a variable of the user's own, or was one before it became a weight."""
    if isinstance(x, Parameter):
        return x.was_variable
    return isinstance(x, Variable) and x.may_be_weight and not x.of_metric


def declared(
    layer: Any, name: str, shape: Sequence[int], of: str | None = None, **options: Any
) -> Parameter:
    """Declare a parameter of ``layer`` from its attributes ``of_initializer`` and so on; ``of`` is
    the name when None, and ``options`` replace them."""
    kinds = ("initializer", "regularizer", "constraint")
    options = {kind: getattr(layer, f"{of or name}_{kind}") for kind in kinds} | options
    return type(layer).parameter(layer, shape, name=name, **options)


@recorded
def losses_of(holder: Any, added: Sequence[np.ndarray] | None) -> list[Tensor]:
    """Return the losses of a layer or model: those that were ``added``, and weight penalties."""
    trace = current()
    if trace is not None and trace.mode.user_adds_losses:
        penalized = [p for p in holder.trainable_weights if p.regularizer]
        return [*trace.losses, *(p.regularizer(convert(p)) for p in penalized)]
    if trace is not None:
        raise TypeError(
            f"{holder.name}.losses cannot be read inside a call: losses that are added there and "
            f"penalties on weights are already part of the loss of the step."
        )
    return [
        *(convert(loss.reshape(())) for loss in added or ()),
        *(convert(p.regularizer(p.numpy())) for p in holder.trainable_weights if p.regularizer),
    ]


def layers_in(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers in an attribute of a custom layer, also in lists and dictionaries, which may
    be deep and hold themselves, with the path to each."""
    waiting, seen = [(path, value)], set[int]()
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, GraphOperation):
            yield path, value
        elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            seen.add(id(value))
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += reversed([(f"{path}/{key}", entry) for key, entry in entries])


def untrack(holder: Any, name: str) -> None:
    """Remove a weight, whose attribute is deleted, from those of a layer or model.

    Raises:
        ValueError: if it has its place among the weights of a model already.
    """
    value, own = vars(holder).get(name), holder._declares._parameters
    if not any(p is value for p in own):
        return
    if value.storage is not None:
        raise ValueError(
            f"{holder.name}.{name} cannot be deleted: the weights of the model, or of the layer "
            f"that was called by itself, are stored already. Delete it before it is built."
        )
    own[:] = [p for p in own if p is not value]


def _set_trainable(layer: Any, value: Any) -> None:
    layer.__dict__["_trainable"] = check_flag("trainable", value)
    for p in layer._own_parameters if "_parameters" in vars(layer) else ():
        p.frozen = not value
    for inner in layer._layers_inside if "_parameters" in vars(layer) else ():
        inner.trainable = value


trainable = property(attrgetter("_trainable"), _set_trainable)
"""Whether updates change the parameters, also of layers inside, as in Keras."""


class Stateless(ParameterHolder):
    """A layer or model as a function of its weights."""

    _is_closed = False
    """Whether its variables are no longer made weights."""

    @property
    def _declares(self) -> Any:
        """The layer that declares its own parameters."""
        return self

    @recorded
    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Call it with given values of its weights; nothing is changed.

        It can be differentiated by these values, as often as asked.

        Args:
            trainable_variables, non_trainable_variables: a tensor or array for each of the weights
                in the attribute of this name.
            args, kwargs: the arguments of the call.
            return_losses: whether to return also what the call adds to the loss, and the penalties
                on weights.

        Returns:
            the outputs, the values that the non-trainable weights have after the call, and with
            ``return_losses`` a list of scalars.

        Raises:
            ValueError: if it is not built, or for another number or shape of values.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(1, use_bias=False)
        >>> layer.build((None, 2))
        >>> y, _ = layer.stateless_call([[[1.0], [2.0]]], [], [[3.0, 4.0]])
        >>> y.tolist()
        [[11.0]]
        """
        given = [
            *self._paired("trainable_variables", trainable_variables),
            *self._paired("non_trainable_variables", non_trainable_variables),
        ]

        from gpunn.ops.library.derivatives import as_tensors, at_once  # training does not call it

        def called() -> tuple[Any, ...]:
            trace = tracing()
            values = [(p, convert(value, p.stored_dtype)) for p, value in given]
            with trace.own_losses() as added, trace.reading(values, keeps=False):
                # A layer would compute at once, with its own weights, for what is no tensor.
                y = self(*as_tensors(args), **as_tensors(kwargs))  # type: ignore[operator]
                after = [trace.read(p) for p in self.non_trainable_weights]
            if not return_losses:
                return y, after
            penalized = [(p, value) for p, value in values if getattr(p, "regularizer", None)]
            return y, after, [*added, *(p.regularizer(value) for p, value in penalized)]

        if current() is not None:
            return called()
        storage = next((p.storage for p, _ in given if p.storage is not None), None)
        return at_once(called, None if storage is None else storage.backend)

    def _paired(self, name: str, values: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return the weights in an attribute with these values, after checking both."""
        self._require_values("stateless_call")
        weights = getattr(self, name)
        if len(values) != len(weights):
            raise ValueError(
                f"{self.name}.stateless_call: {name} has {len(weights)} entries; got {len(values)}."
            )
        for p, value in zip(weights, values, strict=True):
            shape = convert(value).shape
            if shape != tuple(p.shape):
                raise ValueError(
                    f"{self.name}.stateless_call: {p.path} has the shape {tuple(p.shape)}; got "
                    f"{shape}."
                )
        return [*zip(weights, values, strict=True)]


def check_passes(cls: Any) -> None:
    """Raise a TypeError if a layer's `forward` is one of PyTorch, on tensors."""
    names = required(cls.forward)[1:]
    if names != ["call"] and (len(names) != 1 or "backward" not in vars(cls)):
        raise TypeError(
            f"{cls.__name__}.forward({', '.join(names)}): a layer of tensors defines call, as in "
            f"Keras: rename forward to call. (forward(call), with backward(call), works on arrays; "
            f"see docs/reference/own-parts.md.)"
        )


# -- building


_building: list[Any] = []
"""The layers whose `build` runs, which may declare parameters; once for each `build`."""


def marks_built(build: Callable[..., None]) -> Callable[..., None]:
    """Return a layer's method `build` that also records the input shape, and that it was called."""

    @functools.wraps(build)
    def build_once(self: Any, *shapes: Any, **named: Any) -> None:
        track_inside(self)
        _building.append(self)
        try:
            build(self, *shapes, **named)
        finally:
            _building.remove(self)
        first = next(iter((*shapes, *named.values())), None)
        if first is not None:
            self.input_shape = without_batch_axis(first)
        self.built = True
        given, self.__dict__["_first_weights"] = vars(self).get("_first_weights"), None
        if given is not None:
            self.set_weights(given)

    return build_once


def of_known_shapes(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a layer's method `compute_output_shape` that also takes axes of any length, None: the
    method itself is called with lengths, see `over_lengths`."""

    @functools.wraps(compute)
    def computed(self: Any, *shapes: Any, **named: Any) -> Any:
        if not named and len(shapes) == 1 and is_shape(shapes[0]) and None not in shapes[0][1:]:
            return compute(self, *shapes)  # as `over_lengths` does, for most
        given = shapes, named
        return over_lengths(given, lambda given: compute(self, *given[0], **given[1]), start=1)

    return computed


def ensure_built(layer: Any, input_shape: Any) -> SampleShape:
    """Build a layer for this input shape of one sample once; return the output shape.

    A layer that takes a list gets a list of shapes. `forward` computes the output, even if a `call`
    is around it.
    """
    track_inside(layer)
    several = list(input_shape) if layer.takes_list else [input_shape]
    check_spec(layer, several, resolve_dtype(layer.dtype))
    input_shape = whole_shape(input_shape)
    before, now = layer.input_shape, unknown(input_shape)
    if not layer.built:
        layer.build(with_batch_axis(now))
    elif before is None:  # its parameters belong to layers in it
        layer.input_shape = now
    elif before != now and not covers(before, now):
        if layer.weights and not _takes(layer, now):
            raise ValueError(
                f"Layer {layer.name!r} was built for inputs of shape {before} per "
                f"sample; got {input_shape}{place_in_user_code()}."
            )
        if not layer.weights:
            layer.input_shape = now
        elif _same_axes(before, now):  # otherwise the first inputs' shape stays
            layer.input_shape = common(before, now)
    return layer._output_sample(input_shape, own=True)


def _takes(layer: Any, input_shape: Any) -> bool:
    """Whether a built layer would have the same weights for inputs of this shape.

    A built-in layer may also be applied to inputs with another number of axes, if `build` would set
    the same attributes: a `Dense` layer to each step of sequences and to their mean.
    """
    same_axes = _same_axes(layer.input_shape, input_shape)
    if not (same_axes or is_framework(type(layer))):
        return False
    other = copy.copy(layer)
    vars(other).update(_parameters=[], _applications=[], built=False)
    try:
        other.build(with_batch_axis(input_shape))
    except (ValueError, IndexError):
        return False
    if [p.shape for p in other._parameters] != [p.shape for p in layer._parameters]:
        return False
    return same_axes or _plain_attributes(other) == _plain_attributes(layer)


def _same_axes(one: Any, other: Any) -> bool:
    return covers(each_shape(len, one), each_shape(len, other))


def _plain_attributes(layer: Any) -> dict[str, Any]:
    """Return the numbers, texts and tuples of them that a layer holds, by name."""
    plain = (int, float, str, tuple, type(None))
    excluded = ("input_shape", "_input_shape")
    return {k: x for k, x in vars(layer).items() if isinstance(x, plain) and k not in excluded}
