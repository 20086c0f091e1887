"""Parts created from a user-defined function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .registry import FUNCTION, lookup, name_of


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
