"""The registry of all parts that are known by name, for every kind.

A class is registered when it is defined: built-in subclasses of `Entry` automatically, custom
ones by `register_serializable`. Lookup by string, the test suites that cover every entry,
and loading of saved models all use this table.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from importlib import import_module
from inspect import isfunction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from . import overrides
from .fields import add_constructor, rebuilt_with
from .importing.lazy import import_parts
from .names import closest, first_few, nearest, snake_case
from .nested import replaced
from .overrides import is_framework
from .signatures import GIVEN, arguments, given_to, record
from .snapshots import restored_after, set_within

FUNCTION = "function"  # the kind of user-defined functions, which are registered like classes
OBJECT = "object"  # the kind of other classes of users, which have a get_config
Class = TypeVar("Class", bound=Callable[..., Any])
Result = TypeVar("Result")
Examples = Sequence[Mapping[str, Any]]

_kinds: dict[str, dict[str, type]] = {}
_aliases: dict[str, dict[str, str]] = {}
_of_functions: dict[str, type] = {}  # by kind, the class that creates a part from a function
COMPILED_CALLS = "_call_programs"
"""The attribute with the programs of a part's calls in tapes, which no other program depends on."""
NOT_SEEN = frozenset({COMPILED_CALLS, GIVEN})
"""Attributes of any part that no program depends on."""
MOST_SHOWN = 12  # names in the message about an unknown one
# Classes by kind and name that are known only in this context, see `also`.
_NONE: Mapping[tuple[str, str], type] = MappingProxyType({})
_further: ContextVar[Mapping[tuple[str, str], type]] = ContextVar("further", default=_NONE)
_named: ContextVar[dict[tuple[str, str], Any] | None] = ContextVar("named", default=None)
_shared: ContextVar[_Shared | None] = ContextVar("shared", default=None)
global_objects: dict[str, Any] = {}
"""Classes and functions that every lookup also finds by name, in the whole process."""
_changes = itertools.count(1)

last_change = 0
"""A number that changes whenever an attribute of any part or weight is set, optimizer slots move,
the layers of a model change, or floatx does."""
last_move = 0
"""A number that changes whenever weights or variables move to other arrays that other programs read
than those of the model that holds them."""


advice: list[Callable[[str, str], str | None]] = []
"""The function of a kind and an attribute that its objects lack, which says what to do instead; set
by `gpunn.compat`."""


class _OfThread(threading.local):
    last_change = 0


of_thread = _OfThread()
"""Its ``last_change`` is that number for the changes that this thread makes."""


_NAMED = {"layer", "loss", "metric", "model", "optimizer"}
"""Kinds of parts whose constructors give them a name."""


