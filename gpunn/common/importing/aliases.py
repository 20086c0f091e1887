"""Other names of modules: Keras's, and names of earlier versions, which pickles use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class AliasFinder:
    """Imports modules under other names: the same modules, since a second copy would have a second
    registry.

    Args:
        aliases: Real name of each module by its other name, both complete. Modules inside have it
            too.

    >>> finder = AliasFinder({"gpunn.layers.densely": "gpunn.layers.dense"})
    >>> sys.meta_path.insert(0, finder)
    >>> import gpunn.layers.densely
    >>> gpunn.layers.densely is gpunn.layers.dense
    True
    >>> sys.meta_path.remove(finder)
    """

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = dict(aliases)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to import an alias; None for any other name."""
        alias = name  # then the modules around it: this is asked for each import of a process
        while alias not in self._aliases:
            if not (alias := alias.rpartition(".")[0]):
                return None
        real = self._aliases[alias] + name[len(alias) :]
        loader: Any = _AliasLoader(real)
        return ModuleSpec(name, loader) if find_spec(real) else None


class _AliasLoader:
    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system to create a module, which is then replaced."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self._real)
