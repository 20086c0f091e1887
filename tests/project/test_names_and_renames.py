"""The list of public names is true, and old names work for as long as they should."""

from __future__ import annotations

import importlib
import pkgutil
import re
import runpy
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpunn
from gpunn.common.importing import renamed
from gpunn.common.importing.lazy import LazyPackage, offered
from gpunn.common.importing.stability import stability_of

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "names.py"))


def test_the_list_of_public_names_is_true() -> None:
    found = TOOL["difference"]()
    assert not found, (
        f"The public names changed:\n{found}"
        f"If that is meant, write the list again with `make exports`, and say so in "
        f"CHANGELOG.md. A stable name that goes away first works for two minor releases, see "
        f"docs/explanation/stability.md."
    )


def test_each_name_is_stable_or_experimental() -> None:
    lines = TOOL["LIST"].read_text().splitlines()[1:]
    marks = dict(line.split() for line in lines)
    assert {*marks.values()} == {"stable", "experimental"} and len(lines) == len(marks) > 1000
    assert marks["gpunn.Model.fit()"] == "stable"
    assert marks["gpunn.distribution.size"] == "experimental"


def test_the_page_lists_what_is_experimental() -> None:
    page = (ROOT / "docs" / "explanation" / "stability.md").read_text(encoding="utf-8")
    full = {*re.findall(r"`([\w.]+)`", page)}
    listed = {name.rpartition(".")[2] for name in full}
    for line in TOOL["LIST"].read_text().splitlines()[1:]:
        name, mark = line.split()
        parts = name.split(".")[1:]
        if mark == "experimental" and not name.startswith(TOOL["CLASSES"]):
            assert listed & {*parts}, f"docs/explanation/stability.md does not list {name}"
        elif mark == "stable":
            assert name not in full, f"docs/explanation/stability.md lists {name}"


def test_a_name_that_is_marked_exists() -> None:
    """A mark of a name that was renamed or removed would mark nothing."""
    for owner, names in marked():
        for name in names:
            assert hasattr(owner, name), f"{owner.__name__}.__experimental__ has {name}"


def marked() -> Iterator[tuple[Any, frozenset[str]]]:
    """Yield the modules and classes with marks, and these."""
    seen = set[int]()
    for module in all_modules():
        classes = [x for x in vars(module).values() if isinstance(x, type)]
        for owner in [module, *classes]:
            if id(owner) not in seen and "__experimental__" in vars(owner):
                seen.add(id(owner))
                yield owner, vars(owner)["__experimental__"]


def all_modules() -> list[types.ModuleType]:
    """Return all modules of gpunn that can be imported here.

    Kernels for instruction sets that the CPU lacks would end the process.
    """
    found = [gpunn]
    for info in pkgutil.walk_packages(gpunn.__path__, "gpunn.", onerror=lambda name: None):
        if "__main__" not in info.name and "._kernels_" not in info.name:
            try:
                found.append(importlib.import_module(info.name))
            except ImportError:  # of an extra
                continue
    return found


def test_an_unknown_name_has_no_stability() -> None:
    with pytest.raises(AttributeError, match="Densee"):
        stability_of("gpunn.layers.Densee")


def test_no_old_name_outlives_its_releases() -> None:
    all_modules()  # declares those of attributes and arguments
    since = {**{name: of for name, (_, of) in renamed.RENAMED.items()}, **renamed.DECLARED}
    over = [name for name, of in since.items() if renamed.is_over(of, gpunn.__version__)]
    assert not over, f"gpunn {gpunn.__version__} no longer knows these names, remove them: {over}"


def test_each_old_name_leads_to_one_that_exists() -> None:
    for old, (new, _) in renamed.RENAMED.items():
        module = importlib.import_module(old.rpartition(".")[0])
        assert new in dir(module) and old.rpartition(".")[2] not in dir(module)


