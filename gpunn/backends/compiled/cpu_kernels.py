"""The compiled CPU kernels: the best module for this CPU, or the reason why there is none.

``kernels/cpu/`` is built several times, for several instruction sets of one family of CPUs,
or once, for the CPU of a source tree; see ``setup.py``. An unbuilt source tree and an
installation without a compiler have none: then the NumPy backend does the same.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

INSTRUCTIONS = ("baseline", "avx2", "avx512")


def library() -> Any:
    """Return the best module for this CPU, or the module that ``GPUNN_INSTRUCTIONS`` names; a
    RuntimeError gives the reason if there is none."""
    return load(os.environ.get("GPUNN_INSTRUCTIONS") or None)


def chosen() -> str:
    """Return the instruction set that `library` was built for; raises the same errors."""
    name: str = library().__name__
    return name.rpartition("_")[2]


def available() -> tuple[str, ...]:
    """Return the instruction sets that this CPU has and that were built, the best one last; a
    RuntimeError gives the reason if there is none."""
    usable = tuple(name for name in of_this_cpu() if is_built(name))
    others = [name for name in INSTRUCTIONS if is_built(name)]
    if not usable and others:
        raise RuntimeError(
            f"The compiled kernels were built for {', '.join(others)}, which this CPU does not "
            f"have: install gpunn again."
        )
    if not usable and (other := hidden()):
        from gpunn.common.source_root import PACKAGE

        raise RuntimeError(
            f"The compiled kernels were not built in {PACKAGE}, which Python imports instead of "
            f"the gpunn installed in {other}: start Python in another folder."
        )
    if not usable:
        output = next((text for name, text in not_built().items() if name != "chooser"), "")
        note = output and f" During installation, the compiler reported: {_the_error_in(output)}"
        raise RuntimeError(
            f"The compiled kernels were not built: install a C++ compiler, then gpunn again.{note}"
        )
    return usable


def hidden() -> str:
    """Return where Python would find another gpunn, with kernels, after this one without; or "".

    In the folder of a clone, Python imports the clone, although gpunn was installed from it.
    """
    for folder in sys.path:
        there = Path(folder or ".", *(__package__ or "").split("."))
        built = PathFinder.find_spec(_name("chooser"), [str(there)])
        if built is not None and not is_built("chooser"):
            return folder
    return ""


def not_built() -> dict[str, str]:
    """Return the compiler's output from the installation, by the module that failed to build."""
    import json  # only for a message

    try:
        found = json.loads(Path(__file__).with_name("not_built.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(text) for name, text in found.items()}


def _the_error_in(output: str) -> str:
    """Return the first line with an error, or the last line.

    >>> _the_error_in("In file included from a.cpp:3:\\nb.hpp:1: fatal error: Python.h\\nend")
    'b.hpp:1: fatal error: Python.h'
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["nothing"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])


@cache
def of_this_cpu() -> tuple[str, ...]:
    """Return the instruction sets that this CPU has, built or not."""
    best = module("chooser").best() if is_built("chooser") else "baseline"
    return INSTRUCTIONS[: INSTRUCTIONS.index(best) + 1]


@cache
def load(asked: str | None) -> Any:
    """Return the module of an instruction set, or the best one; raises as `library` does."""
    if asked not in (None, *INSTRUCTIONS):
        raise RuntimeError(
            f"GPUNN_INSTRUCTIONS must be one of {', '.join(INSTRUCTIONS)}; got {asked!r}."
        )
    usable = available()
    if asked is not None and asked not in usable:
        reason = "this CPU does not have it" if is_built(asked) else "it was not built"
        raise RuntimeError(
            f"GPUNN_INSTRUCTIONS requests {asked}, but {reason}; available: {', '.join(usable)}."
        )
    return module(asked or usable[-1])


def is_built(which: str) -> bool:
    """Return whether the module of this instruction set, or the chooser, was built."""
    # Not `importlib.util.find_spec`: it fails while another thread imports the module.
    return PathFinder.find_spec(_name(which), [str(Path(__file__).parent)]) is not None


def module(which: str) -> Any:
    """Return the module of an instruction set, or the chooser."""
    try:
        return importlib.import_module(_name(which))
    except ImportError as error:
        raise RuntimeError(f"The compiled kernels cannot be loaded: {error}.") from error


def _name(which: str) -> str:
    return f"{__package__}._kernels_{which}"


def why_not() -> str | None:
    """Return why the compiled kernels cannot be used; None if they can."""
    try:
        library()
    except RuntimeError as error:
        return str(error)
    return None
