"""What a run of the whole suite leaves out: other backends, cases for later, unchanged files."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from selection import changes

pytestmark = pytest.mark.checks("tests/support/selection", "tests/conftest.py")

TESTS_OF_GPUNN = Path(__file__).parents[1]
CONFTEST = f"""
import sys
sys.path[:0] = [{str(TESTS_OF_GPUNN / "support")!r}, {str(TESTS_OF_GPUNN.parent)!r}]
import pytest
from selection import PLUGINS, changes
from selection.scope import is_more

def pytest_addoption(parser, pluginmanager):
    for plugin in PLUGINS:
        pluginmanager.register(plugin)

def pytest_collection_modifyitems(config, items):
    items[:] = [i for i in items if is_more(config) or not i.get_closest_marker("more")]

@pytest.fixture(params=["numpy", "compiled", "emulated"])
def backend(request):
    return request.param
"""
TESTS = """
import pytest
more = pytest.mark.more

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=more), 3], ids=["a-numpy", "b", "c"])
def test_rotating(backend, n): ...

@pytest.mark.all_backends
def test_everywhere(backend): ...

@pytest.mark.in_turn(2)
@pytest.mark.parametrize("n", range(5))
def test_parts(backend, n): ...

@pytest.mark.parametrize("name", ["numpy", pytest.param("emulated", marks=more)])
def test_one_later(name): ...

@pytest.mark.parametrize("n", [0, *(pytest.param(n, marks=more(3)) for n in range(1, 7))])
def test_thirds(n): ...

@more(2)
def test_long(): ...

@pytest.mark.checks("a_file_that_nobody_has")
def test_of_files(): ...
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "tests").mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "tests" / "test_some.py").write_text(TESTS)
    settings = "[pytest]\\ntestpaths = tests\\nmarkers =\\n  more\\n  gpu\\n"
    (folder / "pytest.ini").write_text(settings.replace("\\n", "\n"))
    return folder


