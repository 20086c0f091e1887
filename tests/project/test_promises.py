"""The pages that make promises: each line of their tables names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"


def rows(page: str) -> list[str]:
    """Return the last column of the page's tables, without headings."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    heads = {k + d for k, line in enumerate(tables) if set(line) <= set("|- ") for d in (-1, 0)}
    return [line.split("|")[-2] for k, line in enumerate(tables) if k not in heads]


@pytest.mark.parametrize("page", ["explanation/reliability.md", "reference/keras-differences.md"])
def test_each_line_names_tests_that_there_are(page: str) -> None:
    assert len(rows(page)) >= 5
    for row in rows(page):
        names, text = re.findall(r"`(?:(test_\w+\.py)(?:::)?)?(\w*)`", row), ""
        assert names, row
        for module, function in names:
            if module:  # the names after it belong to the same file
                text = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob(module))
                assert text, (page, module)
            assert not function or f"def {function}(" in text, (page, module, function)
