"""Helpers for tests of pages: waiting, and running a script."""

from __future__ import annotations

import contextlib
import io
import time


def until(page, condition, seconds=60):
    """Wait without Playwright's method: it evaluates strings, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition} has not come"
        page.wait_for_timeout(20)


def script_of(page):
    page.click("#copy-python")
    return page.input_value("#copied textarea")


def executed(script):
    """Return the names that a script defines, and what it prints."""
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(script, "script.py", "exec"), names)
    return names, dict(line.split() for line in printed.getvalue().splitlines())
