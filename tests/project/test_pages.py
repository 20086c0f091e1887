"""The pages of the documentation: their code and commands run as written, from first to last."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpunn.common import registry
from gpunn.compat.backend import clear_session

pytestmark = pytest.mark.checks("docs", "README.md", "CONTRIBUTING.md")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOOL = runpy.run_path(str(ROOT / "tools" / "pages.py"))
LONG = {"reference/tables"}  # more than ten seconds
OWN_TESTS = {"how-to/sweeps", "how-to/several-machines"}  # test_sweeps.py; several processes


def pages() -> Iterator[Any]:
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).with_suffix("").as_posix()
        if name not in OWN_TESTS and next(TOOL["blocks"](path.read_text(encoding="utf-8")), None):
            yield pytest.param(name, marks=[pytest.mark.more(2)] if name in LONG else [])


@pytest.mark.parametrize("name", list(pages()))
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    clear_session()  # names of layers begin anew
    with registry.restored():
        TOOL["run_page"](name)
