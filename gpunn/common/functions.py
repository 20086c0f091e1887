"""Parts that are made of a function of a user's."""

from __future__ import annotations

from typing import Any, ClassVar

from .registry import FUNCTION, lookup, name_of


class OfFunction:
    """First base of such a part. `get` of its kind makes one of a function; a file holds it by
    the name that the function is registered by.

    Attributes:
        function_argument: the attribute, and the constructor's argument, that is the function.
    """

    kind: str
    of_functions = True
    function_argument: ClassVar[str] = "function"

    @property
    def function_name(self) -> str:
        """What messages call it."""
        function = getattr(self, self.function_argument)
        return getattr(function, "__name__", type(function).__name__)

    def get_config(self) -> dict[str, Any]:
        """The name of the function.

        Raises:
            ValueError: if the function is not registered.
        """
        name = name_of(FUNCTION, getattr(self, self.function_argument))
        if name is None:
            raise ValueError(
                f"The {self.kind} {self.function_name!r} is a function, which no file can hold. "
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
