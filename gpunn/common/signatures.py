"""Signatures and annotations of user-defined code, unevaluated.

From Python 3.14 on, annotations are evaluated on access, and a name imported only for type
checkers is then an error. gpunn needs the names of annotations, never their values: those that
cannot be evaluated stay forward references.

>>> list(signature(lambda x, training=None: x).parameters)
['x', 'training']
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary
from weakref import ref as weak

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
