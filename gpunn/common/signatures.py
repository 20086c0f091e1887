"""Signatures and annotations of user-defined code, unevaluated.

From Python 3.14 on, annotations are evaluated on access, and a name imported only for type
checkers is then an error. gpunn needs the names of annotations, never their values: those that
cannot be evaluated stay forward references.

>>> list(signature(lambda x, training=None: x).parameters)
['x', 'training']
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from numbers import Number
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary
from weakref import ref as weak

import numpy as np

from .names import closest, first_few, shorten
from .nested import replaced
from .overrides import is_framework, replaces


class _ABSENT:
    """Stands for what is not there; a class, as copies and pickles keep its identity."""


class _HELD:
    """Stands for the attribute of an argument that gpunn's own classes look after."""


if sys.version_info >= (3, 14):
    import annotationlib

    _WRITTEN = {"annotation_format": annotationlib.Format.FORWARDREF}

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class itself, by name, without its bases'."""
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)

else:
    _WRITTEN: dict[str, Any] = {}

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class itself, by name, without its bases'."""
        return inspect.get_annotations(cls)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, method or class; raises as `inspect.signature` does."""
    return inspect.signature(function, **_WRITTEN)


def suggesting(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method or function whose error about an unknown keyword names the one that is meant,
    as Python does from 3.13 on. Its traceback of Ctrl-C is short.

    >>> suggesting(lambda self, epochs=1: None)(0, epoch=5)
    Traceback (most recent call last):
    TypeError: <lambda>() got an unexpected keyword argument 'epoch'. Did you mean 'epochs'?
    """
    code, made = method.__code__, method.__name__ == "__init__"
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = [name for name in names if name != "self"]
    needed = code.co_varnames[1 : code.co_argcount - len(method.__defaults__ or ())]

    def explained(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        words = f"{type(args[0]).__name__}.__init__" if made else method.__name__
        for name in kwargs:
            if name not in known:
                hint = closest(name, known) or f" It takes {first_few(known, 8)}."
                return f"{words}() got an unexpected keyword argument {name!r}.{hint}"
        missing = [name for name in needed[len(args) - 1 :] if made and name not in kwargs]
        if not missing:
            return None
        # In Python's words, but with the name of a subclass that inherits the constructor.
        many = f"{len(missing)} required positional argument{'s' * (len(missing) > 1)}"
        return f"{words}() missing {many}: {' and '.join(map(repr, missing))}"

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except KeyboardInterrupt as stop:
            shorten(stop)
            raise
        except TypeError as error:
            trace = error.__traceback__  # with one entry if no line of the method has run
            message = explained(args, kwargs) if trace and not trace.tb_next else None
            if message is None:
                raise
        raise TypeError(message)

    return called


def required(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a call cannot leave out.

    >>> required(lambda x, y, training=None, *more: x)
    ['x', 'y']
    """
    empty, optional = inspect.Parameter.empty, ("VAR_POSITIONAL", "VAR_KEYWORD")
    parameters = signature(function).parameters.values()
    return [p.name for p in parameters if p.default is empty and p.kind.name not in optional]


def arguments(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return what a class's constructor takes, by name. ``**options`` stands for what the
    constructor of the next base takes besides.

    >>> class Base:
    ...     def __init__(self, name=None):
    ...         self.name = name
    >>> class Scaled(Base):
    ...     def __init__(self, scale, **options):
    ...         super().__init__(**options)
    ...         self.scale = scale
    >>> list(arguments(Scaled))
    ['scale', 'name']
    """
    # inspect takes long, and every copy and file of a model asks for the class of each part.
    made = [
        weak(vars(base)[name])
        for base in cls.__mro__
        for name in ("__new__", "__init__")
        if isinstance(vars(base).get(name), FunctionType)
    ]
    before = _known.get(cls)
    if before is None or before[0] != made:
        before = _known[cls] = made, _arguments(cls)
    return before[1]


_known: WeakKeyDictionary[type, tuple[list[Any], dict[str, inspect.Parameter]]] = (
    WeakKeyDictionary()
)


def _arguments(cls: type) -> dict[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    bases = [base for base in cls.__mro__[1:-1] if "__init__" in vars(base)]  # without object
    for base in (cls, *bases):
        made: Any = base
        if made.__init__ is object.__init__ and made.__new__ is object.__new__:
            break  # inspect would import and run a tokenizer to find that it takes nothing
        parameters = signature(base).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found |= {p.name: p for p in named if p.name not in found}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


# -- what a constructor was given

GIVEN = "_given"
"""The attribute with the `Given` of an object."""


class Given:
    """What a user's constructor was given, where no attribute of the argument's name holds it.

    Attributes:
        values: By name, the argument, or `_ABSENT` for one that was left out, and what the
            attribute of that name was when the constructor had run.
        unnamed: The name of ``*arguments`` that cannot be given by name.
    """

    def __init__(self) -> None:
        self.values: dict[str, tuple[Any, Any]] = {}
        self.unnamed: str | None = None


def record(cls: Any) -> None:
    """Let the constructor of a user's class record what it was given; see `given_to`."""
    init = cls.__init__
    is_own = isinstance(init, FunctionType) and not is_framework(init)
    if is_own and GIVEN not in vars(init):
        cls.__init__ = recorded(init)


def recorded(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that also records what it was given."""
    shown = signature(init)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = None
        if type(self).__init__ is __init__:  # not called by a subclass's
            # The call below raises Python's own TypeError. Deeply nested values are not recorded.
            with suppress(TypeError, RecursionError):
                # Copied: a constructor may change the lists and dictionaries that it gets.
                given = replaced(lambda x: x, dict(shown.bind(self, *args, **kwargs).arguments))
        init(self, *args, **kwargs)
        if given is not None:
            vars(self)[GIVEN] = _not_held(self, shown, given)

    vars(__init__)[GIVEN] = True
    return __init__


def _not_held(made: Any, shown: inspect.Signature, given: dict[str, Any]) -> Given:
    """Return what a constructor was given and no attribute of this name holds."""
    found, by_name = Given(), dict[str, Any]()
    for p in [*shown.parameters.values()][1:]:
        if p.kind is p.VAR_KEYWORD:
            by_name |= given.get(p.name, {})
        elif p.name in given and p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY):
            found.unnamed = p.name
        elif p.name in given:
            by_name[p.name] = given[p.name]
    known = arguments(type(made))
    for name in known.keys() & _of_user(type(made)) | by_name.keys():
        default = known[name].default if name in known else None
        now = _attribute(made, name)
        if name not in known or not _holds(now, by_name.get(name, default)):
            found.values[name] = by_name.get(name, _ABSENT), now
    return found


def _of_user(cls: type) -> set[str]:
    """Return the names of the arguments of the constructors that a user has written."""
    own = [vars(base).get("__init__") for base in cls.__mro__ if not is_framework(base)]
    return {name for init in own if init is not None for name in signature(init).parameters}


def _attribute(made: Any, name: str) -> Any:
    """Return an attribute, and `_HELD` for one that a property of gpunn computes."""
    definer = next((base for base in type(made).__mro__ if name in vars(base)), object)
    if is_framework(definer) and isinstance(vars(definer).get(name), property):
        return _HELD
    try:
        return getattr(made, name, _ABSENT)
    except Exception:  # of a user's property, before there is what it needs
        return _ABSENT


def _holds(kept: Any, value: Any) -> bool:
    """Whether an attribute says what a constructor was given.

    It does too where the constructor chose it, for None, and where it is the part that a name, a
    function or a configuration stands for.
    """
    if kept is _ABSENT or kept is _HELD:
        return kept is _HELD
    return value is None or _stands_for(value, kept) or _same(kept, value)


def _stands_for(value: Any, part: Any) -> bool:
    """Whether an argument stands for a part, as ``"relu"`` does for an activation.

    A layer that a constructor has made of a word or a number, such as ``Dropout(rate)``, is not
    what that argument stands for.
    """
    cls = type(part)
    if not hasattr(cls, "_kind") or hasattr(type(value), "_kind"):
        return False
    if isinstance(value, Mapping):
        return True
    if cls._kind in ("layer", "model"):
        return False
    if isinstance(value, str):
        plain = value.replace("_", "").lower()
        return plain in {name.replace("_", "").lower() for name in (cls.__name__, *cls.aliases)}
    return callable(value) and not isinstance(value, type)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    plain = (str, bytes, Number, np.generic)
    return isinstance(one, plain) and isinstance(other, plain) and bool(one == other)


def given_to(made: Any, without: Container[str] = ()) -> dict[str, Any]:
    """Return the arguments that create an equal object, by name.

    They are the attributes of these names, where these hold what the constructor was given or have
    been set since, and else what it was given. For a class with a `get_config` of its own they are
    the attributes alone: it adds the others, maybe by other names.

    Raises:
        ValueError: for an argument that is not known.

    >>> class Scaled:
    ...     @recorded
    ...     def __init__(self, scale, unit="m"):
    ...         self.factor, self.unit = 2 * scale, unit
    >>> given_to(Scaled(3))
    {'scale': 3, 'unit': 'm'}
    """
    cls, given = type(made), vars(made).get(GIVEN) or Given()
    is_complete = not replaces(cls, "get_config")
    given = given if is_complete else Given()
    if given.unnamed is not None:
        raise ValueError(
            f"{cls.__name__} was created with *{given.unnamed}, which no configuration names: "
            f"write get_config(self) and from_config(cls, config), so that it can be saved."
        )
    found, known = dict[str, Any](), arguments(cls)
    for name in {**known, **given.values}:
        if name in without:
            continue
        value, before = given.values.get(name, (_ABSENT, _ABSENT))
        if name not in given.values or not _same(_attribute(made, name), before):
            value = getattr(made, name, _ABSENT)  # set since
        if value is not _ABSENT:
            found[name] = value
        elif (
            is_complete
            and name not in given.values
            and known[name].default is inspect.Parameter.empty
            and name in _of_user(cls)
        ):
            raise ValueError(
                f"{cls.__name__} has no attribute {name!r} for the constructor argument of this "
                f"name: set it, or write get_config(self), so that it can be saved."
            )
    return found
