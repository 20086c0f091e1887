"""Arguments of a constructor, declared once as attributes of the class.

``__init__`` follows from them, as for a dataclass. Each value goes through the check of its
field, which gets the argument's name and the value, and returns what becomes the attribute;
then ``__post_init__`` is called, if there is one.

A class's own arguments come first, in their order, then those of its bases that it does not
declare anew. With a type and a default, ``name: str = "mine"``, an argument of a base gets its
place and that default here; without a type, ``name = "mine"``, that default alone. Unless another
is given, it keeps its check.

Type checkers follow the rules of dataclasses, by which an argument of a base stays before all of
the class. One that comes after them when a program runs is ``placed``: type checkers know it by
its name alone.

>>> from typing import Any
>>> from gpunn.common.arguments import check_fraction
>>> from gpunn.optimizers import Optimizer
>>> class _Partial(Optimizer):
...     learning_rate: Any = 0.01
...     part: float = field(default=0.5, check=check_fraction)
>>> _Partial(0.1, part=1, clipnorm=2.0).part
1.0
>>> _Partial(size=1)
Traceback (most recent call last):
TypeError: _Partial.__init__() got an unexpected keyword argument 'size'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .signatures import annotations_of

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[type], type]:
        """Says that fields make a constructor, to type checkers and editors alone."""
        return lambda cls: cls


@dataclass(frozen=True)
class _Field:
    default: Any
    check: Callable[[str, Any], Any] | None
    kw_only: bool
    managed: property | bool
    attribute: str | None


def field(
    *,
    default: Any = Parameter.empty,
    check: Callable[[str, Any], Any] | None = None,
    kw_only: bool = False,
    placed: bool = False,
    managed: property | bool = False,
    attribute: str | None = "",
) -> Any:
    """An argument of the constructor, and the attribute that it becomes.

    Args:
        default: its value where none is given; without a default one must be given.
        check: called with the argument's name and value, returns the value to keep.
        kw_only: whether the argument is given by its name alone.
        placed: with ``kw_only``, that it may be given by its place all the same, where it comes
            after arguments of subclasses: only type checkers then want its name.
        managed: what keeps the value, where to read it or to set it later does more; True: a
            property, which checks what is set later too.
        attribute: what it becomes, if that is not the attribute of its own name; None: it is
            checked and not kept.
    """
    return _Field(default, check, kw_only and not placed, managed, attribute)


def made_anew_with(entry: Any, name: str, value: Any) -> bool:
    """Make an object of a class that is `made_anew` with another argument, if ``name`` is one that
    a field declares, and the object was made; whether it was."""
    fields: dict[str, _Field] = getattr(type(entry).__init__, "fields", {})
    if name not in fields or "_is_made" not in vars(entry):
        return False
    arguments = {name: getattr(entry, of.attribute or name) for name, of in fields.items()}
    made = type(entry)(**{**arguments, name: value})
    object.__setattr__(entry, "__dict__", vars(made))  # at once, whoever interrupts
    return True


@dataclass_transform(field_specifiers=(field,))
class HasFields:
    """Second base of a kind whose annotated attributes are arguments: for type checkers."""


def add_constructor(cls: Any) -> None:
    """Give ``cls`` the ``__init__`` that its fields make, if it declares any.

    Raises:
        TypeError: if the ``__init__`` that it has is written by hand.
    """
    inherited: dict[str, _Field] = getattr(cls.__init__, "fields", {})
    own: dict[str, _Field] = {}
    defaults: dict[str, _Field] = {}
    typed = annotations_of(cls)  # Python 3.14 keeps them in the class, which is gone through below
    for name, value in vars(cls).items():
        base = inherited.get(name)
        if isinstance(value, _Field):
            own[name] = replace(value, check=value.check or base.check) if base else value
        elif base and name in typed:
            own[name] = replace(base, default=value, kw_only=False)
        elif base and not hasattr(value, "__get__"):  # else a method or a property
            defaults[name] = replace(base, default=value)
    if not own and not defaults:
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
    cls.__init__ = _constructor(cls, own | kept | defaults)


def _checked(name: str, of: _Field) -> property:
    """The attribute ``name``, which is checked when it is set."""

    def put(self: Any, value: Any) -> None:
        self.__dict__[f"_{name}"] = of.check(name, value) if of.check else value

    return property(attrgetter(f"_{name}"), put)


def _constructor(cls: type, fields: dict[str, _Field]) -> Any:
    """``__init__(self, first, second=..., *, third=...)``, which sets these attributes."""

    def set_fields(self: Any, given: dict[str, Any]) -> None:
        for name, of in fields.items():
            value = of.check(name, given[name]) if of.check else given[name]
            if of.attribute is not None:
                setattr(self, of.attribute or name, value)
        if hasattr(self, "__post_init__"):
            self.__post_init__()
        if getattr(cls, "made_anew", False):
            vars(self)["_is_made"] = True

    names = {
        name: name if of.default is Parameter.empty else f"{name}=fields[{name!r}].default"
        for name, of in fields.items()
    }
    placed = [names[name] for name, of in fields.items() if not of.kw_only]
    named = [names[name] for name, of in fields.items() if of.kw_only]
    arguments = ", ".join(["self", *placed, *(["*"] if named else []), *named])
    # Compiled, as `dataclasses` does, so that Python itself checks a call and words its errors.
    # The name of this module, by which warnings tell our lines from those of a user.
    scope: dict[str, Any] = {"__name__": __name__, "fields": fields, "set_fields": set_fields}
    exec(f"def __init__({arguments}): set_fields(self, locals())", scope)
    made = scope["__init__"]
    made.fields = fields
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    made.__annotations__ = {
        name: annotation
        for base in reversed(cls.__mro__)
        for name, annotation in annotations_of(base).items()
        if name in fields
    }
    made.__annotations__["return"] = "None"
    return made
