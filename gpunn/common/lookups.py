"""`get`, `serialize` and `deserialize` of a kind of part, such as losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from . import registry

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


def lookups(base: type[Part]) -> tuple[Get[Part], Serialize, Deserialize[Part]]:
    """Return ``get``, ``serialize`` and ``deserialize`` for the kind of the base class ``base``.

    >>> from gpunn import optimizers
    >>> optimizers.get("sgd").learning_rate
    0.01
    >>> optimizers.deserialize(optimizers.serialize(optimizers.Lion(0.5))).learning_rate
    0.5
    """
    kind = base.kind

    def get_part(identifier: Any) -> Part:
        """Return the {kind} for a name, an object, a class or a config dictionary.

        Raises:
            ValueError: for an unknown name; the message suggests the closest known one.
            TypeError: for any other type.
        """
        return registry.get(kind, identifier)

    def serialize_part(part: Any) -> dict[str, Any] | None:
        """Return the {kind} as a dictionary that `get` accepts; None for None.

        Raises:
            ValueError: for an object of a class that is not registered.
        """
        return registry.serialize(part)

    def deserialize_part(
        config: dict[str, Any] | None, custom_objects: Mapping[str, Any] | None = None
    ) -> Part:
        """Return the {kind} described by `serialize`; None for None.

        Args:
            config: A dictionary returned by `serialize`.
            custom_objects: Additional classes and functions by name, for this call only.

        Raises:
            ValueError: for an unknown name or invalid arguments.
        """
        return registry.also(
            custom_objects or {}, lambda: registry.deserialize(config, kind)
        )

    for function in (get_part, serialize_part, deserialize_part):
        function.__doc__ = (function.__doc__ or "").replace("{kind}", kind)
        function.__name__ = function.__qualname__ = function.__name__.partition("_")[0]
        function.__module__ = base.__module__
        hints = function.__annotations__
        hints["return"] = hints["return"].replace("Part", base.__name__)
    return get_part, serialize_part, deserialize_part
