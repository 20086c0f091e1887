"""`get`, `serialize` and `deserialize` of a kind of part, such as losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from . import registry

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
