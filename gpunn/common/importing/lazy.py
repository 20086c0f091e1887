"""What modules offer, and packages whose names are imported when they are first used (PEP 562).

A small network needs few of the layers, metrics and optimizers; to import all of them takes longer
than to train it. `make exports` writes which module defines which names of a package, for this
module; type checkers read the same names from imports under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from threading import RLock
from types import FrameType, ModuleType
from typing import Any

from gpunn.common.names import closest, snake_case

from .collector import paused

# Packages that register parts when they are imported.
_OF_PARTS = (
    "activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics",
    "models", "optimizers", "regularizers",
)  # fmt: skip
_of_kinds: dict[str, LazyPackage] = {}
_turn = RLock()


class LazyPackage:
    """The public names of a package, each imported when it is first used.

    Args:
        package: ``__name__`` of the package.
        modules: By module, relative to the package, the public names that it defines: none if the
            module itself is public. After a class and "=" comes the name of an object made of it;
            without ``make``, of the class itself.
        make: Module and name of the function of a class that makes this object.
        kind: Kind of the parts that the package defines, see `gpunn.common.registry`.

    >>> names = LazyPackage("gpunn.layers", {".dense": "Dense=Affine"})
    >>> names.get("Affine").__name__, names.get("dense").__name__
    ('Dense', 'gpunn.layers.dense')
    >>> names.get("Afine")
    Traceback (most recent call last):
    AttributeError: module 'gpunn.layers' has no attribute 'Afine'. Did you mean 'Affine'?
    """

    def __init__(
        self, package: str, modules: Mapping[str, str], *, make: tuple[str, str] | None = None,
        kind: str = "",
    ) -> None:
        self._package = package
        self._modules: dict[str, str] = {}
        self._classes: dict[str, str] = {}  # by the other names
        self._public = [module[1:] for module, names in modules.items() if not names]
        for module, names in modules.items():
            for name, *others in (one.split("=") for one in names.split()):
                self._modules[name] = module
                self._classes |= dict.fromkeys(others, name)
        self._make = make
        self._made: dict[str, Any] = {}  # by class
        self._parts: set[str | None] = set()  # those that `import_part` has imported
        if kind:
            _of_kinds[kind] = self
        for module in modules:  # it would take the place of its name when it is imported
            name = module.rpartition(".")[2]
            if name in self._modules or name in self._classes:
                self.get(name)

    def get(self, name: str) -> Any:
        """Return the object of this name, a submodule included: ``__getattr__`` of the package.
        ``__all__`` is all public names, unless the package lists it.

        Raises:
            AttributeError: for an unknown name; the closest one is suggested.
        """
        found: Any
        if name in self._modules:
            found = getattr(self._imported(self._modules[name]), name)
        elif name in self._classes:
            found = self._beside(self._classes[name])
        elif name == "__all__":
            found = sorted([*self._modules, *self._classes, *self._public])
        elif not name.startswith("_") and find_spec(f"{self._package}.{name}"):
            return self._imported(f".{name}")
        elif new := _now_named(self._package, name):
            return getattr(sys.modules[self._package], new)
        else:
            raise unknown(self._package, name, lambda: [*self._classes, *self.names()])
        setattr(sys.modules[self._package], name, found)
        return found

    def _imported(self, module: str) -> Any:
        with _in_turn(), paused():
            found: Any = import_module(module, self._package)
        name, known = module.removeprefix(".").replace("_", ""), (*self._modules, *self._classes)
        meant = next((one for one in known if one.lower() == name), None)
        if meant is not None and isinstance(found, ModuleType):
            found.__class__, vars(found)["_meant"] = _NamedLikeAClass, meant
        return found

    def _beside(self, name: str) -> Any:
        """Return the object made of a class, which is always the same."""
        with _in_turn():
            made = self.get(name)
            if self._make is not None:
                module, make = self._make
                made = getattr(self._imported(module), make)(made)
        return self._made.setdefault(name, made)  # another thread may have made one

    def names(self) -> list[str]:
        """Return the public names: ``__dir__`` of the package."""
        return list(sys.modules[self._package].__all__)

    def import_part(self, name: str | None = None) -> None:
        """Import the parts that may be registered as ``name``; by default all parts."""
        if name in self._parts or None in self._parts:
            return
        for known in (*self._modules, *self._classes):
            if name in (None, known, known.lower(), snake_case(known)):
                self.get(self._classes.get(known, known))
        self._parts.add(name)


class _NamedLikeAClass(ModuleType):
    """A module such as ``layers.dense``, which someone calls who means ``layers.Dense``."""

    _meant: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self.__name__} is a module. Did you mean {self._meant!r}?")


def _in_turn() -> AbstractContextManager[Any]:
    """Return a ``with`` block that one thread at a time enters: modules that import each other
    would be seen half made by others.

    Below the import of a module, others may wait for that module and have this lock; there it is
    not taken.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if frame.f_code.co_name == "<module>" and module.startswith("gpunn."):
            return nullcontext()
        frame = frame.f_back
    return _turn


