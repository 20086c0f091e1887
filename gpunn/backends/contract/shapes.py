"""Shapes as an operation declares them: ``"rows *window channels"``.

A part is a number, the name of a size, or the attribute of an argument (``geometry.window``).
A part with a leading star is any number of sizes. A repeated name is the same size;
``?`` is any size each time.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _parts(shape: str) -> tuple[tuple[bool, str, str], ...]:
    """Return the parts of a shape: (whether it has a star, its name, the attribute or "")."""
    parts = [(part.startswith("*"), *part.lstrip("*").partition(".")) for part in shape.split()]
    return tuple((starred, name, attribute) for starred, name, _, attribute in parts)


@functools.cache
def _lone_sizes(shape: str) -> tuple[tuple[str, int | None], ...] | None:
    """Return (name, size if it is a number) of each part; None if a part is several sizes, or an
    attribute."""
    parts = _parts(shape)
    if any(starred or attribute for starred, _, attribute in parts):
        return None
    return tuple((name, int(name) if name.isdigit() else None) for _, name, _ in parts)


def names_of_sizes(shape: str) -> set[str]:
    """Return the names of the sizes in a shape, without the names of arguments.

    >>> sorted(names_of_sizes("samples *geometry.windows channels"))
    ['channels', 'samples']
    """
    return {name for _, name, attribute in _parts(shape) if not attribute and name != "?"}


def _sizes(shape: str, values: dict[str, Any]) -> list[tuple[bool, str, int | None]]:
    """Return the sizes of a declared shape: (whether it is any number of sizes, name, size if known
    from the values of arguments and sizes)."""
    sizes: list[tuple[bool, str, int | None]] = []
    for starred, name, attribute in _parts(shape):
        if name.isdigit():
            sizes.append((False, name, int(name)))
            continue
        value = getattr(values[name], attribute) if attribute else values.get(name)
        if not starred:
            sizes.append((False, name, value))
        elif value is None:
            sizes.append((True, name, None))
        else:
            sizes += [(False, f"{name}[{i}]", n) for i, n in enumerate(value)]
    return sizes


def fits(declared: str, shape: tuple[int, ...], values: dict[str, Any]) -> bool:
    """Return whether a shape matches its declaration; sizes found are added to ``values``.

    >>> sizes = {}
    >>> fits("rows *window", (8, 3, 5), sizes), sizes
    (True, {'window': (3, 5), 'rows': 8})
    """
    parts = _parts(declared)
    if len(parts) == 1:
        starred, name, attribute = parts[0]
        if starred and not attribute:  # one whole shape, as of element-wise operations
            return bool(values.setdefault(name, tuple(shape)) == tuple(shape))
    lone = _lone_sizes(declared)
    if lone is not None:  # without lists: most arrays
        if len(shape) != len(lone):
            return False
        for (name, number), n in zip(lone, shape, strict=True):
            if number is not None:
                if number != n:
                    return False
            elif name != "?" and values.setdefault(name, n) != n:
                return False
        return True
    sizes = _sizes(declared, values)
    stars = [i for i, (has_star, _, _) in enumerate(sizes) if has_star]
    if stars:
        count = len(shape) - (len(sizes) - 1)
        if count < 0:
            return False
        at = stars[0]
        values[sizes[at][1]] = shape[at : at + count]
        shape = (*shape[:at], *shape[at + count :])
        sizes = [*sizes[:at], *sizes[at + 1 :]]
    if len(shape) != len(sizes):
        return False
    for (_, name, size), n in zip(sizes, shape, strict=True):
        if name == "?":
            continue
        if values.setdefault(name, n) != n if size is None else size != n:
            return False
    return True


def described(shape: str, values: dict[str, Any]) -> str:
    """Format a declared shape for a message, with the known sizes.

    >>> described("rows features", {"rows": 8})
    '(rows=8, features)'
    """
    parts = []
    for starred, name, n in _sizes(shape, values):
        known = "" if n is None or name == str(n) else f"={n}"
        parts.append(("*" if starred else "") + name + known)
    return f"({', '.join(parts)})"
