"""The types that pages' modules declare in comments are correct."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import gpunn

TYPESCRIPT = "typescript@7.0.2"
OPTIONS = (
    "--noEmit", "--allowJs", "--checkJs", "--strict", "--skipLibCheck", "--target", "es2022",
    "--module", "es2022", "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable",
)  # fmt: skip


@pytest.mark.more
def test_types_are_true(tmp_path):
    npx = shutil.which("npx")
    if npx is None:
        missing = "There is no npx, which fetches TypeScript: apt install npm"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    modules = sorted(map(str, Path(gpunn.__file__).parent.glob("apps/**/js/**/*.js")))
    assert len(modules) > 20
    command = [npx, "--yes", "--package", TYPESCRIPT, "tsc", *OPTIONS, *modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
