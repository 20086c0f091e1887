"""What tests do on pages: wait, and take a script along."""

from __future__ import annotations

import contextlib
import io
import time


def until(page, condition, seconds=60):
    """Wait; the page's own policy forbids Playwright's way, which evaluates texts there."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition} has not come"
        page.wait_for_timeout(20)


def script_of(page):
    page.click("#copy-python")
    return page.input_value("#copied textarea")


def executed(script):
    """The names that a script leaves behind, and what it prints."""
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(script, "script.py", "exec"), names)
    return names, dict(line.split() for line in printed.getvalue().splitlines())