@pytest.mark.parametrize(
    ("version", "over"),
    [("0.2.0", False), ("0.3.9", False), ("0.4.0.dev0", True), ("0.4.0", True), ("1.0.0", True)],
)
def test_an_old_name_works_for_two_minor_releases(version: str, over: bool) -> None:
    assert renamed.is_over("0.2", version) == over


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of gpunn that has renamed `old` to `new`."""
    made: Any = types.ModuleType("gpunn.made_up")
    made.__all__, made.new = ["new"], 3
    made.__getattr__, made.__dir__ = offered("gpunn.made_up")
    monkeypatch.setitem(sys.modules, "gpunn.made_up", made)
    monkeypatch.setitem(renamed.RENAMED, "gpunn.made_up.old", ("new", "0.2"))
    return made


MESSAGE = r"^gpunn\.made_up\.old is now gpunn\.made_up\.new; the old name works until gpunn 0\.4\.$"


def test_a_module_knows_its_old_name(module: Any) -> None:
    with pytest.warns(DeprecationWarning, match=MESSAGE) as caught:
        assert module.old == 3
    assert [one.filename for one in caught] == [__file__]
    with pytest.warns(DeprecationWarning, match=MESSAGE) as caught:
        from gpunn.made_up import old  # type: ignore[import-not-found]
    assert old == 3 and {one.filename for one in caught} == {__file__}
    assert dir(module) == ["new"]
    with warnings.catch_warnings(action="error"):
        assert module.new == 3
        with pytest.raises(AttributeError, match="Did you mean 'new'"):
            _ = module.neww


def test_a_package_knows_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.RENAMED, "gpunn.layers.Full", ("Dense", "0.2"))
    with pytest.warns(DeprecationWarning, match=r"gpunn\.layers\.Dense") as caught:
        assert gpunn.layers.Full is gpunn.layers.Dense  # type: ignore[attr-defined]
    assert caught[0].filename == __file__
    package = LazyPackage("gpunn.layers", {".dense": "Dense"})
    with pytest.warns(DeprecationWarning, match=r"gpunn\.layers\.Full is now"):
        assert package.get("Full") is gpunn.layers.Dense


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [("", "Net", "Model"), ("config", "precision", "floatx"), ("random", "gauss", "normal"),
     ("ops", "summed", "sum"), ("utils", "one_hot", "to_categorical"), ("losses", "MSE2", "Huber"),
     ("backend", "eps", "epsilon"), ("datasets.toy", "moon", "moons")],
)  # fmt: skip
def test_every_kind_of_module_knows_old_names(
    module: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"gpunn.{module}".rstrip(".")
    monkeypatch.setitem(renamed.RENAMED, f"{path}.{old}", (new, "0.2"))
    owner: Any = gpunn
    for part in module.split(".") if module else ():
        owner = getattr(owner, part)
    with pytest.warns(DeprecationWarning, match=rf"^{path}\.{old} is now {path}\.{new};") as caught:
        assert getattr(owner, old) is getattr(owner, new)
    assert caught[0].filename == __file__


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "DECLARED", {})


@pytest.mark.usefixtures("declared")
def test_a_class_knows_old_attributes_and_methods() -> None:
    class Plan:
        rows = 3
        lines = renamed.Renamed("rows", "0.2")

        def count(self) -> int:
            return self.rows

        number = renamed.Renamed("count", "0.3")

    plan = Plan()
    with pytest.warns(DeprecationWarning, match=r"^Plan\.lines is now Plan\.rows; .* gpunn 0\.4"):
        assert plan.lines == Plan.lines == 3
    with pytest.warns(DeprecationWarning, match=r"lines") as caught:
        plan.lines = 5
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r"^Plan\.number is now Plan\.count; .* 0\.5"):
        assert plan.number() == 5
    assert renamed.DECLARED == {"Plan.lines": "0.2", "Plan.number": "0.3"}
    assert [*TOOL["attributes"](Plan)] == ["count()", "rows"]


@pytest.mark.usefixtures("declared")
def test_a_function_knows_an_old_argument() -> None:
    @renamed.renamed_argument("begin", "start", "0.2")
    def rows(start: int = 0, stop: int = 9) -> tuple[int, int]:
        return start, stop

    with pytest.warns(DeprecationWarning, match=r"^rows: begin is now start; .* 0\.4") as caught:
        assert rows(begin=2, stop=4) == (2, 4)  # type: ignore[call-arg]
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match="both start"):
        rows(1, begin=2, start=3)  # type: ignore[call-arg,misc]
    with warnings.catch_warnings(action="error"):
        assert rows(1) == (1, 9)


def test_the_tool_says_what_changed(tmp_path: Path) -> None:
    copy = tmp_path / "tests" / "project" / "public_names.txt"
    copy.parent.mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    text = (ROOT / "tools" / "names.py").read_text()
    (tmp_path / "tools" / "names.py").write_text(text)
    copy.write_text(TOOL["LIST"].read_text().replace("gpunn.Model.fit() stable\n", ""))
    command = [sys.executable, str(tmp_path / "tools" / "names.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1 and "+gpunn.Model.fit() stable" in done.stdout, done.stderr
