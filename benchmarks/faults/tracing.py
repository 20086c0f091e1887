"""Which test functions run which lines of the package, and how long each takes.

`trace` runs the suite once under coverage, in two processes and in all that the tests start. As a
plugin of pytest, this module attributes what runs to the test function, with any parameters.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from typing import Any
from xml.etree import ElementTree

from benchmarks import ROOT

TRACE = ROOT / ".mutants"
CONTEXT = "GPUNN_TRACED_TEST"  # the test whose child a process is
# They execute no line of the package, all of them in processes that are not traced, or trace.
LEFT_OUT = (
    "bench", "contestants", "packaging", "wheels", "sanitized", "kernels_compile",
    "kernels_on_cpu", "cuda_on_cpu", "planted_faults", "math_functions", "compiled_convolution",
    "compiled_products", "layering", "gpu_command", "cuda_extra", "interrupts", "threads",
    "release", "notebooks", "pages", "course", "examples", "small_examples", "task_examples",
    "scale", "readme", "docs", "time_limit",
)  # fmt: skip


def test_files() -> list[str]:
    excluded = {f"test_{name}.py" for name in LEFT_OUT}
    return [str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests").rglob("test_*.py"))
            if p.name not in excluded]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def trace() -> None:
    """Find out which test functions run which lines, and how long each takes."""
    TRACE.mkdir(exist_ok=True)
    settings = TRACE / "coveragerc"
    settings.write_text(
        f"[run]\ndata_file = {TRACE}/coverage\ninclude = {ROOT}/gpunn/*\n"
        f"parallel = true\nrelative_files = true\ncontext = ${{{CONTEXT}-}}\n"
        "disable_warnings = no-data-collected\n"
    )
    started = environment() | {"PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_START": str(settings)}
    files, running = test_files(), []
    for part in range(2):
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-p", "benchmarks.faults.tracing", f"--junitxml={TRACE}/times-{part}.xml",
            *files[part::2],
        ]  # fmt: skip
        running.append(subprocess.Popen(command, cwd=ROOT, env=started))
    for process in running:
        process.wait()
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run(
        [*coverage, "combine", "-q", f"--rcfile={settings}"], cwd=ROOT, check=True,
        env=environment(),
    )  # fmt: skip


def pytest_runtest_setup(item: Any) -> None:
    """As a plugin: attribute what runs from now on, here and in children, to this function."""
    from coverage import Coverage

    if coverage := Coverage.current():
        os.environ[CONTEXT] = function_of(item.nodeid)
        coverage.switch_context(function_of(item.nodeid))


def function_of(node: str) -> str:
    return node.partition("[")[0]


def traced() -> tuple[dict[str, dict[int, list[str]]], dict[str, float]]:
    """Return the test functions that run each line of each file; and the functions' seconds."""
    from coverage import CoverageData

    if not (TRACE / "coverage").exists():
        raise SystemExit("First: python -m benchmarks.faults.mutants trace")
    data = CoverageData(str(TRACE / "coverage"))
    data.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        of_file = lines.setdefault(os.path.relpath(file, ROOT), {})
        for line, contexts in data.contexts_by_lineno(file).items():
            # A process of a test has the test as its own context, and as a part of others.
            of_file[line] = sorted({c.rpartition("|")[2] for c in contexts} - {"", "-"})
    seconds: dict[str, float] = defaultdict(float)
    for times in TRACE.glob("times-*.xml"):
        for case in ElementTree.parse(times).getroot().iter("testcase"):
            module, _, group = case.get("classname", "").partition(".test_")
            name, *classes = f"test_{group}".split(".")
            path = f"{module.replace('.', '/')}/{name}.py"
            node = function_of("::".join([path, *classes, case.get("name", "")]))
            seconds[node] += float(case.get("time", 0))
    return lines, seconds
