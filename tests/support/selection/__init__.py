"""Which tests a run executes: plugins of pytest, which `tests/conftest.py` registers."""

from __future__ import annotations

from . import areas, changes, cpu_seconds, generation, rotation, scope

PLUGINS = (scope, generation, rotation, changes, areas, cpu_seconds)
