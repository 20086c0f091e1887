"""What kinds of parts share: base classes for formulas and functions; `get` and `serialize`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from . import registry
from .fields import HasFields
from .registry import FUNCTION, Entry, lookup, name_of


class Formula(Entry, HasFields):
    """Base class of the kinds whose entries are formulas.

    A custom subclass that replaces a method of a formula has no functor, unless it names one.

    Attributes:
        functor: Name of the struct in ``kernels/formulas`` that computes the same, or None.
        parameter_names: Names of the attributes passed to the functor, in the order of the
            struct's enumeration.
    """

    _abstract = True
    __experimental__ = frozenset({"functor", "parameter_names", "parameters"})
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = {"functor": None}
    # Without annotations: for type checkers, only annotated attributes are arguments.
    functor = cast("str | None", None)
    parameter_names = cast("tuple[str, ...]", ())
    _of_tensors = False
    """True for one that operations on tensors define; the other names are for backends too, see
    `gpunn.backends.contract.formulas`."""

    @property
    def parameters(self) -> tuple[float, ...]:
        """The values passed to the functor: 0 for None, and sequences flattened."""
        numbers: list[float] = []
        for name in self.parameter_names:  # in each step that is not traced: no generators
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                numbers += map(float, value)
            else:
                numbers.append(float(value or 0.0))
        return tuple(numbers)


class OfFunction:
    """First base class of such a part. `get` of its kind creates one from a function; a file
    stores the registered name of the function.

    Attributes:
        function_argument: Name of the attribute and constructor argument for the function.
    """

    _kind: str
    _made_from_functions = True
    function_argument: ClassVar[str] = "function"

    @property
    def function_name(self) -> str:
        """Name of the function in messages."""
        function = getattr(self, self.function_argument)
        return getattr(function, "__name__", type(function).__name__)

    def get_config(self) -> dict[str, Any]:
        """Return the name of the function.

        Raises:
            ValueError: if the function is not registered.
        """
        name = name_of(FUNCTION, getattr(self, self.function_argument))
        if name is None:
            raise ValueError(
                f"The {self._kind} {self.function_name!r} is a function, which no file can hold. "
                f"Register it: @gpunn.saving.register_serializable()."
            )
        return {self.function_argument: name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        given = config.get(cls.function_argument)
        found = lookup(FUNCTION, given) if isinstance(given, str) else given
        return cls(**{**config, cls.function_argument: found})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.function_name})"


class OfOneFunction(OfFunction):
    """Such a part without other arguments than the function."""

    reads: ClassVar[str]  # what the function is called with, in messages

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"function must be a function of {self.reads}; got {function!r}.")
        self.function = function


Function = TypeVar("Function", bound=Callable[..., Any])
Part = TypeVar("Part", bound=registry.Entry, covariant=True)


class Get(Protocol[Part]):
    """`get` of one kind."""

    def __call__(self, identifier: Any) -> Part: ...


class Serialize(Protocol):
    """`serialize` of one kind."""

    def __call__(self, part: Any) -> dict[str, Any] | None: ...


class Deserialize(Protocol[Part]):
    """`deserialize` of one kind."""

    def __call__(
        self, config: dict[str, Any] | None, custom_objects: Mapping[str, Any] | None = None
    ) -> Part: ...


_OF_WEIGHTS = ("A function of the weights, written with `gpunn.ops`, is one; None stays None.",)
_OF_ROWS = "A function of ``(y_true, y_pred)``, written with `gpunn.ops`, is one."
_ALSO = {  # of each kind: what else `get` takes, in lines
    "activation": (
        "A function of a tensor, written with `gpunn.ops`, is one; None is the linear one.",
    ),
    "constraint": _OF_WEIGHTS,
    "initializer": (
        "A function of a shape and a dtype is one; a number or an array is a `Constant`;",
        "None is `GlorotUniform`, Keras's default for weights.",
    ),
    "loss": (_OF_ROWS,),
    "metric": (
        _OF_ROWS,
        '``"accuracy"`` is the plain `Accuracy`, where ``compile`` chooses by the loss.',
    ),
    "regularizer": _OF_WEIGHTS,
}
_EXAMPLES = {  # of each kind: the module, an object, and what `get` takes for it
    "activation": ("activations", "Relu()", '"relu"'),
    "constraint": ("constraints", "NonNeg()", '"non_neg"'),
    "initializer": ("initializers", "Zeros()", '"zeros"'),
    "layer": ("layers", "Flatten()", '"flatten"'),
    "loss": ("losses", "Huber()", '"huber"'),
    "metric": ("metrics", "Mean()", '"mean"'),
    "optimizer": ("optimizers", "SGD()", '"sgd"'),
    "regularizer": ("regularizers", "L2()", '"l2"'),
    "schedule": (
        "schedules", "Constant(0.1)", '{"class_name": "Constant", "config": {"value": 0.1}}'
    ),
}


_OPTIONAL = "optimizer", "loss", "metric"
"""Kinds of which None stands for none, as in Keras."""


def described_as(other: Callable[..., Any]) -> Callable[[Function], Function]:
    """Return a decorator that gives a function the docstring of another."""

    def described(function: Function) -> Function:
        function.__doc__ = other.__doc__
        return function

    return described


def fill_in(function: Any, words: Mapping[str, str]) -> None:
    """Replace each ``{word}`` in the docstring of a function that is made for several classes."""
    for word, text in words.items():
        function.__doc__ = (function.__doc__ or "").replace(f"{{{word}}}", text)


def lookups(base: type[Part]) -> tuple[Get[Part], Serialize, Deserialize[Part]]:
    """Return ``get``, ``serialize`` and ``deserialize`` for the kind of the base class ``base``.

    >>> from gpunn import optimizers
    >>> optimizers.get("sgd").learning_rate
    0.01
    >>> optimizers.deserialize(optimizers.serialize(optimizers.Lion(0.5))).learning_rate
    0.5
    """
    kind = base._kind

    def get_part(identifier: Any) -> Part:
        """Return the {kind} for a name, an object, a class or a config dictionary.

        A name is the class's, as it is or in snake case, or one of its other names.

        Args:
            identifier: an object is returned itself; a name or a class gives a new object with
                the default arguments; a dictionary of `serialize` gives one with its
                arguments.{also}

        Returns:
            The {kind}, whose class derives from `{base}`.{none}

        Raises:
            ValueError: for an unknown name; the message suggests the closest known one.
            TypeError: for any other type.

        >>> from {package} import {module}
        >>> type({module}.get({identifier})).__name__
        '{name}'
        """
        if identifier is None and kind in _OPTIONAL:
            return cast("Part", None)
        return registry.get(kind, identifier)

    def serialize_part(part: Any) -> dict[str, Any] | None:
        """Return the {kind} as a dictionary that `get` accepts; None for None.

        It holds the name of the class and the arguments of its constructor, as in files of models.

        Args:
            part: A `{base}`, or None.

        Returns:
            A dictionary with ``"class_name"`` and ``"config"``, which can be written as JSON.

        Raises:
            ValueError: for an object of a class that is not registered.

        >>> from {package} import {module}
        >>> {module}.serialize({module}.{example})["class_name"]
        '{name}'
        """
        return registry.serialize(part)

    def deserialize_part(
        config: dict[str, Any] | None, custom_objects: Mapping[str, Any] | None = None
    ) -> Part:
        """Return the {kind} described by `serialize`; None for None.

        Args:
            config: A dictionary returned by `serialize`.
            custom_objects: Additional classes and functions by name, for this call only.

        Returns:
            A new object, equal in its arguments to the one that was serialized.

        Raises:
            ValueError: for an unknown name or invalid arguments.

        >>> from {package} import {module}
        >>> config = {module}.serialize({module}.{example})
        >>> type({module}.deserialize(config)).__name__
        '{name}'
        """
        return registry.also(custom_objects or {}, lambda: registry.deserialize(config, kind))

    module, example, identifier = _EXAMPLES[kind]
    words = {
        "kind": kind, "base": base.__name__, "module": module, "example": example,
        "package": "gpunn.optimizers" if kind == "schedule" else "gpunn",
        "identifier": identifier, "name": example.partition("(")[0],
        "none": " None for None." if kind in _OPTIONAL else "",
        "also": "".join(f"\n{'':16}{line}" for line in _ALSO.get(kind, ())),
    }
    for function in (get_part, serialize_part, deserialize_part):
        fill_in(function, words)
        function.__name__ = function.__qualname__ = function.__name__.partition("_")[0]
        function.__module__ = base.__module__
        hints = function.__annotations__
        hints["return"] = hints["return"].replace("Part", base.__name__)
    return get_part, serialize_part, deserialize_part
