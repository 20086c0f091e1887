"""Structures of tensors: the values in them, with their places, and structures with others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.common.nested import replaced


def flat(x: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the values in a structure with their places in it, such as ``[0]['h']``; and the
    structure, with their numbers. None is part of the structure."""
    found: list[tuple[str, Any]] = []

    def place(x: Any, path: str) -> Any:
        if isinstance(x, dict):
            return {key: place(entry, f"{path}[{key!r}]") for key, entry in x.items()}
        if isinstance(x, (list, tuple)):
            entries = [place(entry, f"{path}[{k}]") for k, entry in enumerate(x)]
            return entries if isinstance(x, list) else tuple(entries)
        if x is None:
            return None
        found.append((path, x))
        return len(found) - 1

    return found, place(x, "")


def filled(form: Any, values: Sequence[Any]) -> Any:
    return replaced(lambda number: None if number is None else values[number], form)


def plain(form: Any) -> Any:
    """Return a structure whose tuples are lists, as users exchange these."""
    if isinstance(form, dict):
        return {key: plain(entry) for key, entry in form.items()}
    return [plain(entry) for entry in form] if isinstance(form, (list, tuple)) else form
