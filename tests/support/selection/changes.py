"""What checks benchmarks, examples, pages or packaging runs if those files have changed.

A test marked ``checks("examples", "docs")`` is about these files at least as much as about the
package. `make test` leaves it out if they, and the test, are as in the last green commit: the one
where `make test-more` last passed, or else where the branch left origin/HEAD. `make test-more` runs
it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from . import scope

ROOT = Path(__file__).parents[3]
GREEN = "refs/tests/green"  # `make test-more` writes it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unchanged", action="store_true",
        help="also run what checks files that are as in the last green commit",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "checks(*paths): about these files: left out while they are as in the last "
        "green commit; `make test-more` runs it",
    )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark them ``more``, so that `make test-more` runs them, and `make test` leaves them out."""
    checking = [item for item in items if item.get_closest_marker("checks")]
    more = scope.is_more(config)
    if not checking or not (more or scope.is_whole(config)) or config.getoption("unchanged"):
        return
    changed = [] if more else changed_files()
    for item in checking:
        paths = [path for mark in item.iter_markers("checks") for path in mark.args]
        paths.append(item.nodeid.partition("::")[0])
        if not any(_within(file, paths) for file in changed):
            item.add_marker("more")


def _within(file: str, paths: list[str]) -> bool:
    return any(file == path or file.startswith(f"{path}/") for path in paths)


def changed_files() -> list[str]:
    """Return the files that differ from the last green commit: all of them if none is known."""
    for commit in (GREEN, _left_origin()):
        differ = commit and git("diff", "--name-only", "--no-renames", "-z", commit)
        if differ is not None and commit:
            new = git("ls-files", "--others", "--exclude-standard", "-z") or ""
            return (differ + new).split("\0")[:-1]
    known = git("ls-files", "-z")
    return known.split("\0")[:-1] if known is not None else _every_file()


def _left_origin() -> str | None:
    upstream = git("merge-base", "HEAD", "origin/HEAD")
    return upstream and upstream.strip()


def _every_file() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]


def git(*arguments: str) -> str | None:
    """Return what git prints; None if it fails, or the project is no repository of its own."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return None
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None
