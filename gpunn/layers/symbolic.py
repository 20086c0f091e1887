"""Symbolic tensors, to which layers and models are applied to define a model; masks of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn.common.config import resolve_dtype
from gpunn.common.fields import add_defaults
from gpunn.common.names import warn
from gpunn.common.nested import TreeDef, any_in, found_in, replaced
from gpunn.common.signatures import signature
from gpunn.core.operators import Operators
from gpunn.core.plan import HostPart
from gpunn.ops.dtypes import is_float
from gpunn.ops.op_arguments import OpArguments
from gpunn.ops.tensor import Symbolic

from .shapes import dtype_of, sample_of

SampleShape = tuple[Any, ...]
"""The shape of one sample, None for an axis of any length; see
`gpunn.layers.shapes.IntegerSample` for integers."""


Form = TreeDef  # its name in pickles of earlier versions
_FORMERLY = {
    "by_operator": "_by_operator",
    "given_input_shape": "_given_input_shape",
    "reshapes": "_reshapes",
}
"""Attributes of layers in pickles of earlier versions, and their names today."""


class SymbolicTensor(Symbolic):
    """Placeholder for the output of a layer while a model is defined. `Input` creates the first.

    Layers and operations can be called on it: ``ops.exp(x) * 2 + x[:, :3]``.

    Attributes:
        shape: (batch or None, ...).
        dtype: ``"int32"`` or ``"bool"``; for floats the layer's dtype, or the default.
        name: of the layer.
        application: the application of a layer whose ``index``-th output it is.
        on_host: whether it is known while data are fed, before a step: an input, or the output
            of layers that compute on the host from inputs.
        only_shape: why no model can compute it, if it, or what it depends on, has no entry for
            each sample: then its shape and dtype are all there is. Else empty.
    """

    only_shape = ""
    sparse = ragged = False  # which Keras's may be

    def __init__(
        self, application: Application, index: int, shape: SampleShape, only_shape: str = ""
    ) -> None:
        self.application = application
        self.index = index
        self.shape: tuple[int | None, ...] = tuple(shape)
        layer = application.layer
        floats = getattr(layer, "_dtype_given", None) or application.dtype
        self.dtype = dtype_of(shape) or resolve_dtype(floats)
        if only_shape:
            self.only_shape = only_shape
        self.name = layer.name
        self.on_host = layer._gives_on_host
        if layer._gives_text:
            self.dtype = "string"

    @property
    def layer(self) -> Any:
        """The layer or model whose output it is."""
        return self.application.layer

    @property
    def sample(self) -> SampleShape:
        """The shape of one sample, with its dtype if that is not a float dtype."""
        return sample_of(self.shape[1:], self.dtype)

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} is symbolic: its number of samples is not known yet.")

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} is symbolic: it has no values to decide by. Use ops.where(condition, a, b)."
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{self!r} is symbolic: it has no values. Create a model, "
            f"gpunn.Model(inputs, outputs), and call it on an array."
        )

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class Application:
    """One application of a layer or model to symbolic tensors.

    Attributes:
        training: whether the layer runs in training mode, whatever the model does; None: as it.
        given: the arguments of the call; None for only the inputs, or a list of them.
        masks, masked: the masks that are passed with the inputs, and the arguments with them.
        number: how often the layer was applied before.
    """

    def __init__(
        self,
        layer: GraphOperation,
        inputs: Sequence[SymbolicTensor],
        training: bool | None = None,
        given: OpArguments | None = None,
        masks: Sequence[SymbolicTensor] = (),
        masked: Any = None,
    ) -> None:
        self.layer = layer
        self.masks, self.masked = tuple(masks), masked
        self.inputs = tuple(inputs)
        self.training, self.given = training, given
        self.outputs: tuple[SymbolicTensor, ...] = ()
        floats = (t.dtype for t in inputs if is_float(t.dtype))
        self.dtype: Any = next(floats, None) if inputs else getattr(layer, "dtype", None)
        layer._applications.append(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"masks": (), "masked": state.get("given"), **state})
        vars(self.layer).setdefault("_applications", []).append(self)

    @property
    def number(self) -> int:
        return self.layer._applications.index(self)


class GraphOperation:
    """Base class of what can be applied to symbolic tensors: a layer, or a model used as a layer.

    Attributes:
        _applications: in their order.
        _by_operator: whether an operation on symbolic tensors created it, as ``a + b``: it is
            then one of a model's operations, not of its layers, as in Keras.
        _may_add_losses: whether a built-in layer may, since it calls a function of the user's.
    """

    name: str
    _applications: list[Application]
    _by_operator = False
    _may_add_losses = False
    _has_call = False
    activity_regularizer: Any = None
    input_spec: Any = None
    """An `InputSpec`, or one for each input, in a list or dictionary; calls are checked by it."""
    _not_copied: ClassVar[frozenset[str]] = frozenset({"_applications"})
    """Attributes that `pickle` and `copy.deepcopy` do not copy. A layer that is copied alone does
    not copy the models that contain it; a graph copies its applications."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name not in self._not_copied}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).setdefault("_applications", [])
        if "given_input_shape" in state and "_given_input_shape" not in state:
            state = {_FORMERLY.get(name, name): value for name, value in state.items()}
        vars(self).update(state)
        add_defaults(self)

    _check_values: Any = None
    """A function that checks the data if the layer reads an input: it is called with an array and
    the argument's name, and raises a ValueError."""

    @property
    def _gives_on_host(self) -> bool:
        """Whether its output is known while data are fed, see `SymbolicTensor`."""
        return False

    @property
    def _gives_text(self) -> bool:
        """Whether its outputs are strings, which no step reads."""
        return False

    @property
    def _host_part(self) -> HostPart | None:
        """The part that runs on its inputs while data are fed; None for nothing."""
        return None

    def _find_parameters(self, layers: Mapping[str, Any]) -> bool:
        """Look up the parameters of other layers that a restored operation names; whether all were
        found."""
        return True


