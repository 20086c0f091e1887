"""The guard of instruction counts: it fails for a piece of work that needs more than before."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from benchmarks.counts import guard

pytestmark = pytest.mark.checks("benchmarks/counts")

PARENT = subprocess.run(
    ["git", "rev-parse", "--verify", "--quiet", "HEAD^"],
    cwd=guard.ROOT, capture_output=True, check=False,
)  # fmt: skip


@pytest.mark.parametrize(("now", "fails"), [(90, False), (103, False), (104, True)])
def test_it_fails_beyond_the_limit(now: int, fails: bool) -> None:
    text, failed = guard.report([("import", 100, 100), ("fit", 100, now), ("new", 0, 7)], 1.03)
    assert failed is fails
    assert re.search("fit .*MORE", text) or not fails
    assert not re.search("(import|new) .*MORE", text)


@pytest.mark.more
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
@pytest.mark.skipif(PARENT.returncode != 0, reason="the parent commit is not here")
def test_nothing_needs_3_percent_more_instructions_than_in_the_parent_commit(
    capsys: pytest.CaptureFixture,
) -> None:
    status = guard.main([])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert len(re.findall(r" [\d,]{5,} +[\d,]{5,} +\d\.\d{3}", printed)) == 6
