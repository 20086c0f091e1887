"""Frames: tables whose columns have names, of pandas, polars, Arrow and their kin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def columns_of(x: Any) -> list[Any] | None:
    """The names of the columns of a frame, each of which ``x[name]`` is; None for what is none.

    >>> columns_of({"a": [1]}) is None
    True
    """
    if isinstance(x, Mapping) or not hasattr(x, "__getitem__"):
        return None
    names = getattr(x, "column_names", None)  # Arrow, whose ``columns`` are the columns themselves
    names = getattr(x, "columns", None) if names is None else names
    return None if names is None else list(names)
