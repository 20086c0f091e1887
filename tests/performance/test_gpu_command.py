"""`make gpu` on a machine with a GPU and few installed packages."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import machine
from benchmarks.gpu import compile_ahead, inside_steps, nvrtc, run, run_tests
from benchmarks.gpu.results import DONE, Results
from gpunn.backends.contract.backend import LAUNCH_MODES

pytestmark = pytest.mark.checks("benchmarks/gpu", "Makefile")

ROOT = Path(__file__).parents[2]
ABSENT = (
    "PIL", "hypothesis", "jax", "nvidia", "sklearn", "tensorboard", "tensorboardX", "torch",
)  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds none of the packages that may be absent.

    Pytest does not load their plugins either.
    """
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))"
    )
    settings = {"OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**os.environ, "PYTHONPATH": str(tmp_path), **settings}


@pytest.fixture
def command(bare: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A function that starts the command's stages on the emulated GPU, with a few rows."""
    bare |= {"GPUNN_BACKEND": "emulated", "GPUNN_CACHE": str(tmp_path)}
    bare.pop("GPUNN_DATA", None)

    def start(stages: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.run", "--rows", "20", "--stages", stages,
             *options, "--out", str(tmp_path / "out")],
            cwd=ROOT, env=bare, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    return start


Started = Callable[..., subprocess.Popen[str]]


def written(folder: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Return each stage's file, and the page."""
    (out,) = folder.iterdir()
    assert out.name.startswith("emulated-")
    reports = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    for name, report in reports.items():
        assert report["emulated"] and report["stage"] == name and report["card"]["name"]
    return reports, (out / "page.md").read_text()


@pytest.mark.more
def test_its_benchmarks_run_and_say_what_they_are(command: Started, tmp_path: Path) -> None:
    assert command("epochs,neighbours").communicate()[0] is not None
    reports, text = written(tmp_path / "out")
    missing = reports["neighbours"]["missing"]
    assert set(missing.values()) == {"torch is not installed", "jax is not installed"}
    ours = {"gpunn (card)", *(f"gpunn, {mode}" for mode in LAUNCH_MODES)}
    entries = reports["epochs"]["benchmarks"]
    assert [e["key"] for e in entries] == ["W1 epoch", "W2 epoch", "W5a", "W3 epoch", "W4 epoch"]
    for entry in entries:
        # A mode may reject a network it does not support; the rule's choice never fails.
        taken = ours - set(entry["failed"])
        assert len(taken) >= 3
        assert {n: len(values) for n, values in entry["samples"].items()} == dict.fromkeys(taken, 2)
    assert [report["state"] for report in reports.values()] == ["done", "done"]
    assert "**Emulated on the CPU: there was no GPU.**" in text
    assert "PyTorch (card) (torch is not installed)" in text and "generated images" in text
    assert "incomplete" not in text and "missing**" not in text


@pytest.mark.more
def test_what_was_found_before_it_is_killed_is_there(command: Started, tmp_path: Path) -> None:
    process = command("kernels,epochs,neighbours")
    for line in process.stdout:
        if line == "  W1\n":  # the first of four workloads is done
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    reports, text = written(tmp_path / "out")
    kernels = reports["kernels"]
    assert kernels["state"] == "done" and kernels["compiled"] == kernels["kernels"] > 0
    assert reports["epochs"]["state"] == "under way"
    assert reports["epochs"]["benchmarks"][0]["key"] == "W1 epoch"
    assert len(reports["epochs"]["benchmarks"]) < 5 and "neighbours" not in reports
    rows = dict(re.findall(r"^\| (.*) \| (.*) \| *\d* *\|$", text, re.MULTILINE))
    assert rows["Kernels compiled ahead"] == "done"
    assert rows["The workloads in each launch mode"].startswith("**incomplete**")
    assert rows["The workloads beside neighbours"].startswith("**missing**")
    assert "### W1, a training step" in text


def test_without_time_every_stage_says_so(command: Started, tmp_path: Path) -> None:
    process = command("card,kernels,short-list,epochs,parity", "--minutes", "0")
    process.communicate()
    assert process.returncode == 1
    reports, text = written(tmp_path / "out")
    assert len(reports) == 5
    assert {r["state"] for r in reports.values()} == {"stopped: its time was up"}
    assert text.count("| stopped: its time was up |") == 5


@pytest.mark.parametrize("absent", [None, "threadpoolctl"])
def test_a_failing_doctor_fails_the_command(
    absent: str | None, command: Started, bare: dict[str, str], tmp_path: Path
) -> None:
    """Without a package that gpunn depends on, `gpunn doctor` fails."""
    if absent:
        with (tmp_path / "sitecustomize.py").open("a") as file:
            file.write(f"\nsys.modules[{absent!r}] = None")
    process = command("card")
    output = process.communicate()[0]
    reports, text = written(tmp_path / "out")
    assert process.returncode == (1 if absent else 0)
    assert (reports["card"]["status"] != 0) == bool(absent)
    last = output.splitlines()[-1]
    assert last == ("Failed: The GPU, and `gpunn doctor`." if absent else "Nothing failed.")
    assert ("exit status 1" in text) == bool(absent)


TESTS = """
import os
import pytest

emulated = pytest.mark.parametrize("gpu", ["emulated"])

@emulated
def test_that_passes(gpu): pass

@emulated
def test_that_fails(gpu): assert gpu == "another"

@emulated
def test_that_loses_the_gpu(gpu):
    raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered")

@emulated
def test_that_ends_its_process(gpu): os._exit(3)

@emulated
def test_that_is_skipped(gpu): pytest.skip("for a reason")

@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("name", ["Relu", "Elu"])
@pytest.mark.parametrize("kind", ["activation"])
@emulated
def test_of_each(gpu, kind, name, number): pass
"""
OUTCOMES = {
    "passes": "passed", "fails": "failed", "loses_the_gpu": "failed",
    "ends_its_process": "failed", "is_skipped": "skipped",
}  # fmt: skip


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.more), 2])
def test_a_test_that_takes_its_process_along_is_noted(processes: int, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    wanted = run_tests.Wanted([str(tmp_path / "test_some.py")], "emulated")
    found = run_tests.run(wanted, processes, math.inf, lambda report: None)
    cases = {name.partition("::test_")[2]: case for name, case in found["cases"].items()}
    assert found["collected"] == len(cases) == 9
    for name, case in cases.items():
        outcome = OUTCOMES.get(name.partition("[")[0].removeprefix("that_"), "passed")
        assert case["outcome"] == outcome, name
    assert "ended its process: 3" in cases["that_ends_its_process[emulated]"]["message"]
    assert "ILLEGAL_ADDRESS" in cases["that_loses_the_gpu[emulated]"]["message"]


def test_a_sample_has_each_name_once(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    names = {}
    for sample in ("first", "rest"):
        wanted = run_tests.Wanted(
            [str(tmp_path / "test_some.py")], "emulated", "of_each", sample=sample
        )
        found = run_tests.run(wanted, 1, math.inf, lambda report: None)
        names[sample] = [name.partition("[")[2] for name in found["cases"]]
    assert len(names["first"]) == len(names["rest"]) == 2
    for sampled in names.values():
        assert sum("Relu" in name for name in sampled) == 1
    assert not {*names["first"]} & {*names["rest"]}


def test_a_file_that_needs_more_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_other.py").write_text(f"import nothing_of_the_kind\n{TESTS}")
    wanted = run_tests.Wanted([str(tmp_path)], "emulated", "of_each")
    found = run_tests.run(wanted, 1, math.inf, lambda report: None)
    assert found["collected"] == len(found["cases"]) == 4
    ((file, why),) = found["left_out"].items()
    assert file.endswith("test_other.py")
    assert why == "ModuleNotFoundError: No module named 'nothing_of_the_kind'"
    folder = tmp_path / "results"
    about = {"card": {"name": "a GPU"}, "emulated": False, "machine": machine.describe()}
    results = Results(folder, {"others": "Others"}, about, run.OURS)
    results.write("others", DONE, 1.0, found)
    assert re.search(r"Left out: \S*test_other.py \(ModuleNotFoundError: ", results.text())


def test_the_launches_of_a_fused_step_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside_steps, "LAUNCHES", 2)
    monkeypatch.setattr(inside_steps, "REPLAYS", 1)
    monkeypatch.setattr(inside_steps, "STEPS", 3)
    found = list(inside_steps.launches("W2", "emulated"))
    assert all(entry["seconds"] > 0 for entry in found)
    parts = [part for entry in found for part in entry["parts"]]
    assert len(found) > 2 and parts.count("gather") == parts.count("Product") == 2
    assert "loss_totals" in parts and parts[-1] == "advance"


def test_the_clock_is_noted_after_each_part_of_a_persistent_kernel() -> None:
    kernels = [kernel for kernel in compile_ahead.kernels() if kernel.repeats]
    for kernel in kernels[:2]:
        text, names = inside_steps.with_clock(kernel)
        barriers = [stage for stage in kernel.stages if stage.name == "barrier"]
        inside = sum(len(stage.calls) for stage in barriers)
        assert len(names) - len(barriers) == len(kernel.calls) - inside
        nvrtc.compile_kernels(text, 90, [kernel.name])


def test_what_is_not_measured_is_not_called_done(command: Started, tmp_path: Path) -> None:
    process = command("operations")
    process.communicate()
    assert process.returncode == 0
    reports, text = written(tmp_path / "out")
    assert reports["operations"]["state"] == "not measured"
    assert "| Operations by themselves | not measured |" in text and "Not measured: it is" in text


@pytest.mark.more
def test_no_test_of_a_gpu_is_forgotten() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", "tests"],
        cwd=ROOT, env={**os.environ, "GPUNN_BACKEND": "cupy"}, capture_output=True, text=True,
    )  # fmt: skip
    found = set(re.findall(r"^(tests/\S+?\.py)::", done.stdout, re.MULTILINE))
    assert found == {*run.GPU, *run.PARITY, *run.OTHERS, *run.NEEDY}


def test_its_tests_need_nothing_else(bare: dict[str, str]) -> None:
    files = [*run.GPU, *run.PARITY, *run.OTHERS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", *files],
        cwd=ROOT, env={**bare, "GPUNN_BACKEND": "cupy"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for file in files:
        assert f"{file}::" in done.stdout
    assert f"::{run.COMPARISONS}[" in done.stdout


def test_without_a_gpu_one_line_says_what_is_missing(tmp_path: Path) -> None:
    """The installed CuPy fails on import."""
    (tmp_path / "cupy.py").write_text("raise OSError('libcuda.so.1 is broken')")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path), "GPUNN_BACKEND": "cupy"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("make gpu needs an NVIDIA GPU and CuPy.")
    assert "libcuda.so.1 is broken" in done.stderr and done.stderr.count("\n") == 1
