"""Constructor arguments, declared once as attributes of the class.

``__init__`` is generated from them, as for a dataclass. Each value goes through the check of its
field, which receives the argument's name and value and returns the value of the attribute;
then ``__post_init__`` is called, if there is one.

A class's own arguments come first, in order, then its bases' arguments that it does not redeclare.
With a type and a default, ``name: str = "mine"``, an argument of a base gets a new position and
default; without a type, ``name = "mine"``, only a new default. It keeps its check unless another is
given. ``after`` puts an argument behind one of a base. Of several bases, the arguments of the first
come first, and hold where both have one of a name.

Type checkers follow the rules of dataclasses, by which arguments of a base come before all of
the class. An argument that comes after them at run time is ``placed``: type checkers accept it
only by name.

A class may have checks of all arguments whose names end alike, ``_checks``: ``Layer``'s make an
initializer of every ``..._initializer``.

>>> from typing import Any
>>> from gpunn.common.arguments import check_fraction
>>> from gpunn.optimizers import Optimizer
>>> class _Partial(Optimizer):
...     learning_rate: Any = 0.01
...     part: float = field(default=0.5, check=check_fraction)
>>> _Partial(0.1, part=1, clipnorm=2.0).part
1.0
>>> _Partial(size=1)  # doctest: +ELLIPSIS
Traceback (most recent call last):
TypeError: _Partial.__init__() got an unexpected keyword argument 'size'. It takes ...
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_VARKEYWORDS, Parameter, isfunction
from operator import attrgetter
from typing import Any, NamedTuple, dataclass_transform

from .importing.light_dataclass import constructor
from .overrides import is_framework
from .signatures import annotations_of, suggesting


class _Field(NamedTuple):
    default: Any
    check: Callable[[str, Any], Any] | None
    kw_only: bool
    managed: property | bool
    attribute: str | None
    after: str | None = None


def field(
    *,
    default: Any = Parameter.empty,
    check: Callable[[str, Any], Any] | None = None,
    kw_only: bool = False,
    placed: bool = False,
    managed: property | bool = False,
    attribute: str | None = "",
    after: str | None = None,
) -> Any:
    """Declare an argument of the constructor and its attribute.

    Args:
        default: Default value; without one the argument is required.
        check: Function of the argument's name and value that returns the value to keep.
        kw_only: Whether the argument is keyword-only.
        placed: With ``kw_only``, whether it may still be passed by position, after the arguments
            of subclasses: then only type checkers require its name.
        managed: A property that stores the value, if reading or setting it later does more; True
            for a property that also checks values set later.
        attribute: Name of the attribute, if it differs from the argument; None to check the
            value without keeping it.
        after: Name of the argument of a base that it follows.
    """
    return _Field(default, check, kw_only and not placed, managed, attribute, after)


def rebuilt_with(entry: Any, name: str, value: Any) -> bool:
    """Rebuild an object of a class with `_rebuilt_when_set` with a changed argument.

    Does nothing if no field declares ``name``, or if the object is not initialized yet. Returns
    whether it was rebuilt.
    """
    fields: dict[str, _Field] = getattr(type(entry).__init__, "fields", {})
    if name not in fields or "_is_made" not in vars(entry):
        return False
    arguments = {name: getattr(entry, of.attribute or name) for name, of in fields.items()}
    made = type(entry)(**{**arguments, name: value})
    object.__setattr__(entry, "__dict__", vars(made))  # in one step, for safety from interrupts
    return True


def checked(entry: Any, name: str, value: Any) -> Any:
    """Return the value for an attribute that is set later, as the constructor would check it.

    >>> from gpunn.layers import Dense
    >>> layer = Dense(2, "relu")
    >>> layer.activation = None
    >>> layer.activation
    Linear()
    """
    for cls in type(entry).__mro__ if name[:1] != "_" else ():  # one by hand has no fields
        of = getattr(vars(cls).get("__init__"), "fields", {}).get(name)
        if of is not None:
            return value if of.check is None or of.attribute else of.check(name, value)
    return value


def add_defaults(entry: Any) -> None:
    """Give an object from a pickle of an earlier version the arguments that it lacks."""
    fields: dict[str, _Field] = getattr(type(entry).__init__, "fields", {})
    for name, of in fields.items():
        known = of.default is Parameter.empty or of.attribute is None
        if not known and not hasattr(entry, of.attribute or name):
            value = of.check(name, of.default) if of.check else of.default
            setattr(entry, of.attribute or name, value)


@dataclass_transform(field_specifiers=(field,))
class HasFields:
    """Second base class of a kind whose annotated attributes are arguments, for type checkers."""


def add_constructor(cls: Any) -> None:
    """Generate ``__init__`` of ``cls`` from its fields, if it declares any.

    Raises:
        TypeError: if its existing ``__init__`` is handwritten.
    """
    inherited: dict[str, _Field] = {}
    for parent in reversed(cls.__mro__[1:] if hasattr(cls.__init__, "fields") else ()):
        declared = getattr(vars(parent).get("__init__"), "fields", {})
        inherited = {**declared, **inherited, **declared}
    checks: dict[str, Any] = getattr(cls, "_checks", {})
    own: dict[str, _Field] = {}
    defaults: dict[str, _Field] = {}
    typed = annotations_of(cls)  # Python 3.14 stores them in the class, whose attributes are next
    for name, value in vars(cls).items():
        base = inherited.get(name)
        if isinstance(value, _Field):
            ends = (check for end, check in checks.items() if name.endswith(end))
            check = value.check or (base.check if base else next(ends, None))
            own[name] = value._replace(check=check)
        elif base and name in typed:
            own[name] = base._replace(default=value, kw_only=False, after=None)
        elif base and not hasattr(value, "__get__"):  # else a method or a property
            defaults[name] = base._replace(default=value)
    if not own and not defaults:
        made = vars(cls).get("__init__")  # by hand
        if is_framework(cls) and isfunction(made) and not made.__code__.co_flags & CO_VARKEYWORDS:
            cls.__init__ = suggesting(made)
        return
    if not (inherited or cls.__init__ is object.__init__):
        raise TypeError(
            f"{cls.__name__} has fields ({', '.join(own)}), but {cls.__init__.__qualname__} is "
            f"written by hand and would not be called."
        )
    for name, of in (own | defaults).items():
        if of.managed and name not in inherited:
            setattr(cls, name, _checked(name, of) if of.managed is True else of.managed)
        else:
            delattr(cls, name)
    kept = {name: of for name, of in inherited.items() if name not in own}
    order = [name for name in own | kept if name not in own or not own[name].after]
    for name in own:
        if name not in order:
            order.insert(order.index(own[name].after or "") + 1, name)
    found = own | kept | defaults
    cls.__init__ = suggesting(_constructor(cls, {name: found[name] for name in order}))


def _checked(name: str, of: _Field) -> property:
    """Return a property for ``name`` that is checked when it is set."""

    def put(self: Any, value: Any) -> None:
        self.__dict__[f"_{name}"] = of.check(name, value) if of.check else value

    return property(attrgetter(f"_{name}"), put)


def _constructor(cls: type, fields: dict[str, _Field]) -> Any:
    """Return an ``__init__(self, first, second=..., *, third=...)`` that sets these attributes."""

    kept = [(n, of.check, n if of.attribute == "" else of.attribute) for n, of in fields.items()]
    fixed = {n for n, of in fields.items() if getattr(of.check, "keeps_none", False)}

    def set_fields(self: Any, given: dict[str, Any]) -> None:
        kind = type(self)
        # Nobody knows a new object: what notes changes and checks later ones has nothing to do.
        is_new = not vars(self) and is_framework(kind.__setattr__)
        for name, check, attribute in kept:
            value = given[name]
            if check and not (value is None and name in fixed):
                value = check(name, value)
            if attribute is not None:
                plain = is_new and not (callable(value) and hasattr(kind, attribute))
                (object.__setattr__ if plain else setattr)(self, attribute, value)
        if hasattr(self, "__post_init__"):
            self.__post_init__()
        if getattr(cls, "_rebuilt_when_set", False):
            vars(self)["_is_made"] = True

    made = constructor(
        cls, set_fields, {name: of.default for name, of in fields.items()},
        [name for name, of in fields.items() if of.kw_only],
        {
            name: annotation
            for base in reversed(cls.__mro__)
            for name, annotation in annotations_of(base).items()
            if name in fields
        },
    )
    made.fields = fields
    return made
