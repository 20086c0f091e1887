"""Cases that a run leaves out anyway, those marked ``more`` or ``gpu``, are not even made.

They are a third of all, and each process of a run would make them. Nor is a module without an
example looked through for examples: that takes each process half of its time before the first test.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest.doctest import DoctestModule

from gpunn.backends.cupy.driver.gpu import why_not as why_no_gpu

from . import scope


def left_out(config: pytest.Config) -> frozenset[str]:
    """Return the marks of tests that this run leaves out. Whoever names one is told so instead."""
    if not (scope.is_whole(config) or config.getoption("area")):
        return frozenset()
    marks = set() if scope.is_more(config) else {"more"}
    if not has_gpu():
        marks.add("gpu")
    return frozenset(marks)


def has_gpu() -> bool:
    """Whether tests marked ``gpu`` run."""
    return os.environ.get("GPUNN_BACKEND") == "cupy" or why_no_gpu() is None


def pytest_configure(config: pytest.Config) -> None:  # after scope's, which comes first
    config.stash[LEFT_OUT] = left_out(config)
    config.stash[scope.FILES_OF_A_GPU] = set()


LEFT_OUT = pytest.StashKey[frozenset[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[Any], list[Any]]:
    """Collect doctests of files that have some."""
    found = yield
    modules = [each for each in found if isinstance(each, DoctestModule)]
    if modules and b">>>" not in file_path.read_bytes():
        return [each for each in found if each not in modules]
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> list[Any] | None:
    """Make no item of a function or class that is marked so."""
    marks = obj.__dict__.get("pytestmark", ()) if callable(obj) and hasattr(obj, "__dict__") else ()
    names = {mark.name for mark in marks} if isinstance(marks, list) else set()
    if "gpu" in names:
        _note_file_of_a_gpu(collector)
    return [] if names & collector.config.stash[LEFT_OUT] else None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Leave out parameters that are marked so, unless all of a function's are."""
    parametrize, left_out = metafunc.parametrize, metafunc.config.stash[LEFT_OUT]

    def of_this_run(
        argnames: Any, argvalues: Any, *others: Any, ids: Any = None, **options: Any
    ) -> None:
        values = [*argvalues]
        if any("gpu" in _names(value) for value in values):
            _note_file_of_a_gpu(metafunc.definition)
        kept = [not _names(value) & left_out for value in values]
        if any(kept) and not all(kept):
            if ids is not None and not callable(ids):
                ids = [each for each, keep in zip(ids, kept, strict=True) if keep]
            values = [value for value, keep in zip(values, kept, strict=True) if keep]
        parametrize(argnames, values, *others, ids=ids, **options)

    metafunc.parametrize = of_this_run  # type: ignore[method-assign]


def _note_file_of_a_gpu(node: Any) -> None:
    """Note a file of which cases may not be made, so that none is forgotten."""
    node.config.stash[scope.FILES_OF_A_GPU].add(node.nodeid.partition("::")[0])


def _names(value: Any) -> set[str]:
    """Return the names of a parameter's marks; only what `pytest.param` returns has some."""
    return {mark.name for mark in value.marks} if hasattr(value, "marks") else set()