def is_symbolic(x: Any) -> bool:
    """Whether ``x`` is a symbolic tensor, or holds one."""
    return any_in(lambda one: isinstance(one, SymbolicTensor), x)


# -- masks: which steps of sequences count. A mask is a tensor of booleans, usually (batch, steps),
# and an attribute of the tensor whose steps it marks: a symbolic one, one of a trace, or one with
# values. Layers pass them on by the rules of Keras.


def mask_of(x: Any) -> Any:
    """Return the mask of a tensor; None if it has none, or is no tensor."""
    return x._keras_mask if isinstance(x, Operators) else None


def is_masked(x: Any) -> bool:
    """Whether a tensor anywhere in ``x`` has a mask."""
    return any_in(lambda one: mask_of(one) is not None, x)


def with_masks_passed(layer: Any, args: Any, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the keyword arguments of a `call`, with the masks of its tensors that it takes.

    The argument is ``mask`` for its only tensors. With several arguments that hold tensors, it is
    ``x_mask`` for ``x``.
    """
    reads = layer._has_call or getattr(layer.call, "takes_mask", False)
    if not reads or not is_masked((args, kwargs)):
        return kwargs
    form = signature(layer.call)
    given = form.bind_partial(*args, **kwargs).arguments
    tensors = {
        name: x
        for name, x in given.items()
        if any_in(lambda one: isinstance(one, (Operators, np.ndarray)), x)
    }
    alone = len(tensors) == 1
    names = {"mask" if alone else f"{name}_mask": x for name, x in tensors.items()}
    found = {
        name: replaced(mask_of, x)
        for name, x in names.items()
        if name in form.parameters and given.get(name) is None and is_masked(x)
    }
    if not alone and not found and "mask" in form.parameters and given.get("mask") is None:
        warn(
            f"{layer.name}: a mask is not passed beside {', '.join(list(tensors)[1:])}, as in "
            f"Keras: all steps count. Pass it by mask=..., or compute without."
        )
    return {**kwargs, **found}


def put_masks(layer: Any, args: Any, kwargs: Mapping[str, Any], outputs: Any) -> Any:
    """Give the outputs of a layer, for these arguments, their masks; return them."""
    if layer._by_operator:  # a result of an operation has no mask
        return outputs
    x = args[0] if args else next(iter(kwargs.values()), None)
    given = kwargs.get("mask")
    has_mask = is_masked(x) if given is None else any_in(lambda one: one is not None, given)
    if not layer.supports_masking:
        if has_mask:
            warn(
                f"{layer.name} does not pass on the mask of its input, as {type(layer).__name__} "
                f"does not support masks: what follows reads all steps. In a custom layer, set "
                f"self.supports_masking = True if steps stay where they are."
            )
    else:
        before = replaced(mask_of, x) if has_mask and given is None else given
        made = layer.compute_mask(x, before)
        for tensor, mask in zip(found_in(outputs, Operators), _masks_in(made), strict=False):
            if mask is not None and tensor._keras_mask is None:
                tensor._keras_mask = mask
    return outputs


def _masks_in(x: Any) -> Iterator[Any]:
    entries: Iterable[Any] = x if isinstance(x, (list, tuple)) else [x]
    for entry in entries:
        if isinstance(entry, (list, tuple)):
            yield from _masks_in(entry)
        else:
            yield entry
