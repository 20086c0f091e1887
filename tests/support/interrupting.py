"""Ctrl-C at a chosen line, and word of a function that is called, by a trace function: it knows of
each line before it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of a file that is about to be run, or from which a function returns."""

    file: str
    line: int
    event: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}, {self.event}"


def places(
    work: Callable[[], Any], files: Container[str], events: tuple[str, ...] = ("line",)
) -> list[Place]:
    """Those of these files that ``work()`` comes to, each once, in this order."""
    found: dict[Place, None] = {}

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event in events:
            found.setdefault(Place(frame.f_code.co_filename, frame.f_lineno, event))
        return trace

    before = sys.gettrace()  # a debugger's, or coverage's
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return list(found)


def interrupt(work: Callable[[], Any], place: Place) -> None:
    """Run ``work()``, with a KeyboardInterrupt when it comes to this place for the first time."""

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != place.file:
            return None
        if event == place.event and frame.f_lineno == place.line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    # One that comes within a finalizer Python itself reports, and drops.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        sys.unraisablehook = hook


def tell_of_calls(work: Callable[[], Any], of: Callable[..., Any], tell: Callable[[], Any]) -> None:
    """Run ``work()``, with a call of ``tell()`` whenever it calls the function ``of``."""

    def trace(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code is of.__code__:
            tell()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
