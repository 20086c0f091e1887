"""The CPU seconds of each test function, of its process and of the children that it waited for.

Not of tests that run if files have changed. What NVRTC takes for a result that the next run finds
in the cache is not counted.
`make test` writes them to ``build/suite-seconds.json``, see `benchmarks.counts.suite`, and
`make test-more` its own to ``build/suite-more-seconds.json``.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import nvrtc

from . import scope

BUILD = Path(__file__).parents[3] / "build"
# Cases, seconds of the process, of its children, and of the clock, by function.
_seconds: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
_compiling = 0.0  # seconds of this process in NVRTC


def pytest_configure() -> None:
    nvrtc.compile_source = _not_counted(nvrtc.compile_source)


def _not_counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any) -> Any:
        global _compiling
        start = time.process_time()
        try:
            return function(*arguments)
        finally:
            _compiling += time.process_time() - start

    return timed


def _path(config: pytest.Config) -> Path | None:
    """Return the file of a run of the whole suite; None for others, and in processes of xdist."""
    others = ("all_backends", "collectonly", "eagerly", "maxfail", "ignore", "ignore_glob",
              "showfixtures", "stepwise")  # fmt: skip
    named = config.args_source is pytest.Config.ArgsSource.ARGS  # with --whole-suite
    if not scope.is_whole(config) or named or hasattr(config, "workerinput"):
        return None
    if any(config.getoption(option, None) for option in others):
        return None
    return BUILD / ("suite-more-seconds.json" if scope.is_more(config) else "suite-seconds.json")


def pytest_sessionstart(session: pytest.Session) -> None:
    if path := _path(session.config):
        path.unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before, start, compiling = os.times(), time.perf_counter(), _compiling
    try:
        return (yield)
    finally:
        after, took = os.times(), time.perf_counter() - start
        if not item.get_closest_marker("checks"):
            function = _seconds[item.nodeid.partition("[")[0]]
            own, children = (
                sum(after[at : at + 2]) - sum(before[at : at + 2]) for at in (0, 2)
            )  # fmt: skip
            own -= _compiling - compiling
            for at, value in enumerate((1, own, children, took)):
                function[at] += value


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process of xdist measured."""
    for function, values in getattr(node, "workeroutput", {}).get("seconds", {}).items():
        _seconds[function] = [a + b for a, b in zip(_seconds[function], values, strict=True)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["seconds"] = dict(_seconds)
    elif (path := _path(config)) and exitstatus in (0, 1) and _seconds:  # some may have failed
        path.parent.mkdir(exist_ok=True)
        rounded = {f: [round(v, 3) for v in values] for f, values in sorted(_seconds.items())}
        path.write_text(json.dumps(rounded, indent=0) + "\n", encoding="utf-8")