class Entry:
    """Base class of everything that is looked up by name: set ``_kind`` on the base class.

    A subclass declares the arguments of its constructor as fields (see `gpunn.common.fields`)
    or writes an ``__init__``.

    ``_refused``, ``_reached_by`` and ``_reset_by_overrides`` declare what a custom subclass may
    replace: see `gpunn.common.overrides`.

    A subclass registers under its class name, its snake_case form and its
    ``aliases``. Abstract classes in between start with an underscore or set
    ``_abstract = True`` in their own body.
    """

    _kind: str = ""
    __experimental__ = frozenset({"aliases", "examples", "rows_are_independent"})
    examples: ClassVar[Examples] = ({},)
    """Sets of constructor arguments that together show all features, for tests that iterate over
    the registry. A class without its own examples is constructed without arguments."""
    aliases: ClassVar[tuple[str, ...]] = ()
    _methods_may_be_set = False
    """True if methods may also be set on an object."""
    _rebuilt_when_set = False
    """True if the constructor derives more from its arguments: setting an argument's attribute
    later rebuilds the object."""
    _changes_by_itself = False
    """True if using an object changes its attributes."""
    _not_watched: ClassVar[frozenset[str]] = frozenset()
    """Internal attributes of the framework, which `_watched` excludes."""
    rows_are_independent = False
    """True for a layer, loss, metric or model whose class says that mixing the rows of a batch is
    meant: each of several processes then computes it from its own rows. Otherwise training over
    several processes (`gpunn.distribution`) refuses what mixes rows."""
    _has_call = False  # True for a layer or model that a `call` on tensors defines
    _made_from_functions = False
    """True for the class that creates parts of its kind from functions, see `functions`."""
    _refused: ClassVar[Mapping[str, str]] = MappingProxyType({})
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    _reset_by_overrides: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @property
    def _traceable(self) -> bool:
        """Whether it uses only operations, and array functions with ``out=``, the same each time.

        True for built-in parts and for those that operations on tensors define.
        """
        return is_traced(self) or is_framework(type(self))

    if TYPE_CHECKING:  # any arguments, unless a class declares them

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        add_constructor(cls)
        if not is_framework(cls):  # custom classes are registered by the decorator
            overrides.check(cls)
            overrides.reset_overridden(cls)
            record(cls)
            return
        if cls._made_from_functions:
            _of_functions[cls._kind] = cls
        if not ("_kind" in vars(cls) or vars(cls).get("_abstract") or cls.__name__.startswith("_")):
            register(cls, cls.__name__)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._not_watched:
            super().__setattr__(name, value)
            return
        if callable(value):
            overrides.check_object(self, name)
        global last_change  # `record_change`, also before: an interrupt may come in between
        of_thread.last_change = last_change = next(_changes)
        if not (self._rebuilt_when_set and rebuilt_with(self, name, value)):
            super().__setattr__(name, value)
        of_thread.last_change = last_change = next(_changes)

    if not TYPE_CHECKING:  # to which any attribute would exist

        def __getattr__(self, name: str) -> Any:
            """Raise the error for an attribute that is missing: it says what to do instead of one
            that Keras's objects have."""
            if name[:1] != "_" and not hasattr(type(self), name):
                for of_keras in advice:
                    if message := of_keras(self._kind, name):
                        message = f"{type(self).__name__}.{name}: {message}"
                        raise AttributeError(message, name=name, obj=self)
            made = {"name", "_builder"} & vars(self).keys()  # by its base's constructor
            if not made and self._kind in _NAMED and not is_framework(type(self).__init__):
                cls = type(self).__name__
                message = (
                    f"{cls}.{name}: super().__init__() was not called: put it in the first line of "
                    f"{cls}.__init__."
                )
                raise AttributeError(message, name=name, obj=self)
            return object.__getattribute__(self, name)  # which raises the error again

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        record_change()

    def _watched(self) -> Mapping[str, Any]:
        """Return the values that its computation may depend on, usually its attributes.

        A program that uses it is rebuilt if any of them change.
        """
        entries = list(vars(self).items())  # in one step: other threads may set some
        excluded = self._not_watched
        return {n: x for n, x in entries if n not in excluded and n not in NOT_SEEN}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create an equal object, as JSON-serializable values."""
        return all_described(given_to(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create an object from a dictionary that its `get_config` returned.

        Args:
            config: the arguments of the constructor, by name.

        Returns:
            A new object, equal to the one that was described.

        >>> from gpunn.layers import Dense
        >>> Dense.from_config({"units": 3, "activation": "relu"}).units
        3
        """
        given = with_parts(cls, config)
        # A user's constructor may take nothing but its own arguments.
        later = {"name", "trainable"} - arguments(cls).keys()
        set_later = {name: given.pop(name) for name in later & given.keys()}
        made = cls(**given)
        for name, value in set_later.items():
            setattr(made, name, value)
        return made


def record_change() -> None:
    """Record a change: see `last_change`."""
    global last_change
    of_thread.last_change = last_change = next(_changes)


def record_move() -> None:
    """Record that weights or variables move, before and after: see `last_move`."""
    global last_move
    last_move = next(_changes)
    record_change()


@contextmanager
def restored() -> Iterator[None]:
    """A ``with`` block at whose end everything registered in it is removed."""
    import_parts()  # which are imported only once
    with restored_after(_kinds, _aliases, *_kinds.values(), *_aliases.values()):
        yield


def call_text(entry: Entry) -> str:
    """Return ``Name(argument=value, ...)``, a call that creates an equal object.

    >>> from gpunn.regularizers import L2
    >>> call_text(L2(0.5))
    'L2(l2=0.5)'
    """
    arguments = ", ".join(f"{key}={value!r}" for key, value in entry.get_config().items())
    return f"{type(entry).__name__}({arguments})"


def is_own(entry: Any) -> bool:
    """Whether the class of ``entry`` is built-in, or ``entry`` is None.

    >>> from gpunn.layers import Dense
    >>> is_own(Dense(2)), is_own(type("Mine", (Dense,), {"__module__": "mine"})(2))
    (True, False)
    """
    return entry is None or is_framework(type(entry))


