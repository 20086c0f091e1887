"""Signatures and annotations of what users write, as they wrote them.

From Python 3.14 on annotations are evaluated when somebody asks for them, and a name that is
imported for type checkers alone is an error then. gpunn needs their names, never their values:
what cannot be evaluated stays a forward reference.

>>> list(signature(lambda x, training=None: x).parameters)
['x', 'training']
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

    _WRITTEN = {"annotation_format": annotationlib.Format.FORWARDREF}

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class itself, by name, without those of its bases."""
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)

else:
    _WRITTEN: dict[str, Any] = {}

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class itself, by name, without those of its bases."""
        return inspect.get_annotations(cls)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """What a function, a method or a class is called with; raises as `inspect.signature` does."""
    return inspect.signature(function, **_WRITTEN)
