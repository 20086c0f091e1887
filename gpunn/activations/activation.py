"""Base class of activations: a forward pass, its gradient, a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn.backends import get_backend, host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.common.numeric.dtypes import name_of
from gpunn.common.overrides import PAGE, is_framework, replaces
from gpunn.common.parts import Formula, OfOneFunction, described_as, lookups
from gpunn.common.signatures import signature
from gpunn.core.recording import recorded
from gpunn.core.settings import Settings, traced_call
from gpunn.ops.conversion import convert, is_known, read_in_trace, tensors_of
from gpunn.ops.dtypes import floating
from gpunn.ops.fusion.in_place import Function, Stated
from gpunn.ops.gradients import gradients_of, with_gradient
from gpunn.ops.primitive import Gradients, Primitive, unknown_derivative
from gpunn.ops.tensor import Tensor, constant, ops

from .properties import Properties

__all__ = ["Activation", "deserialize", "get", "serialize"]


def _place(cls: type, name: str) -> int:
    """Position of the class that defines a method in the method resolution order."""
    return next(n for n, base in enumerate(cls.__mro__) if name in vars(base))


class Activation(Stated, Formula):
    """Base class of activations. A subclass implements `call` with `gpunn.ops`.

    An activation is called on an array or a tensor and returns a tensor of the same shape. As the
    ``activation`` of a layer it may be given as an object, a class or a name.

    Its derivative is computed automatically. A subclass may also implement `gradient`: where a
    simpler derivative is known, or one that reads the output, so that the input need not be kept.

    Attributes:
        functor: name of the formula of the kernels, in
            ``kernels/formulas/generated_activations.cuh``, which ``make formulas`` writes from
            `call` and `gradient`; None if they have none.
        parameter_names: attributes that are passed to this formula.
        saves: what `gradient` reads, ``"output"`` or ``"input"``. A derivative that is computed
            from `call` reads the input.
        rowwise: True if an element depends on its whole row, as in softmax.
        is_link: True if losses are fused with it, see `gpunn.losses.Loss.fuses`.
        zero_gradient: True if the derivative is 0 everywhere, so that gradients cannot train
            the layers before it.

    >>> from gpunn import ops
    >>> from gpunn.activations import Activation
    >>> class _Squareplus(Activation):
    ...     def call(self, x):
    ...         return (x + ops.sqrt(x * x + 4.0)) / 2.0
    >>> _Squareplus()([0.0, 1.5]).tolist()
    [1.0, 2.0]
    """

    _kind = "activation"
    _rebuilt_when_set = True
    _refused: ClassVar[Mapping[str, str]] = {
        "__call__": "write call(x), in terms of gpunn.ops, or forward(backend, x, out) and "
        "backward(backend, saved, dy, out), its derivative",
    }
    saves = "output"
    rowwise = False
    is_link = False
    zero_gradient = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls)
        is_own = not is_framework(cls)
        if is_own and "gradient" in own and len(signature(own["gradient"]).parameters) != 3:
            raise TypeError(
                f"{cls.__name__}.gradient must take two tensors, (saved, dy). A derivative on "
                f"arrays is backward(backend, saved, dy, out). See {PAGE}."
            )
        derived = _place(cls, "call") < _place(cls, "gradient")
        if derived and own.get("saves") == "output":
            raise TypeError(
                f'{cls.__name__} has saves = "output": it must define gradient(y, dy). The '
                f"derivative that is computed from call reads the input."
            )
        if derived:
            cls.saves = "input"
        if is_own:
            cls._take_over(derived)

    @classmethod
    def _take_over(cls, derived: bool) -> None:
        """Use what a custom class overrides, not the other methods of its built-in base class."""
        stated = min(_place(cls, "call"), _place(cls, "gradient"))
        if is_framework(cls.__mro__[stated]):
            return
        custom = [
            name for name in ("forward", "backward")
            if _place(cls, name) <= stated and getattr(cls, name) is not vars(Activation)[name]
        ]
        cls._of_tensors = len(custom) == 0
        for name in ("forward", "backward", *(("gradient",) if derived else ())):
            if name not in custom:
                setattr(cls, name, vars(Activation)[name])
        if "zero_gradient" not in vars(cls):
            cls.zero_gradient = False

    def call(self, x: Tensor) -> Tensor:
        """Compute f(x) of each element."""
        raise TypeError(
            f"{type(self).__name__} must define call(x), in terms of gpunn.ops; or on arrays "
            f"forward(backend, x, out) and backward(backend, saved, dy, out)."
        )

    def gradient(self, saved: Tensor, dy: Tensor) -> Tensor:
        """Compute dy f'(x) from what `saves` names and the gradient of the output."""
        from gpunn.ops.library.derivatives import derivative  # of a custom one

        return derivative(self.call, saved, dy)

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        """Compute out = f(x) on arrays; ``out`` may be ``x``."""
        if x.size:
            self.in_place(name_of(x.dtype))[0](backend, x, out)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        """Compute out = dy f'(x) on arrays; ``out`` may be ``dy``."""
        if dy.size:
            self.in_place(name_of(dy.dtype))[1](backend, saved, dy, out)

    @property
    def states_call(self) -> bool:
        """Whether `call` defines the formula, not a pass that is written for arrays."""
        cls = type(self)
        stated = cls.call is not Activation.call and not replaces(cls, "forward")
        return self._of_tensors or stated

    @property
    def _is_traced(self) -> bool:
        """Whether it gets arrays as tensors: if it is custom, or works along another axis."""
        return self._of_tensors or (self.rowwise and self.functor is None)

    def _functions(self, dtype: str) -> Sequence[Function]:
        if type(self).call is Activation.call:
            self.call(constant(0.0, "float32"))  # raises an error that names what is missing
        from .on_arrays import passes, traced  # kernels compute most of them

        return traced(self) if self._is_traced else passes(self, dtype)

    def _of_functions(self) -> Settings:
        return Settings() if self._is_traced else super()._of_functions()  # a trace follows itself

    @property
    def properties(self) -> Properties | None:
        """Properties of the curve; None if they are not declared."""
        return None

    @property
    def __name__(self) -> str:
        return snake_case(self.__class__.__qualname__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self))

    __repr__ = registry.call_text

    def _traced(self, x: Tensor) -> Tensor:
        y = self.call(x)
        if type(self).gradient is Activation.gradient or not isinstance(y, Tensor):
            return y
        saved = x if self.saves == "input" else y
        return with_gradient(y, [x], lambda dy: [self.gradient(saved, dy)])

    def on_tensor(self, x: Tensor) -> Tensor:
        """Apply f, with its derivative, as an operation of `gpunn.ops`."""
        if self._is_traced:
            return traced_call(self, f"The activation {self.__name__!r}", lambda: self._traced(x))
        x = convert(x, floating(x.dtype))
        return x if self.functor == "Linear" else _applied(x, formula=self)

    @partial(recorded, always=False)
    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return f(x) as a tensor.

        The class takes further arguments.
        """
        if args or kwargs:
            return type(self)(*args, **kwargs)(x)
        x = read_in_trace(x)
        if isinstance(x, Tensor) and not is_known(x):
            return self.on_tensor(x)
        x = host_array(x)
        if self._of_tensors:
            return convert(self.call(convert(x, x.dtype)))
        if self.rowwise and x.ndim == 0:
            raise ValueError(f"{self.__name__} needs at least one axis; x is a single number.")
        out = np.empty(x.shape, x.dtype)
        with np.errstate(all="ignore"):  # an overflow gives infinity, the limit
            self.forward(get_backend("numpy"), x, out)
        return tensors_of(out)


def applied_to(y: Tensor) -> tuple[Activation | None, Tensor]:
    """Return the activation that made a tensor, and what it was applied to; None and the tensor
    itself if none did, or if that is not recorded."""
    if y.primitive is _applied and not y.is_constant:
        return y.attributes["formula"], y.inputs[0]
    found: tuple[Activation | None, Tensor] = y.attributes.get("link", (None, y))
    return found if not y.is_constant else (None, y)


def _apply(backend: Backend, out: Array, x: Array, formula: Activation) -> None:
    backend.bias_activation(x, None, formula, out)


def _apply_gradient(
    backend: Backend, out: Array, dy: Array, saved: Array, formula: Activation,
    accumulate: bool = False,
) -> None:
    backend.activation_gradient(formula, saved, dy, out, accumulate=accumulate)


def _gradient_of(dy: Tensor, y: Tensor, x: Tensor, formula: Activation) -> list[Tensor]:
    return [_applied_gradient(dy, x if formula.saves == "input" else y, formula=formula)]


def _second_gradient(
    dz: Tensor, dx: Tensor, dy: Tensor, saved: Tensor, formula: Activation
) -> Gradients:
    if not formula.states_call:
        return unknown_derivative(lambda formula: formula.__name__)(formula=formula)
    return gradients_of(lambda dy, saved: formula.gradient(saved, dy), [dy, saved], dz)


_applied = Primitive("activation", _apply, lambda x, formula: x, lambda x, formula: x, _gradient_of)
_applied_gradient = Primitive(
    "activation's gradient",
    _apply_gradient,
    lambda dy, saved, formula: dy,
    lambda dy, saved, formula: dy,
    _second_gradient,
)
_applied_gradient.over, _applied_gradient.adds = 0, True


class FunctionActivation(OfOneFunction, Activation):
    """Activation from a custom function of a tensor (batch, ...), written with `gpunn.ops`.

    `get` creates it. Files store the name under which it was registered, see
    `gpunn.saving.register_serializable`.

    >>> from gpunn import activations, ops
    >>> swish = activations.get(lambda x: x * ops.sigmoid(x))
    >>> print(swish([0.0, 1.0]).numpy().round(3))
    [0.    0.731]
    """

    _abstract = True
    reads = "a tensor"
    _of_tensors = True
    saves = "input"

    def call(self, x: Tensor) -> Tensor:
        return self.function(x)

    @property
    def __name__(self) -> str:
        return self.function_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionActivation) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        x = read_in_trace(x)
        given = x if isinstance(x, Tensor) else convert(host_array(x), host_array(x).dtype)
        return convert(self.function(given, *args, **kwargs))


_get, serialize, deserialize = lookups(Activation)


@described_as(_get)
def get(identifier: Any) -> Activation:
    named = getattr(identifier, "__name__", identifier)
    if named == "glu" and (identifier == named or identifier is ops.glu):
        raise ValueError(
            "glu halves an axis of its input, which no activation of a layer may do. Apply "
            "activations.glu to the output of the layer, as in y = activations.glu(Dense(8)(x))."
        )
    return _get("linear" if identifier is None else identifier)
