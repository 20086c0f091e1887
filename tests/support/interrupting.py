"""Ctrl-C at a chosen line, and a callback for calls of a function.

Both use a trace function, which Python calls before each line runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of a file that is about to run, or from which a function returns."""

    file: str
    line: int
    event: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}, {self.event}"


def places(
    work: Callable[[], Any], files: Container[str], events: tuple[str, ...] = ("line",)
) -> list[Place]:
    """Return the places in these files that ``work()`` reaches, each once, in this order."""
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


def interrupt(work: Callable[[], Any], place: Place, by_signal: bool = False) -> None:
    """Run ``work()``, and raise KeyboardInterrupt when it first reaches this place; ``by_signal``:
    send the signal of Ctrl-C there."""

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != place.file:
            return None
        if event == place.event and frame.f_lineno == place.line:
            sys.settrace(None)
            if not by_signal:
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)
        return trace

    # Python itself reports and drops an interrupt within a finalizer.
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
    """Run ``work()``, and call ``tell()`` whenever it calls the function ``of``."""

    def trace(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code is of.__code__:
            tell()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
