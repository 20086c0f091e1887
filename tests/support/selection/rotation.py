"""Each case on one of the backends that its test names, another one from commit to commit.

What Python decides is the same on each backend, so a case of it needs one. Tests whose subject is
a backend, a kernel or a gradient run on all of them: those in `SUBJECTS`, and those that are marked
``all_backends``.

A test with many slow cases that run much the same lines is marked ``in_turn(n)``: a run takes every
n-th of them, the next run others. Each layer, say, still takes part in some of these tests. Cases
that only `make test-more` runs are marked ``more(n)`` instead.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import count

import pytest

from . import scope
from .changes import git
from .generation import has_gpu

BACKENDS = ("numpy", "compiled", "emulated")
# Folders and files, below tests/, that are about what a backend computes.
SUBJECTS = ("backends/", "kernels/", "layers/test_gradients.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rotation", type=int, metavar="N",
        help="run each case on one backend, and a part of the tests in_turn, which N chooses; by "
        "default the number of commits",
    )  # fmt: skip
    parser.addoption(
        "--all-backends", action="store_true", help="run every case on every backend it names"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the rotation of a run of the suite or an area.

    Whoever names files or tests gets all cases on every backend, and a named case always runs.
    """
    config.addinivalue_line("markers", "all_backends: runs on every backend in each run")
    config.addinivalue_line("markers", "in_turn(n): a run takes every n-th case, by rotation")
    if config.getoption("all_backends"):
        config.option.rotation = None
    elif config.getoption("rotation") is None and (
        scope.is_whole(config) or config.getoption("area")
    ):
        config.option.rotation = _commits()


def pytest_report_header(config: pytest.Config) -> str | None:
    rotation = config.getoption("rotation")
    if rotation is None:
        return None
    return f"backends: each case on one of those it names; parts in turn: --rotation {rotation}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rotation = config.getoption("rotation")
    if rotation is None:
        return
    more, named = scope.is_more(config), any("[" in argument for argument in config.args)
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    kept = set()
    for item in items:
        marked = item.get_closest_marker
        if (marked("more") is not None) != more or (marked("gpu") and not has_gpu()):
            kept.add(id(item))  # not counted: others decide whether it runs
        else:
            cases[_without_backend(item)].append(item)
    several = Counter(case.partition("[")[0] for case in cases)
    places: dict[str, Iterator[int]] = defaultdict(count)  # of the next case of a function
    for case, alike in cases.items():
        function = case.partition("[")[0]
        parts = 1 if named else _parts(alike[0], more and several[function] > 1)
        if parts > 1 and (next(places[function]) + _number(function) + rotation) % parts:
            continue
        if _backend(alike[0]) is not None and not (named or _on_all(alike[0])):
            # Of a case in every third run, the next time another backend.
            alike = [alike[(_number(case) + rotation // parts) % len(alike)]]
        kept |= set(map(id, alike))
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


def _without_backend(item: pytest.Item) -> str:
    backend = _backend(item)
    if backend is None:
        return item.nodeid
    return re.sub(rf"(?<=[\[-]){backend}(?=[\]-])", "", item.nodeid, count=1)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _parts(item: pytest.Item, later: bool) -> int:
    """Return the number of runs that its function's cases are divided among.

    Args:
        item: one of these cases.
        later: whether they are several cases of a run of `make test-more`.
    """
    names = ("more", "in_turn") if later else ("in_turn",)
    marks = map(item.get_closest_marker, names)
    return next((mark.args[0] for mark in marks if mark is not None and mark.args), 1)


def _backend(item: pytest.Item) -> str | None:
    """Return the backend that one of a test's arguments names."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((v for v in values if isinstance(v, str) and v in BACKENDS), None)


def _on_all(item: pytest.Item) -> bool:
    below_tests = item.nodeid.removeprefix("tests/")
    return below_tests.startswith(SUBJECTS) or item.get_closest_marker("all_backends") is not None


def _commits() -> int:
    """Return the number of commits, or 0 outside of a repository. A shallow clone has a few
    whatever the commit, which gives a number itself."""
    if (git("rev-parse", "--is-shallow-repository") or "").strip() == "true":
        return int((git("rev-parse", "HEAD") or "0")[:7], 16)
    return int(git("rev-list", "--count", "HEAD") or 0)
