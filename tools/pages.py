"""Run the code and commands of a page of the documentation as written, from first to last.

The blocks of a page share one namespace and the current folder. What a block prints stands in the
``text`` block after it; ``...`` there is anything. `<!-- not run: why -->` above a block leaves
it out.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpunn.apps.cli import main

DOCS = Path(__file__).parents[1] / "docs"
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(
    r"(?P<not_run><!-- not run: [^\n]+ -->\n)?"
    r"^```(?P<kind>python|console)\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<printed>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    kind: str
    code: str
    printed: str | None
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        if not found["not_run"]:
            line = text.count("\n", 0, found.start("code")) + 1
            yield Block(found["kind"], found["code"], found["printed"], line)


def check(expected: str, printed: str, where: str) -> None:
    checker, example = doctest.OutputChecker(), doctest.Example("", expected)
    if not checker.check_output(expected, printed, LOOSELY):
        raise AssertionError(f"{where}: {checker.output_difference(example, printed, LOOSELY)}")


def run_examples(block: Block, names: dict[str, Any], where: str) -> None:
    """Run a block of ``>>>``."""
    test = doctest.DocTestParser().get_doctest(block.code, names, where, where, block.line)
    report = io.StringIO()
    doctest.DocTestRunner(optionflags=LOOSELY).run(test, out=report.write, clear_globs=False)
    names.update(test.globs)
    assert not report.getvalue(), report.getvalue()


def run_python(block: Block, names: dict[str, Any], where: str) -> None:
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.code, where, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    if block.printed is not None:
        check(block.printed, printed.getvalue(), where)


def run_commands(block: Block, where: str) -> None:
    """Run ``$ gpunn ...``, and ``$ python FILE``, each in this process."""
    for command in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        program, *arguments = shlex.split(line, comments=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            if program == "gpunn":
                assert main(arguments) == 0, printed.getvalue()
            else:
                assert program == "python", f"{where} has a command that no test runs: {line}"
                file, *sys.argv[1:] = arguments
                names = {"__name__": "__main__", "__file__": file}
                exec(
                    compile(
                        Path(file).read_text(encoding="utf-8"), file, "exec", dont_inherit=True
                    ),
                    names,
                )
        check(expected, printed.getvalue(), f"{where}, {line}")


def run_page(name: str) -> None:
    """Run a page.

    Raises:
        AssertionError: if something else is printed than the page shows.
    """
    names: dict[str, Any] = {"__name__": name}
    for block in blocks((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        where = f"docs/{name}.md, line {block.line}"
        if block.kind == "console":
            run_commands(block, where)
        elif ">>>" in block.code:
            run_examples(block, names, where)
        else:
            run_python(block, names, where)
