"""The how-to pages: their code and commands run as written, from first to last."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gpunn.apps.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "notebooks", "pages", "pictures", "playground", "reports",
    pytest.param("tables", marks=pytest.mark.more),
)  # fmt: skip
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|console)\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": name}
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, f"{name}.md", "exec"), names)
            continue
        for command in re.split(r"^\$ gpunn ", block, flags=re.MULTILINE)[1:]:
            line, _, expected = command.partition("\n")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                assert main(shlex.split(line)) == 0, printed.getvalue()
            shown = printed.getvalue()
            assert doctest.OutputChecker().check_output(expected, shown, LOOSELY), shown
