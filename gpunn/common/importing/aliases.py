"""Other names of modules: Keras's, and names of earlier versions, which pickles use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
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
        return ModuleSpec(name, loader) if name == alias or _exists(real) else None


def _exists(name: str) -> bool:
    """Whether a module exists, in a package that has been imported by another name.

    Finders hold the lock of all imports. To import a package here, as `importlib.util.find_spec`
    does, may wait for a thread that waits for this lock.
    """
    path = getattr(sys.modules.get(name.rpartition(".")[0]), "__path__", None)
    return path is not None and any(finder.find_spec(name, path) for finder in list(sys.meta_path))


class _AliasLoader:
    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system to create a module, which is then replaced."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self._real)
