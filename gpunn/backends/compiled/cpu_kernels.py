"""The compiled CPU kernels: which of the modules suits this CPU, or why there is none.

``kernels/cpu/`` is built several times, for instruction sets that one family of CPUs has
or lacks, or once, for the CPU of a source tree; see ``setup.py``. A source tree in which nothing
was built, and an installation without a compiler, have none: then the NumPy backend does the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

INSTRUCTIONS = ("baseline", "avx2", "avx512")


def library() -> Any:
    """The best module for this CPU, or that of the instruction set in ``GPUNN_INSTRUCTIONS``.

    Raises:
        RuntimeError: if there is none; it says why.
    """
    return load(os.environ.get("GPUNN_INSTRUCTIONS") or None)


def chosen() -> str:
    """The instruction set that `library` was built for; raises as that does."""
    name: str = library().__name__
    return name.rpartition("_")[2]


def available() -> tuple[str, ...]:
    """The instruction sets that this CPU has and that were built for, the best one last.

    Raises:
        RuntimeError: if there is none; it says why.
    """
    usable = tuple(name for name in of_this_cpu() if is_built(name))
    others = [name for name in INSTRUCTIONS if is_built(name)]
    if not usable and others:
        raise RuntimeError(
            f"The compiled kernels were built for {', '.join(others)}, which this CPU does not "
            f"have: install gpunn again."
        )
    if not usable:
        said = next((words for name, words in not_built().items() if name != "chooser"), "")
        said = said and f" When it was installed, the compiler said: {_the_error_in(said)}"
        raise RuntimeError(
            f"The compiled kernels were not built: install a C++ compiler, then gpunn again.{said}"
        )
    return usable


def not_built() -> dict[str, str]:
    """What the compiler said when gpunn was installed, by what could not be compiled."""
    try:
        said = json.loads(Path(__file__).with_name("not_built.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(words) for name, words in said.items()}


def _the_error_in(said: str) -> str:
    """The first line with an error, or the last line.

    >>> _the_error_in("In file included from a.cpp:3:\\nb.hpp:1: fatal error: Python.h\\nend")
    'b.hpp:1: fatal error: Python.h'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["nothing"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])


@cache
def of_this_cpu() -> tuple[str, ...]:
    """The instruction sets that this CPU has, built for or not."""
    best = module("chooser").best() if is_built("chooser") else "baseline"
    return INSTRUCTIONS[: INSTRUCTIONS.index(best) + 1]


@cache
def load(asked: str | None) -> Any:
    """The module of an instruction set, or the best one; raises as `library` does."""
    if asked not in (None, *INSTRUCTIONS):
        raise RuntimeError(
            f"GPUNN_INSTRUCTIONS must be one of {', '.join(INSTRUCTIONS)}; got {asked!r}."
        )
    usable = available()
    if asked is not None and asked not in usable:
        reason = "This CPU does not have them" if is_built(asked) else "They were not built"
        raise RuntimeError(
            f"GPUNN_INSTRUCTIONS asks for {asked}. {reason}: there is {', '.join(usable)}."
        )
    return module(asked or usable[-1])


def is_built(which: str) -> bool:
    """Whether there is a module of this instruction set, or of the chooser."""
    return importlib.util.find_spec(_name(which)) is not None


def module(which: str) -> Any:
    """The module of an instruction set, or the chooser."""
    try:
        return importlib.import_module(_name(which))
    except ImportError as error:
        raise RuntimeError(f"The compiled kernels do not load: {error}.") from error


def _name(which: str) -> str:
    return f"{__package__}._kernels_{which}"


def why_not() -> str | None:
    """Why the compiled kernels cannot be used; None if they can.

    >>> why_not() is None or "compiled kernels" in why_not()
    True
    """
    try:
        library()
    except RuntimeError as error:
        return str(error)
    return None
