"""How stable a public name is.

A module or class names what may still change in ``__experimental__``, a frozenset: names that it
defines or offers, whose attributes are then experimental too. All others are stable.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def stability_of(name: str) -> str:
    """Return ``"stable"`` or ``"experimental"`` for a public name.

    Raises:
        AttributeError: if there is no such name.

    >>> stability_of("gpunn.layers.Dense"), stability_of("gpunn.distribution.size")
    ('stable', 'experimental')
    >>> stability_of("gpunn.Model.fit"), stability_of("gpunn.callbacks.OptunaPruning")
    ('stable', 'experimental')
    """
    first, *rest = name.split(".")
    owner: Any = import_module(first)
    for part in rest:
        found = getattr(owner, part)
        home = sys.modules.get(getattr(found, "__module__", None) or "")
        owners = owner.__mro__ if isinstance(owner, type) else (owner, home)
        if any(part in vars(one).get("__experimental__", ()) for one in owners if one is not None):
            return "experimental"
        owner = found
    return "stable"
