"""Which weights an optimizer's weight decay leaves alone."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from gpunn.core.storage import Parameter


class Exclusion:
    """The weights that are excluded from weight decay.

    Args:
        names: Regular expressions; a weight is excluded if its name contains a match of one.
        paths: Paths of excluded weights, such as ``"dense/bias"``.
        variables: Excluded weights, variables and arrays, which it does not keep alive.

    Raises:
        TypeError: for names or paths that are no lists of strings.
        ValueError: for a name that is no regular expression.
    """

    def __init__(
        self, names: Iterable[str] = (), paths: Iterable[str] = (), variables: Iterable[Any] = ()
    ) -> None:
        self.names, self._paths = _strings("var_names", names), _strings("paths", paths)
        for name in self.names:
            try:
                re.compile(name)
            except re.error as error:
                raise ValueError(
                    f"var_names must be regular expressions; got {name!r}: {error}."
                ) from None
        self._variables = [weakref.ref(variable) for variable in variables]

    def __bool__(self) -> bool:
        return bool(self.names or self._paths or self._variables)

    def __contains__(self, variable: Any) -> bool:
        """Whether the weight is excluded."""
        if any(known() is variable for known in self._variables):
            return True
        if isinstance(variable, Parameter) and variable.path in self._paths:
            return True
        name = str(getattr(variable, "name", ""))
        return any(re.search(pattern, name) for pattern in self.names)

    def get_config(self) -> dict[str, list[str]]:
        """Return names and paths as JSON-serializable values; variables that are no weights of a
        layer have no path, and are left out."""
        known = (variable() for variable in self._variables)
        paths = [v.path for v in known if isinstance(v, Parameter)]
        return {"names": self.names, "paths": [*self._paths, *paths]}

    @classmethod
    def from_config(cls, config: Any) -> Exclusion:
        """Return what `get_config` described; raises a ValueError for anything else."""
        if not isinstance(config, Mapping) or set(config) != {"names", "paths"}:
            raise ValueError(f"excluded weights are described as {config!r}.")
        try:
            return cls(config["names"], config["paths"])
        except TypeError as error:
            raise ValueError(str(error)) from None

    def __reduce__(self) -> tuple[Any, ...]:
        config = self.get_config()
        return Exclusion, (config["names"], config["paths"])


def _strings(argument: str, given: Any) -> list[str]:
    several = isinstance(given, (list, tuple, set))
    if not several or not all(isinstance(entry, str) for entry in given):
        raise TypeError(f"{argument} must be a list of strings; got {given!r}.")
    return list(given)
