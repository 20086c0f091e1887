"""The documents: their generated parts are up to date, and every file that they name exists."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract import Contract

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "docs.py"))
OTHERS = "README.md", "CONTRIBUTING.md", "benchmarks/README.md"
PAGES = sorted([*(ROOT / name for name in OTHERS), *ROOT.glob("docs/**/*.md")])
# A path with a folder, as in the tree; "::" and a test's name may follow.
NAMED = re.compile(r"(?<![\w.*/:-])((?:[\w-]+/)+[\w-]+\.(?:cpp|cuh?|hpp|json|md|py|svg|toml))\b")
LINKED = re.compile(r"\]\(([^)#:]+)[^):]*\)")


@pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))
@pytest.mark.parametrize("page", TOOL["PARTS"])
def test_the_generated_part_is_that_of_today(page: str) -> None:
    assert TOOL["written"](page) == (ROOT / "docs" / page).read_text("utf-8"), "run make docs"


def test_the_page_of_operations_has_them_all() -> None:
    page = (ROOT / "docs" / "reference" / "operations.md").read_text("utf-8")
    for name in Contract.operations:
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name for name in NAMED.findall(text) if not any(c.isupper() for c in Path(name).stem)}
    written = "build/", "runs/"  # by commands
    named -= {name for name in named if name.startswith(written)}
    folders = ROOT, page.parent, ROOT / "tests"
    assert not [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert not [link for link in LINKED.findall(text) if not (page.parent / link).exists()]


def defined(file: Path) -> set[str]:
    """What a file defines: Python names, also as "Class.method"; all words of other files."""
    text = file.read_text("utf-8", errors="ignore")
    if file.suffix != ".py":
        return set(re.findall(r"\w+", text))
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{x.name}" for x in node.body if isinstance(x, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {x.id for x in node.targets if isinstance(x, ast.Name)}
    return found


def test_each_question_names_a_few_files_and_what_they_define() -> None:
    """Where to find things: each answer is at most three files."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+\?) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 20
    for question, answer, names in rows:
        files = re.findall(r"`([\w/]+\.\w+)`", answer)
        assert 1 <= len(files) <= 3, question
        assert all((ROOT / file).is_file() for file in files), question
        there = set().union(*(defined(ROOT / file) for file in files))
        assert set(re.findall(r"`([\w.]+)`", names)) <= there, question