def is_traced(part: Any) -> bool:
    """Whether operations on tensors define a part: the `call` of a layer or model, or a formula,
    see `gpunn.backends.contract.formulas`."""
    return getattr(part, "_has_call", False) or getattr(part, "_of_tensors", False)


def is_traceable(entry: Any) -> bool:
    """Whether the operations of ``entry`` can be recorded once and replayed; True for None."""
    return entry is None or entry._traceable


def built_in(cls: type) -> type:
    """Return the nearest registered built-in class that ``cls`` is or derives from, else ``cls``.

    >>> from gpunn.losses import MeanSquaredError
    >>> built_in(type("Mine", (MeanSquaredError,), {"__module__": "mine"})).__name__
    'MeanSquaredError'
    """
    table = _kinds.get(cls._kind, {})  # type: ignore[attr-defined]
    return next((c for c in cls.__mro__ if table.get(c.__name__) is c), cls)


def _kind_of(part: Any) -> str:
    """Return the kind of a class; "function" for a function, "" for anything else."""
    if isfunction(part):
        return FUNCTION
    if not isinstance(part, type):
        return ""
    if issubclass(part, Entry):
        return part._kind
    return OBJECT if hasattr(part, "get_config") else ""


def is_part(value: Any) -> bool:
    """Whether configurations describe a value by its class and its own configuration."""
    return isinstance(value, Entry) or _kind_of(type(value)) == OBJECT


def register(cls: Any, name: str) -> None:
    """Add ``cls``, a class or a function, under ``name`` to the table of its kind."""
    kind = _kind_of(cls)
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
    package: str | Callable[..., Any] = "Custom", name: str | None = None
) -> Callable[[Class], Class]:
    """Decorator that registers a custom class or function, to look it up by name and load it.

    Its name is ``package>Name`` in files and ``Name`` in strings.

    Args:
        package: Prefix that separates your names from gpunn's.
        name: Name to register; by default the class's.

    Returns:
        The decorator, which returns the class or function unchanged.

    Raises:
        TypeError: if it is neither a function nor a class with a ``get_config`` method.

    >>> import gpunn
    >>> @gpunn.saving.register_serializable(package="docs")
    ... class Twice(gpunn.initializers.Constant):
    ...     pass
    >>> type(gpunn.initializers.get("Twice")).__name__
    'Twice'
    """
    if not isinstance(package, str):  # used without brackets
        return cast("Any", register_serializable()(package))

    def decorate(cls: Class) -> Class:
        if not _kind_of(cls):
            raise TypeError(
                f"register_serializable takes a function, or a class with a get_config method, "
                f"which returns the arguments of its constructor; got {cls!r}."
            )
        own = name or cls.__name__
        register(cls, f"{package}>{own}")
        import_parts(_kind_of(cls))  # whose names are not taken
        names = _aliases[_kind_of(cls)]
        for alias in (own, snake_case(own), *vars(cls).get("aliases", ())):
            names.setdefault(alias, f"{package}>{own}")
        cls._registered_name = f"{package}>{own}"  # type: ignore[attr-defined]
        return cls

    return decorate


def kinds() -> set[str]:
    """Return the kinds with registered entries."""
    import_parts()
    return {kind for kind, table in _kinds.items() if table}


def entries(kind: str) -> dict[str, type]:
    """Return every registered class of a kind by its name, in the order of their modules: that in
    which these were imported depends on what has been used."""
    import_parts(kind)
    further = {name: cls for (of, name), cls in _further.get().items() if of == kind}
    named = (_named.get() or {}).items()
    further |= {f"Custom>{own}": cls for (of, own), cls in named if of == kind}
    found = {**_kinds.get(kind, {}), **further}
    return dict(sorted(found.items(), key=lambda item: str(item[1].__module__)))


