"""`make test AREA=layers`: the tests of a folder, and what else runs its lines, for 90 seconds.

``areas.json`` names, for each folder of the package, the tests of other folders that execute its
lines, those first that execute most new ones in a second. `benchmarks.faults.areas` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATH = Path(__file__).with_name("areas.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--area", metavar="FOLDER",
        help="run the tests of this folder, such as layers, and others that execute its lines",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Name the files to collect."""
    area = config.option.area = (config.getoption("area") or "").strip("/")
    if not area:
        return
    source, worker = config.args_source, hasattr(config, "workerinput")  # xdist passes it files
    if source is pytest.Config.ArgsSource.ARGS and not worker:
        named = " ".join(config.args)
        raise pytest.UsageError(f"--area chooses the files; leave it out, or {named}")
    known = json.loads(PATH.read_text(encoding="utf-8"))
    if area not in known and not _own(area):
        folders = sorted({*known, *(p.name for p in (ROOT / "tests").iterdir() if _own(p.name))})
        raise pytest.UsageError(f"There is no area {area!r}; there are {', '.join(folders)}")
    files = [ROOT / "tests" / file for file in known.get(area, {})]
    config.args = [str(path) for path in [*_own(area), *files] if path.exists()]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    area = config.getoption("area")
    if not area:
        return
    others = json.loads(PATH.read_text(encoding="utf-8")).get(area, {})
    own = [str(path) for path in _own(area)]

    def wanted(item: pytest.Item) -> bool:
        if any(item.path.is_relative_to(path) for path in own):
            return True
        if not item.path.is_relative_to(ROOT / "tests"):
            return False
        named = others.get(item.path.relative_to(ROOT / "tests").as_posix(), ())
        return item.nodeid.partition("[")[0].partition("::")[2] in named

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def _own(area: str) -> list[Path]:
    """The folders of tests, and of examples in docstrings, that are this area's own."""
    own = [ROOT / "tests" / area, ROOT / "gpunn" / area]
    return [path for path in own if path.is_dir() and any(path.rglob("*.py"))]
