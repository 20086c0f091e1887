"""The notebooks run on little data, and are shipped with current outputs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.checks("examples", "tools/notebooks.py")

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "notebooks.py"))
# The contents of the parameters cell in these tests.
SMALL = {
    "first_steps": "ROWS, EPOCHS = 300, 2",
    "your_own_pictures": "COUNT, EPOCHS = 12, 1",
    "your_own_table": "ROWS, EPOCHS = 120, 2",
}


def kinds(notebook: Any) -> list[list[Any]]:
    """Return what each cell shows, and whether it prints anything."""
    return [
        [sorted(output.get("data", {"print": ""})) for output in cell.get("outputs", ())]
        for cell in notebook.cells
    ]


LONG = {"your_own_pictures", "your_own_table"}  # each takes seconds for processes and imports


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.more] if n in LONG else []) for n in SMALL]
)
def test_a_notebook_runs_and_shows_what_it_is_shipped_with(name: str, tmp_path: Path) -> None:
    path = TOOL["FOLDER"] / f"{name}.ipynb"
    shipped = nbformat.read(path, as_version=4)
    nbformat.validate(shipped)
    (parameters,) = (c for c in shipped.cells if "parameters" in c.metadata.get("tags", ()))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[shipped.cells.index(parameters)].source = SMALL[name]
    assert kinds(TOOL["execute"](notebook, tmp_path)) == kinds(shipped)


def test_all_notebooks_are_run_and_small() -> None:
    paths = sorted(TOOL["FOLDER"].glob("*.ipynb"))
    assert [path.stem for path in paths] == sorted(SMALL)
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 250_000 and str(Path.home()) not in text
        for cell in nbformat.reads(text, as_version=4).cells:
            links = re.findall(r"\]\(([^)#:]+)\)", cell.source)
            assert cell.cell_type == "code" or all((path.parent / k).exists() for k in links)