def lookup(kind: str, name: str) -> type:
    """Return the class of ``kind`` registered as ``name`` (class name, snake_case or alias).

    Raises:
        ValueError: naming the closest known name.
    """
    if (further := _given(kind, name)) is not None:
        return further
    if (maker := _of_functions.get(kind)) is not None and maker.__name__ == name:
        return maker
    names = _names(kind, name)
    if kind == "optimizer" and name not in names:
        name = name.lower()  # as in Keras, only optimizers are case-insensitive: "RMSProp"
    if name not in names:
        known = sorted({n for n in names if n == snake_case(n)})
        spelt = {n.replace("_", "") for n in known if "_" in n}  # also written without
        known = [n for n in known if n not in spelt]
        some = f"Known: {first_few(known, MOST_SHOWN)}"
        if len(known) > MOST_SHOWN and (similar := nearest(name, known)):
            some = f"Similar, of {len(known)}: {', '.join(similar)}"
        if (own := name.removeprefix("Custom>")) != name:
            some = f"Pass custom_objects={{{own!r}: {own}}}, or register it before loading"
        raise ValueError(f"Unknown {kind}: {name!r}.{closest(name, known)} {some}.")
    return _kinds[kind][names[name]]


def _given(kind: str, name: str) -> Any:
    """Return what the context, or else the process, knows by a name beside registered parts."""
    own = name.removeprefix("Custom>")
    named = (_named.get() or {}).get((kind, own)) if own != name else None
    found = named or _further.get().get((kind, name)) or global_objects.get(own)
    return found if found is not None and _kind_of(found) == kind else None


