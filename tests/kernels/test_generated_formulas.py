"""The kernel files that ``make formulas`` writes match the Python definitions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpunn.ops.fusion.formulas import Recorder, text

ROOT = Path(__file__).parents[2]


def test_generated_files_are_up_to_date() -> None:
    command = [sys.executable, ROOT / "tools" / "formulas.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Run `make formulas`. {done.stdout}{done.stderr}"


def test_brackets_stand_where_the_order_of_operations_asks_for_them() -> None:
    recorder = Recorder()
    a, b, c = map(recorder.array, "abc")
    formulas = {
        "a - (b - c)": lambda: a - (b - c),
        "a - b - c": lambda: a - b - c,
        "a / (b * c) * b": lambda: a / (b * c) * b,
        "-(a + b) * -c": lambda: -(a + b) * -c,
        "a * (0.1 + b)": lambda: a * (0.1 + b),
    }
    for expected, function in formulas.items():
        formula = recorder.record(function, lambda y: {"y": y})
        assert text(formula.outputs["y"]) == expected
