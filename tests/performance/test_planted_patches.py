"""The planted faults (`benchmarks/faults/planted`) are changes of the package as it is now."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import ROOT
from benchmarks.faults import planted

pytestmark = pytest.mark.checks("gpunn", "kernels", "benchmarks/faults")


@pytest.mark.parametrize("patch", sorted(planted.PATCHES.glob("*.patch")), ids=lambda p: p.stem)
def test_it_applies_and_says_what_a_user_sees(patch: Path) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"make it anew: {done.stderr}"
    for line in ("What: ", "Slip: ", "Seen:\n"):
        assert line in patch.read_text(encoding="utf-8")
