"""Packages of parts export what their modules define."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import Any

import pytest

from gpunn.common import registry

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "exports.py"))


@pytest.mark.parametrize("package", TOOL["PACKAGES"])
def test_the_files_are_as_they_would_be_written(package: str) -> None:
    path = ROOT / "gpunn" / package / "__init__.py"
    assert TOOL["written"](path.parent) == path.read_text(), "run make exports"


@pytest.mark.parametrize("package", TOOL["PACKAGES"])
def test_every_part_is_exported(package: str) -> None:
    module = importlib.import_module(f"gpunn.{package.replace('/', '.')}")
    kind = next(c.kind for c in vars(module).values() if "kind" in getattr(c, "__dict__", {}))
    registered = {
        cls
        for name, cls in registry.entries(kind).items()
        if cls.__module__.rpartition(".")[0] == module.__name__ and ">" not in name
    }
    exported: dict[str, Any] = {}
    exec(f"from {module.__name__} import *", exported)
    assert len(registered) > 5 and registered <= {v for v in exported.values() if callable(v)}
    assert {*exported} - {"__builtins__"} == {*module.__all__}
