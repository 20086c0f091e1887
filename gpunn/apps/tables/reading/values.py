"""The values of a data frame: as the cells of a table, and what their type says of them."""

from __future__ import annotations

from typing import Any

from gpunn.common.numeric import is_missing
from gpunn.common.numeric.columns import objects_of, type_of

_TEXTS = ("str", "large_string", "utf8", "binary", "large_binary", "fixed_size_binary")
_NUMBERS = ("int", "uint", "float", "double", "halffloat")


def told_by_type(column: Any) -> str:
    """Return what a column says by its type that it holds: ``"number"``, ``"category"`` or
    ``"string"``; ``""`` if it says nothing."""
    dtype = type_of(column)
    kind, name = getattr(dtype, "kind", ""), str(dtype).lower()
    if name.startswith(("categor", "enum", "dictionary")):
        return "category"
    if name == "object":  # as pandas held strings before its version 3
        values = [value for value in objects_of(column) if not is_missing(value)]
        return "string" if values and all(isinstance(v, (str, bytes)) for v in values) else ""
    if name.startswith(_TEXTS):
        return "string"
    return "number" if (kind in "iuf" if kind else name.startswith(_NUMBERS)) else ""


def text_of(value: Any) -> str:
    """Return a value as it would stand in a CSV file; empty if it is missing.

    >>> text_of(1.5), text_of(2.0), text_of(b"oak"), text_of(None), text_of(float("nan"))
    ('1.5', '2', 'oak', '', '')
    """
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
