"""The folders that belong to this copy of the package rather than to another copy."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def source_root(name: str) -> Path:
    """Return the folder ``kernels/`` or ``benchmarks/`` of this copy of the package.

    In a source tree it is beside the package. In an installation ``kernels/`` is inside the
    package, and ``benchmarks/`` is not installed. It is not imported by name: with two copies of
    gpunn, such as a path before an editable installation, that would find the other copy's.

    Raises:
        FileNotFoundError: if this copy has none; the message names the searched folders.

    >>> source_root("kernels").name
    'kernels'
    """
    inside, beside = PACKAGE / name, PACKAGE.parent / name
    if inside.is_dir():
        return inside
    if beside.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file():  # a source tree
        return beside
    raise FileNotFoundError(
        f"This copy of gpunn lacks its folder {name}: it is neither {inside} nor, in a source "
        f"tree with a pyproject.toml, {beside}. Reinstall gpunn, or copy the whole tree."
    )