def import_parts(kind: str | None = None, name: str | None = None) -> None:
    """Import the parts of ``kind`` that may be registered as ``name``; by default all parts of
    that kind, or of all kinds. An alias need not be among the names that a package exports."""
    for name_of_package in _OF_PARTS:
        import_module(f"gpunn.{name_of_package}")
    for of, package in list(_of_kinds.items()):
        if kind in (of, None):
            package.import_part(name)


def extra(module: str, needs: str, name: str) -> Any:
    """Import a module of an extra of gpunn; the error without it says what ``needs`` it."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f'{needs}: pip install "gpunn[{name}]"') from None


def lazy(*args: Any, **kwargs: Any) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package; arguments as for `LazyPackage`."""
    package = LazyPackage(*args, **kwargs)
    return told_to_imports(args[0], package.get), package.names


advice: list[Callable[[str, str], str | None]] = []
"""The function of a module and of a name of Keras that the module lacks, which says what to do
instead; set by `gpunn.compat`."""


def unknown(module: str, name: str, known: Callable[[], Sequence[str]]) -> AttributeError:
    """Return the error for a name that a module lacks: it says what to do without it, if it is one
    of Keras's, and else the closest of the ``known`` names."""
    # Tools ask each module for names such as __wrapped__, thousands of times.
    if name.startswith("_"):
        return AttributeError(f"module {module!r} has no attribute {name!r}.")
    for of_keras in advice:
        if message := of_keras(module, name):
            return AttributeError(message)
    hint = closest(name, list(known()))
    return AttributeError(f"module {module!r} has no attribute {name!r}.{hint}")


def is_imported(frame: FrameType) -> bool:
    """Whether a frame is at ``from module import name``."""
    import dis  # only for a message

    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"


def told_to_imports(module: str, find: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` like ``find`` whose message ``from module import name`` shows too:
    Python drops an AttributeError's message."""

    def get(name: str) -> Any:
        try:
            return find(name)
        except AttributeError as error:
            known = name.startswith("_") or f"{module}.{name}" in sys.modules
            if known or not is_imported(sys._getframe(1)):
                raise
            raise ImportError(str(error), name=module) from None

    return get


def offered(
    module: str, otherwise: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a module: it offers the names in its ``__all__``.

    Args:
        module: Its ``__name__``.
        otherwise: Called with names that are neither there nor old; by default the closest name
            is suggested.
    """

    def names() -> list[str]:
        return sorted(sys.modules[module].__all__)

    def get(name: str) -> Any:
        if (new := _now_named(module, name)) is not None:
            return getattr(sys.modules[module], new)
        if otherwise is not None:
            return otherwise(name)
        raise unknown(module, name, names)

    return told_to_imports(module, get), names


def offer(module: str) -> None:
    """Let a module offer the names in its ``__all__`` only, see `offered`.

    Type checkers do not see it: to them a module with a ``__getattr__`` has any name.
    """
    vars(sys.modules[module]).update(zip(("__getattr__", "__dir__"), offered(module), strict=True))


def _now_named(module: str, name: str) -> str | None:
    """Return the present name for an old one; see `gpunn.common.importing.renamed`."""
    if name.startswith("_"):  # Python asks each module for its __path__
        return None
    from .renamed import now_named  # few programs use old names

    return now_named(module, name)
