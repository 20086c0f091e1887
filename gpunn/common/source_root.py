"""The folders that belong to this copy of the package, and not to another copy."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def source_root(name: str) -> Path:
    """``kernels/`` or ``benchmarks/`` of the package that asks.

    It is beside the package in a source tree; ``kernels/`` is in the package where that is
    installed, ``benchmarks/`` is not installed. It is not imported by name: with two copies of
    gpunn, a path before an editable installation say, that finds the other copy's.

    Raises:
        FileNotFoundError: if this copy has none; it says where it was looked for.

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
        f"tree with a pyproject.toml, {beside}. Install gpunn anew, or copy the whole tree."
    )
