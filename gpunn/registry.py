"""Names of things: one registry for every kind of entry that is known by name.

A class enters it when it is defined (a subclass of `Entry` does so by itself, a
user's own through `register_serializable`). Lookup by string, the test suites that
enrol every entry, and loading a saved model all read this one table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

_kinds: dict[str, dict[str, type]] = {}
_aliases: dict[str, dict[str, str]] = {}


def snake_case(name: str) -> str:
    """``"SparseCategoricalAccuracy"`` becomes ``"sparse_categorical_accuracy"``.

    >>> snake_case("ReLU6Gate"), snake_case("SGD"), snake_case("Conv2D")
    ('re_lu6_gate', 'sgd', 'conv2d')
    """
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z](?!$))", "_", name).lower()


def closest(name: str, known: list[str]) -> str:
    """`` Did you mean 'x'?`` for the known name nearest to ``name``, or an empty string."""
    by_lower = {entry.lower(): entry for entry in sorted(known, reverse=True)}
    match = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""


class Entry:
    """Base of everything that is looked up by name: set ``kind`` on the base class.

    A formula names its ``functor``, which computes the same in the kernels. A user's subclass
    that replaces one of its methods has none, unless it names one itself.

    A subclass registers under its class name, its snake_case form and its
    ``aliases``. Abstract classes in between start with an underscore or set
    ``abstract = True`` in their own body.
    """

    kind: str = ""
    aliases: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__.split(".")[0] != "gpunn":  # a user's class joins by decorator
            if _computes_otherwise(cls):
                cls.functor = None  # type: ignore[attr-defined]
        elif not ("kind" in vars(cls) or vars(cls).get("abstract") or cls.__name__.startswith("_")):
            register(cls, cls.__name__)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal object, as values that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


def _computes_otherwise(cls: type) -> bool:
    """Whether a subclass replaces methods of a formula but not the functor that stands for them
    in the kernels."""
    return "functor" not in vars(cls) and any(
        callable(value) and any(hasattr(base, name) for base in cls.__bases__)
        for name, value in vars(cls).items()
        if name not in ("__init__", "get_config", "from_config")
    )


def is_own(entry: Any) -> bool:
    """Whether the class of ``entry`` is one of the framework's, or ``entry`` is None.

    >>> from gpunn.layers import Dense
    >>> is_own(Dense(2)), is_own(type("Mine", (Dense,), {"__module__": "mine"})(2))
    (True, False)
    """
    return entry is None or type(entry).__module__.split(".")[0] == "gpunn"


def register(cls: type, name: str) -> None:
    """Add ``cls`` under ``name`` to the table of its kind."""
    kind: str = cls.kind  # type: ignore[attr-defined]
    table = _kinds.setdefault(kind, {})
    other = table.get(name, cls)
    defined = (cls.__module__, cls.__qualname__)
    if ">" not in name and defined != (other.__module__, other.__qualname__):
        raise ValueError(f"The {kind} name {name!r} is taken by {other!r}.")
    table[name] = cls
    names = _aliases.setdefault(kind, {})
    own_aliases = vars(cls).get("aliases", ())
    for alias in (name, name.lower(), snake_case(name), *own_aliases):
        names[alias] = name


def register_serializable(
    package: str | type = "Custom", name: str | None = None
) -> Callable[[Class], Class]:
    """Class decorator: let a class of your own be found by name and be loaded.

    It is then known as ``package>Name`` in files and as ``Name`` in strings.

    Args:
        package: prefix that keeps your names apart from gpunn's.
        name: the name to register; the class's own by default.

    Raises:
        TypeError: if the class is not a layer, loss, metric, optimizer, activation,
            initializer, regularizer, constraint, schedule or callback of gpunn.

    >>> import gpunn
    >>> @gpunn.saving.register_serializable(package="docs")
    ... class Twice(gpunn.initializers.Constant):
    ...     pass
    >>> type(gpunn.initializers.get("Twice")).__name__
    'Twice'
    """
    if isinstance(package, type):  # used without brackets
        return register_serializable()(package)

    def decorate(cls: Class) -> Class:
        if not (isinstance(cls, type) and issubclass(cls, Entry) and cls.kind):
            raise TypeError(
                f"register_serializable takes a subclass of a gpunn layer, loss, metric, "
                f"optimizer, activation, initializer, regularizer, constraint, schedule or "
                f"callback; got {cls!r}."
            )
        own = name or cls.__name__
        register(cls, f"{package}>{own}")
        names = _aliases[cls.kind]
        for alias in (own, snake_case(own), *vars(cls).get("aliases", ())):
            names.setdefault(alias, f"{package}>{own}")
        cls._registered_name = f"{package}>{own}"  # type: ignore[attr-defined]
        return cls

    return decorate


def entries(kind: str) -> dict[str, type]:
    """Every registered class of a kind by its name: what the test suites enrol."""
    return dict(_kinds.get(kind, {}))


def lookup(kind: str, name: str) -> type:
    """The class of ``kind`` registered as ``name`` (class name, snake_case or alias).

    Raises:
        ValueError: naming the closest known name.
    """
    names = _aliases.get(kind, {})
    if name not in names:
        known = sorted({n for n in names if n == snake_case(n)})
        raise ValueError(
            f"Unknown {kind}: {name!r}.{closest(name, known)} Known: {', '.join(known)}."
        )
    return _kinds[kind][names[name]]


@contextmanager
def also(classes: dict[str, type]) -> Iterator[None]:
    """Let further classes be found by the names given, for the length of the block.

    Raises:
        ValueError: for something that is no class of gpunn's kinds.
    """
    before = {kind: dict(table) for kind, table in _kinds.items()}
    aliases = {kind: dict(table) for kind, table in _aliases.items()}
    for name, cls in classes.items():
        if not (isinstance(cls, type) and issubclass(cls, Entry) and cls.kind):
            raise ValueError(f"custom_objects[{name!r}] is not a gpunn class: {cls!r}.")
        _kinds.setdefault(cls.kind, {})[name] = cls
        for alias in (name, f"Custom>{name}"):
            _aliases.setdefault(cls.kind, {})[alias] = name
    try:
        yield
    finally:
        _kinds.clear()
        _kinds.update(before)
        _aliases.clear()
        _aliases.update(aliases)


def get(kind: str, identifier: Any) -> Any:
    """An object of ``kind`` from a name, a config dictionary, a class or an object.

    Raises:
        ValueError: for an unknown name.
        TypeError: for something that is none of these.
    """
    if isinstance(identifier, str):
        return lookup(kind, identifier)()
    if isinstance(identifier, dict):
        return deserialize(identifier, kind)
    if isinstance(identifier, type) and getattr(identifier, "kind", None) == kind:
        return identifier()
    if getattr(identifier, "kind", None) == kind:
        return identifier
    raise TypeError(
        f"{kind} must be a name, a {kind} object or its configuration; got {identifier!r}."
    )


def serialize(entry: Any) -> dict[str, Any] | None:
    """``{"class_name": ..., "config": ...}``, or None for None."""
    if entry is None:
        return None
    cls = type(entry)
    name = vars(cls).get("_registered_name", cls.__name__)
    if _kinds.get(cls.kind, {}).get(name) is not cls:
        raise ValueError(
            f"{cls.__name__} is not registered, so a saved model could not be loaded again. "
            f"Put @gpunn.saving.register_serializable() above the class."
        )
    return {"class_name": name, "config": entry.get_config()}


def deserialize(document: Any, kind: str) -> Any:
    """The object that `serialize` described. Knows registered names only; runs no code.

    Raises:
        ValueError: naming the offending entry.
    """
    if document is None:
        return None
    if not isinstance(document, dict) or set(document) != {"class_name", "config"}:
        raise ValueError(
            f"A {kind} is stored as {{'class_name': ..., 'config': ...}}; got {document!r}."
        )
    name, config = document["class_name"], document["config"]
    if not isinstance(name, str) or not isinstance(config, dict):
        raise ValueError(f"Bad {kind} entry {document!r}: a name and a dictionary expected.")
    cls = lookup(kind, name)
    try:
        return cls.from_config(dict(config))  # type: ignore[attr-defined]
    except TypeError as error:
        raise ValueError(
            f"The {kind} {name!r} does not accept its stored config: {error}"
        ) from None