@cache
def collected(suite: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qp", "no:cacheprovider"]
    done = subprocess.run([*command, *options], cwd=suite, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_each_case_has_one_backend_and_the_rotation_says_which(suite: Path) -> None:
    seen: dict[str, list[str]] = {"a-numpy": [], "c": []}
    for rotation in range(3):
        found = collected(suite, "--rotation", str(rotation))
        rotating = [test for test in found if test.startswith("test_rotating")]
        assert len(rotating) == 2
        for test, case in zip(sorted(rotating, key=lambda t: t[-2]), ("c", "a-numpy"), strict=True):
            assert test.endswith(f"-{case}]")
            seen[case].append(test.partition("[")[2].partition("-")[0])
        assert len([test for test in found if test.startswith("test_everywhere")]) == 3
        assert {"test_one_later[numpy]", "test_thirds[0]"} <= {*found}
        assert not {"test_one_later[emulated]", "test_thirds[1]", "test_long"} & {*found}
    for backends in seen.values():
        assert sorted(backends) == ["compiled", "emulated", "numpy"]


def test_parts_take_turns_and_the_next_time_have_another_backend(suite: Path) -> None:
    seen: dict[str, list[str]] = {}
    for rotation in range(6):
        found = collected(suite, "--rotation", str(rotation))
        parts = [test.rstrip("]") for test in found if test.startswith("test_parts")]
        assert len(parts) in (2, 3)
        for test in parts:
            backend, number = test.partition("[")[2].split("-")
            seen.setdefault(number, []).append(backend)
    assert sorted(seen) == list("01234")
    for backends in seen.values():
        assert sorted(backends) == ["compiled", "emulated", "numpy"]


def test_whoever_names_tests_gets_all_of_them(suite: Path) -> None:
    found = collected(suite, "tests/test_some.py")
    assert len([test for test in found if test.startswith("test_rotating")]) == 6
    assert len([test for test in found if test.startswith("test_parts")]) == 15
    assert "test_of_files" in found


def test_what_takes_longer_is_made_if_it_is_asked_for(suite: Path) -> None:
    thirds = []
    for rotation in range(3):
        found = collected(suite, "-m", "more", "--rotation", str(rotation))
        thirds += [test for test in found if test.startswith("test_thirds")]
        assert [test.partition("[")[0] for test in found] == [
            "test_rotating", "test_one_later", "test_thirds", "test_thirds", "test_long",
            "test_of_files",
        ]  # fmt: skip
        named = f"tests/test_some.py::test_thirds[{rotation + 1}]"
        assert collected(suite, "-m", "more", "--rotation", "0", named)
    assert sorted(thirds) == [f"test_thirds[{n}]" for n in range(1, 7)]


def test_unchanged_files_are_not_checked(suite: Path) -> None:
    assert "test_of_files" not in collected(suite)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a repository with one file in each of two folders."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in ("docs", "examples"):
        (first / folder).mkdir(parents=True)
        (first / folder / "a.py").write_text("1\n")
    git(first, "init", "--quiet", "--initial-branch=main")
    commit(first)
    git(tmp_path, "clone", "--quiet", str(first), str(second))
    monkeypatch.setattr(changes, "ROOT", second)
    return second


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "a")


def test_what_changed_is_counted_from_where_the_branch_left_its_upstream(clone: Path) -> None:
    assert changes.changed_files() == []
    (clone / "docs" / "a.py").write_text("2\n")
    assert changes.changed_files() == ["docs/a.py"]
    commit(clone)
    (clone / "examples" / "new.py").write_text("3\n")
    assert sorted(changes.changed_files()) == ["docs/a.py", "examples/new.py"]


def test_what_changed_is_counted_from_the_last_green_commit(clone: Path) -> None:
    (clone / "docs" / "a.py").write_text("2\n")
    commit(clone)
    git(clone, "update-ref", changes.GREEN, "HEAD")
    assert changes.changed_files() == []
    (clone / "docs" / "a.py").unlink()
    assert changes.changed_files() == ["docs/a.py"]


def test_a_file_that_moved_has_changed_where_it_was_too(clone: Path) -> None:
    (clone / "examples" / "\u00e4 b.py").write_text("3\n")
    git(clone, "mv", "docs/a.py", "moved.py")
    assert sorted(changes.changed_files()) == ["docs/a.py", "examples/\u00e4 b.py", "moved.py"]


def test_without_git_or_a_repository_of_ones_own_everything_counts_as_changed(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = clone / "examples"
    with monkeypatch.context() as patched:
        patched.setattr(changes, "ROOT", inside)
        assert changes.changed_files() == ["a.py"]
    monkeypatch.setenv("PATH", "")
    assert {"docs/a.py", "examples/a.py"} <= {*changes.changed_files()}


def test_a_test_that_is_named_is_left_out_by_its_mark_not_unknown(suite: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-qp", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_some.py::test_long"], cwd=suite, capture_output=True, text=True
    )
    assert done.returncode == 5 and "not found" not in done.stdout + done.stderr  # none is left
    of_files = collected(suite, "-m", "more", "tests/test_some.py")
    assert "test_of_files" in of_files


def test_without_an_upstream_everything_counts_as_changed(clone: Path) -> None:
    git(clone, "remote", "remove", "origin")
    assert sorted(changes.changed_files()) == ["docs/a.py", "examples/a.py"]


def test_the_areas_name_tests_that_exist() -> None:
    tests = TESTS_OF_GPUNN
    file = tests / "support" / "selection" / "areas.json"
    areas = json.loads(file.read_text(encoding="utf-8"))
    assert {"layers", "ops", "by_hand", "training"} <= areas.keys()
    files = {file for named in areas.values() for file in named if not file.startswith("gpunn/")}
    missing = [file for file in sorted(files) if not (tests / file).exists()]
    assert len(missing) <= len(files) // 10, f"`python -m benchmarks.faults.areas`: {missing}"