def with_further(classes: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return what lookups find in this context, and these classes and functions.

    Raises:
        ValueError: for an object that is neither a class with a ``get_config`` nor a function.
    """
    further = dict(_further.get())
    for name, cls in classes.items():
        if not (kind := _kind_of(cls)):
            raise ValueError(
                f"custom_objects[{name!r}] is neither a function nor a class with a "
                f"get_config: {cls!r}."
            )
        further[kind, f"Custom>{name}"] = further[kind, name] = cls
    return further


def known(further: Mapping[tuple[str, str], Any]) -> AbstractContextManager[None]:
    """A ``with`` block in which lookups of this thread find what `with_further` returned."""
    return set_within(_further, further)


def also(classes: Mapping[str, Any], work: Callable[[], Result]) -> Result:
    """Return ``work()``, during which lookups also find these classes and functions by name.

    Only ``work`` finds them: other threads do not, nor do later calls, even if this one is
    interrupted.

    Raises:
        ValueError: for an object that is not a class of gpunn's kinds or a function.

    >>> from gpunn.layers import Dense
    >>> also({"Thick": Dense}, lambda: lookup("layer", "Thick")).__name__
    'Dense'
    """
    context = copy_context()  # leaving it needs no `finally`, which an interrupt could skip
    context.run(_further.set, with_further(classes))
    return context.run(work)


def get(kind: str, identifier: Any) -> Any:
    """Return an object of ``kind`` for a name, a config dictionary, a class, an object or a
    function.

    Raises:
        ValueError: for an unknown name.
        TypeError: for any other type.
    """
    if isinstance(identifier, str):
        if _knows(kind, identifier) or not _knows(FUNCTION, identifier):
            return lookup(kind, identifier)()
        identifier = lookup(FUNCTION, identifier)
    if isinstance(identifier, dict):
        return deserialize(identifier, kind)
    if isinstance(identifier, type) and getattr(identifier, "_kind", None) == kind:
        return identifier()
    if getattr(identifier, "_kind", None) == kind:
        return identifier
    maker = _of_functions.get(kind)
    if maker and callable(identifier) and not isinstance(identifier, (type, Entry)):
        return maker(identifier)
    a = "an" if kind[0] in "aeiou" else "a"
    of_layer = kind == "activation" and getattr(identifier, "_kind", None) == "layer"
    hint = " Put the layer after this one." if of_layer else ""
    raise TypeError(
        f"{kind} must be a name, {a} {kind} or its configuration; got {identifier!r}.{hint}"
    )


def _knows(kind: str, name: str) -> bool:
    found = name in _aliases.get(kind, ()) or _given(kind, name) is not None
    return found or name in _names(kind, name)


def _names(kind: str, name: str) -> dict[str, str]:
    """Return the names and aliases of a kind: ``name`` among them, if any part has it."""
    for imported in (name, None):
        if name not in _aliases.get(kind, {}):
            import_parts(kind, imported)
    return _aliases.get(kind, {})


def name_of(kind: str, part: Any) -> str | None:
    """Return the name of ``part``, a class or a function, in files; None if no file can name it.

    One that is not registered is ``Custom>Name``: loading it takes ``custom_objects``.

    Raises:
        ValueError: inside `naming`, for a second such part of the same name.
    """
    own = getattr(part, "__name__", "")
    name = getattr(part, "__dict__", {}).get("_registered_name", own)
    if part is _of_functions.get(kind):
        return name
    if (_given(kind, name) or _kinds.get(kind, {}).get(name)) is part:
        return name
    stored = f"Custom>{own}"
    taken = stored in _kinds.get(kind, {}) or name != own or is_framework(part)
    if taken or _kind_of(part) != kind or not own.isidentifier():
        return None
    if (named := _named.get()) is not None and named.setdefault((kind, own), part) is not part:
        raise ValueError(
            f"Two parts that are not registered have the name {own!r}: a file could not tell them "
            f"apart. Rename one, or register it: @gpunn.saving.register_serializable()."
        )
    return stored


def naming(work: Callable[[], Result]) -> Result:
    """Return ``work()``, which describes one file: what it names must have different names, and is
    found by these."""
    context = copy_context()
    context.run(_named.set, {})
    return context.run(work)


def named(work: Callable[[], Result]) -> Result:
    """Return ``work()``, which describes a part of the file that `naming` describes, or else a part
    by itself."""
    return naming(work) if _named.get() is None else work()


SHARED_ID = "shared_object_id"
BUILD = "build_config"
"""The entry of a layer whose class says itself what it is built from."""
BUILDS = "get_build_config", "build_from_config"
"""The key, as in Keras, of the number of a layer that several parts of one description share."""


class _Shared:
    """The layers and models of one description."""

    def __init__(self) -> None:
        self.documents: dict[int, tuple[Entry, dict[str, Any]]] = {}  # by identity
        self.made: dict[Any, tuple[dict[str, Any], Any]] = {}  # by number
        self.count = 0

    def number(self, entry: Entry, document: dict[str, Any]) -> None:
        """Give the descriptions of one layer the same number."""
        _, first = self.documents.setdefault(id(entry), (entry, document))
        if first is not document:
            if SHARED_ID not in first:
                self.count += 1
                first[SHARED_ID] = self.count
            document[SHARED_ID] = first[SHARED_ID]

    def restored(self, document: dict[str, Any], make: Callable[[], Any]) -> Any:
        """Return the part that a number stands for, which is made once.

        Raises:
            ValueError: for a number of another type, and for one of parts of different names.
        """
        number = document.get(SHARED_ID)
        if number is None:
            return make()
        if not isinstance(number, int):
            raise ValueError(f"{SHARED_ID!r} must be an integer; got {number!r}.")
        if number not in self.made:
            self.made[number] = document, make()
        first, part = self.made[number]
        if _named_as(first) != _named_as(document):
            raise ValueError(f"Two different parts have the {SHARED_ID} {number}.")
        return part


def _named_as(document: dict[str, Any]) -> tuple[Any, Any]:
    return document["class_name"], document["config"].get("name")


def sharing(method: Callable[..., Result]) -> Callable[..., Result]:
    """Decorator of a function that describes or restores a part: in the outermost call, one layer
    that several parts hold is one layer again."""

    @functools.wraps(method)
    def scoped(*args: Any, **kwargs: Any) -> Result:
        if _shared.get() is not None:
            return method(*args, **kwargs)
        context = copy_context()  # leaving it needs no `finally`, which an interrupt could skip
        context.run(_shared.set, _Shared())
        return context.run(method, *args, **kwargs)

    return scoped


def restored_once(document: dict[str, Any], make: Callable[[], Result]) -> Result:
    """Return ``make()``, or what an earlier description of the same layer has become: see
    `sharing`."""
    shared = _shared.get()
    return make() if shared is None else shared.restored(document, make)


def kind_of(argument: str, name: str) -> str:
    """Return the kind of the part of this class name that an argument holds.

    >>> kind_of("kernel_initializer", "Zeros"), kind_of("cell", "LSTMCell")
    ('initializer', 'layer')
    """
    import_parts()
    for kind in ("initializer", "regularizer", "constraint", "activation", "optimizer", "metric"):
        if argument.endswith((kind, f"{kind}s")):
            return kind
    kinds: tuple[str, ...] = ("layer", "loss", "metric", "schedule", "model", "optimizer")
    kinds = ("schedule",) if argument == "learning_rate" else kinds
    for kind in (*kinds, "initializer", "regularizer", "constraint", "activation"):
        if _knows(kind, name):
            return kind
    if _knows(OBJECT, name):
        return OBJECT
    raise ValueError(f"the argument {argument!r} holds an unknown part {name!r}.")


def is_model(name: Any) -> bool:
    """Whether a layer of a graph of this class name is a model: a name that ``custom_objects`` give
    to a layer is none, whatever else is registered."""
    of = (_given(kind, name) for kind in ("layer", "model")) if isinstance(name, str) else ()
    given = next((part for part in of if part is not None), None)
    return name in entries("model") if given is None else _kind_of(given) == "model"


KIND = "kind"
"""The key of a part's kind in a description, where `kind_of` would find another part."""


def described(value: Any, argument: str = "") -> Any:
    """Return a constructor's argument, in which parts are replaced by their descriptions."""

    def of_part(x: Any) -> Any:
        return with_kind(serialize(x), argument, _kind_of(type(x))) if is_part(x) else x

    return replaced(of_part, value)


def with_kind(document: Any, argument: str, kind: str) -> Any:
    """Return a description with its kind, if an argument of this name would not show it."""
    with suppress(ValueError):  # of a part that no argument is known to hold
        if kind_of(argument, document["class_name"]) == kind:
            return document
    return document | {KIND: kind}


def all_described(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor arguments, in which parts are replaced by their descriptions."""
    return {name: described(value, name) for name, value in given.items()}


def is_description(x: Any) -> bool:
    """Whether a value has the form of what `serialize` returns."""
    keys = {*x} if isinstance(x, dict) and isinstance(x.get(KIND, ""), str) else set()
    return keys - {SHARED_ID, KIND, BUILD} == {"class_name", "config"}


def with_parts(cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments in a configuration, with parts in place of descriptions.

    A class with a `get_config` of its own, and a built-in one, makes its parts itself.
    """
    own = issubclass(cls, Entry) and overrides.replaces(cls, "get_config")
    if is_framework(cls) or own:
        return dict(config)

    def made(argument: str) -> Callable[[Any], Any]:
        def of_description(x: Any) -> Any:
            if not is_description(x):
                return x
            return deserialize(x, x.get(KIND) or kind_of(argument, x["class_name"]))

        return of_description

    return {key: replaced(made(key), value, is_description) for key, value in config.items()}


@sharing
def serialize(entry: Any) -> dict[str, Any] | None:
    """Return ``{"class_name": ..., "config": ...}``, or None for None."""
    if entry is None:
        return None
    cls = type(entry)
    kind = _kind_of(cls)
    name = name_of(kind, cls)
    config = entry.get_config() if kind != OBJECT else all_described(entry.get_config())
    if name is None:
        raise ValueError(
            f"{cls.__name__} is not registered, so a saved model could not be loaded again. "
            f"Put @gpunn.saving.register_serializable() above the class."
        )
    document = {"class_name": name, "config": config}
    if kind == "layer" and overrides.replaces(cls, *BUILDS):
        built: Any = entry.get_build_config()
        document |= {} if built is None else {BUILD: built}
    if kind in ("layer", "model") and (shared := _shared.get()) is not None:
        shared.number(entry, document)
    return document


@sharing
def deserialize(document: Any, kind: str) -> Any:
    """Return the object described by `serialize`. Uses only registered names and runs no code.

    Raises:
        ValueError: naming the offending entry.
    """
    if document is None:
        return None
    if isinstance(document, dict) and "registered_name" in document:  # in Keras's form
        return import_module("gpunn.saving.keras_format.graphs").part_from_keras(document, kind)
    if not is_description(document) or document.get(KIND, kind) != kind:
        raise ValueError(
            f"A {kind} is stored as {{'class_name': ..., 'config': ...}}; got {document!r}."
        )
    name, config = document["class_name"], document["config"]
    if not isinstance(name, str) or not isinstance(config, dict):
        raise ValueError(f"Bad {kind} entry {document!r}: a name and a dictionary expected.")
    cls: Any = lookup(kind, name)

    def make() -> Any:
        try:
            if kind == OBJECT:
                given = with_parts(cls, config)
                return cls.from_config(given) if hasattr(cls, "from_config") else cls(**given)
            made = cls.from_config(dict(config))
            if BUILD in document and overrides.replaces(cls, *BUILDS):
                made.build_from_config(document[BUILD])
            return made
        except TypeError as error:
            raise ValueError(
                f"The {kind} {name!r} does not accept its stored config: {error}"
            ) from None

    return restored_once(document, make)
