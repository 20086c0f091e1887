"""Run the measurements that need a GPU, by priority, within a time limit; for ``make gpu``.

    GPUNN_BACKEND=cupy python -m benchmarks.gpu.run --minutes 10

It updates the folder ``results/<gpu>-<date>-<time>`` during the run: a file for each stage,
written atomically, and ``page.md`` with the tables, which lists what is missing. It requires
gpunn's dependencies, CuPy and pytest; other frameworks that are not installed are reported as
missing.
With ``GPUNN_BACKEND=emulated`` it runs without a GPU, on a few rows, with results in ``runs/gpu``,
to test the command itself.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine
from benchmarks.common.workloads import ALL_WORKLOADS, lay_out_data
from benchmarks.race.tiers import Setting, operations
from gpunn.backends.cupy.launch.modes import LaunchModeError

from . import compile_ahead, inside_steps, run_tests
from .races import OURS, Tell, race_modes, race_neighbours
from .results import DONE, NOT_MEASURED, UNDER_WAY, Report, Results, now

MINUTES = 10.0
ENDING_SECONDS = 10.0  # of these, for writing results and exiting
LATE = "stopped: its time was up"
MOST_PROCESSES = 16  # on one GPU
PROCESS_BYTES = 1 << 30  # of the GPU's memory
ROUNDS, EMULATED_ROUNDS, EMULATED_ROWS, EMULATED_KERNELS = 7, 2, 120, 8
COMPARISONS = "test_kernels_agree_with_numpy"  # of test_gpu.py: most of its tests
GPU, PARITY = ("tests/backends/test_gpu.py",), ("tests/backends/test_parity.py",)
OTHERS = (
    "tests/backends/test_emulated_training.py", "tests/feeding/test_uploads.py",
    "tests/feeding/test_device_memory.py",
    "tests/feeding/test_streaming.py", "tests/by_hand/test_own_steps.py",
    "tests/ops/running/test_results_of_functions.py",
    "tests/loaders/test_series.py", "tests/ops/refused/test_arguments.py",
    "tests/utils/test_tensorflow.py",
    "tests/ops/gather_scatter/test_indices_out_of_range.py", "tests/utils/test_crossing.py",
    "tests/layers/test_custom_state.py", "tests/by_hand/test_data_of_own_steps.py",
    "tests/by_hand/test_joint_operations.py", "tests/metrics/test_metrics_by_hand.py",
    "tests/layers/sequences/test_traced_steps.py",
)  # fmt: skip
NEEDY = (  # skipped, unless more packages are installed
    "tests/callbacks/test_progress_bar.py", "tests/feeding/test_data_facts.py",
    "tests/layers/sequences/test_attention.py", "tests/layers/test_convolution.py",
    "tests/layers/test_embedding.py", "tests/layers/test_texts.py",
    "tests/optimizers/test_tables_by_rows.py", "tests/loaders/test_texts.py",
    "tests/metrics/test_own_means.py", "tests/models/test_unknown_axes.py",
    "tests/models/test_training_fixed_in_graphs.py",
    "tests/layers/as_in_keras/test_adaptive_pooling.py",
    "tests/layers/as_in_keras/test_renormalization.py",
    "tests/metrics/test_variables_of_ones_own.py", "tests/metrics/test_metrics_of_metrics.py",
    "tests/metrics/test_extended_metrics.py",
    "tests/layers/as_in_keras/test_spectral_normalization.py",
    "tests/layers/pictures/test_convolution_before_pooling.py",
    "tests/layers/pictures/test_colors_and_windows.py",
    "tests/layers/pictures/test_operations_on_pictures.py",
    "tests/metrics/test_iou_and_correlation.py",
    "tests/optimizers/test_optimizers_beside_keras.py",
    "tests/layers/sequences/test_masks.py", "tests/layers/sequences/test_recurrent.py",
    "tests/layers/sequences/test_convolutional_lstm.py",
    "tests/layers/sequences/test_merged_masks.py",
    "tests/layers/sequences/test_scans_in_one_kernel.py",
    "tests/layers/sequences/test_states_of_several_axes.py",
    "tests/layers/sequences/test_time_distributed.py",
    "tests/metrics/test_metrics_of_masked_steps.py",
    "tests/fits/test_loss_that_is_no_number.py",
    "tests/layers/test_second_derivatives.py",
    "tests/layers/test_beside_keras_programs.py",
    "tests/layers/test_small_layers.py", "tests/layers/as_in_keras/test_masks_of_formulas.py",
    "tests/layers/as_in_keras/test_enlarging.py",
    "tests/layers/as_in_keras/test_arguments_of_keras.py",
    "tests/layers/pictures/test_changed_pictures.py",
    "tests/references/test_steps_and_channels.py",
    "tests/by_hand/test_calls_in_tapes.py", "tests/layers/test_stateless_calls.py",
    "tests/loaders/test_pictures.py", "tests/training/test_custom_functions.py",
    "tests/training/test_custom_parts.py", "tests/by_hand/test_jacobians.py",
    "tests/by_hand/test_loops_by_hand.py", "tests/by_hand/test_programs_by_hand.py",
    "tests/by_hand/test_steps_by_hand.py", "tests/by_hand/test_tape_jacobians.py",
    "tests/models/test_nested_groups.py", "tests/models/test_results_are_tensors.py",
    "tests/ops/loops/test_scans.py",
    "tests/ops/gather_scatter/test_rearranging.py", "tests/losses/test_heads_by_hand.py",
)  # fmt: skip


@dataclass
class Run:
    """The settings of every stage.

    Attributes:
        emulated: whether the CPU emulates the GPU.
        rounds, rows: of the benchmarks; all rows if None.
        folder: the folder of the benchmarks' data and logs.
        card: the name of the GPU.
        keep: whether the fastest launch modes become settings, see `measured_modes`.
        processes: how many of them test and compile.
    """

    emulated: bool
    rounds: int
    rows: int | None
    folder: Path
    card: str
    keep: bool = False
    processes: int = 1

    @property
    def backend(self) -> str:
        return "emulated" if self.emulated else "cupy"

    @property
    def data(self) -> str:
        return _lay_out(self.folder)


@cache
def _lay_out(folder: Path) -> str:
    return lay_out_data(folder)


@dataclass(frozen=True)
class Stage:
    """A part of the run.

    Attributes:
        title: the title on the page.
        share: its part of the time. What it does not use is left to the stages after it.
        work: runs the stage until a given time, reports each finding, and returns all of them.
        needed: whether the run fails if the stage does not complete.
    """

    title: str
    share: float
    work: Callable[[Run, float, Tell], Report]
    needed: bool = True


# -- the stages


def look(run: Run, until: float, tell: Tell) -> Report:
    """Return the output of ``gpunn doctor``."""
    make_known = "import emulated; " if run.emulated else ""
    command = f"{make_known}from gpunn.apps.cli import main; raise SystemExit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, timeout=max(until - time.monotonic(), 1),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return {"doctor": done.stdout[-8000:], "status": done.returncode}


def compile_kernels(run: Run, until: float, tell: Tell) -> Report:
    """Fill the cache with the kernels of the workloads."""
    kernels = compile_ahead.kernels()[: EMULATED_KERNELS if run.emulated else None]

    def show(report: Report) -> None:
        done = report["compiled"] + len(report["refused"])
        print(f"  {done} of {report['kernels']} kernels", end="\r", flush=True)
        tell(report)

    report = compile_ahead.compile_all(kernels, run.backend, run.processes, until, show)
    print(flush=True)
    return report


def test(
    run: Run, until: float, tell: Tell, files: Sequence[str], expression: str = "",
    sample: str = "all", alone: bool = False,
) -> Report:  # fmt: skip
    """Run some tests in several processes; in one, if they must be ``alone`` on the GPU."""
    wanted = run_tests.Wanted(files, run.backend, expression, sample)
    return run_tests.run(wanted, 1 if alone else run.processes, until, tell)


def other_tests(run: Run, until: float, tell: Tell) -> Report:
    """Run the other cases of parity, and the other GPU tests."""
    first = test(run, until, tell, (*OTHERS, *NEEDY))

    def both(report: Report) -> Report:
        return {
            **first, **report, "collected": first["collected"] + report["collected"],
            "cases": {**first["cases"], **report["cases"]},
        }  # fmt: skip

    def tell_both(report: Report) -> None:
        tell(both(report))

    return both(test(run, until, tell_both, PARITY, sample="rest"))


def time_operations(run: Run, until: float, tell: Tell) -> Report:
    """Time each operation of the workloads' steps separately."""
    if run.emulated:
        reason = "it is a program of its own, which does not know the emulated backend"
        return {"benchmarks": [], "not_measured": reason}
    setting = Setting(
        [], run.folder, run.rounds, {}, lambda text: None, most_seconds=until - time.monotonic()
    )
    return {"benchmarks": list(operations(setting, [run.backend]))}


def look_inside(run: Run, until: float, tell: Tell) -> Report:
    """Time each launch of the workloads' fused steps, and each part of their persistent ones."""
    if run.emulated:
        return {"not_measured": "clocks of an emulated GPU tell nothing"}
    report: Report = {"launches": {}, "parts": {}}
    for workload in ALL_WORKLOADS:
        if time.monotonic() < until:
            report["launches"][workload] = list(inside_steps.launches(workload))
            with suppress(LaunchModeError):  # it is not launched in this mode
                report["parts"][workload] = inside_steps.parts(workload)
            tell(report)
    return report


STAGES = {
    "card": Stage("The GPU, and `gpunn doctor`", 3, look),
    "kernels": Stage("Kernels compiled ahead", 6, compile_kernels),
    "short-list": Stage(
        "The short list of tests", 12,
        partial(test, files=GPU, expression=f"not {COMPARISONS}", alone=True),
    ),
    "epochs": Stage("The workloads in each launch mode", 15, race_modes),
    "neighbours": Stage("The workloads beside neighbours", 28, race_neighbours, needed=False),
    "inside": Stage("Inside the steps", 4, look_inside, needed=False),
    "operations": Stage("Operations by themselves", 3, time_operations, needed=False),
    "comparisons": Stage(
        "Kernels against NumPy", 30, partial(test, files=GPU, expression=COMPARISONS)
    ),
    "parity": Stage(
        "Everything registered against NumPy, one case of each", 20,
        partial(test, files=PARITY, sample="first"),
    ),
    "others": Stage("The other tests, as far as there was time", 3, other_tests, needed=False),
}  # fmt: skip
"""By priority."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time limit of the run")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--rounds", type=int, help="counted rounds of each benchmark")
    parser.add_argument("--rows", type=int, help="rows of the data; all, or 120 when emulated")
    parser.add_argument(
        "--stages", default=",".join(STAGES), help=f"some of them: {','.join(STAGES)}"
    )
    parser.add_argument(
        "--keep-modes", action="store_true",
        help="from now on launch the workloads' steps on this GPU in the modes that were fastest",
    )  # fmt: skip
    arguments = parser.parse_args()
    names = [name for name in arguments.stages.split(",") if name]
    if unknown := set(names) - STAGES.keys():
        parser.error(f"unknown stage {', '.join(sorted(unknown))}; expected some of {list(STAGES)}")
    begun = time.monotonic()
    end = begun + 60 * arguments.minutes - ENDING_SECONDS
    backend = os.environ.setdefault("GPUNN_BACKEND", "cupy")
    emulated = backend == "emulated"
    # Do not wait for network access.
    os.environ.setdefault("GPUNN_OFFLINE", "1")
    paths = [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path[:0] = paths[:2]

    about: dict[str, Any] = {
        "card": describe_gpu(backend), "emulated": emulated, "machine": machine.describe()
    }  # fmt: skip
    stem = re.sub(r"[^a-z0-9]+", "-", about["card"]["name"].lower()).strip("-")
    folder = arguments.out or (ROOT / "runs" / "gpu" if emulated else RESULTS)
    titles = {name: stage.title for name, stage in STAGES.items() if name in names}
    results = Results(folder / f"{stem}-{now()}", titles, about, OURS)
    print(f"{about['card']['name']}: {arguments.minutes:g} minutes at most; {results.folder}")
    with tempfile.TemporaryDirectory() as data:
        run = Run(
            emulated, arguments.rounds or (EMULATED_ROUNDS if emulated else ROUNDS),
            arguments.rows or (EMULATED_ROWS if emulated else None), Path(data),
            about["card"]["name"], arguments.keep_modes,
            _processes(about["card"].get("memory_bytes", sys.maxsize)),
        )  # fmt: skip
        shares = [STAGES[name].share for name in titles]
        for name, share in zip(titles, itertools.accumulate(shares), strict=True):
            do(name, run, begun + share / sum(shares) * (end - begun), results)
    failed = [
        titles[name] for name, report in results.reports.items() if not in_order(name, report)
    ]
    print(f"\n{results.text()}\nWritten: {results.folder}")
    print(f"Failed: {'; '.join(failed)}." if failed else "Nothing failed.")
    return 1 if failed else 0


def do(name: str, run: Run, until: float, results: Results) -> None:
    """Run a stage; findings are written as they arrive."""
    stage, begun, latest = STAGES[name], time.monotonic(), dict[str, Any]()

    def write(state: str, found: Report) -> None:
        latest.clear()
        latest.update(found)
        results.write(name, state, time.monotonic() - begun, found)

    print(f"{stage.title} ({max(until - begun, 0):.0f} s at most)", flush=True)
    state = LATE
    try:
        write(UNDER_WAY, {})
        if begun < until:
            write(UNDER_WAY, stage.work(run, until, partial(write, UNDER_WAY)))
            state = DONE if complete(latest) and time.monotonic() < until else LATE
            state = NOT_MEASURED if "not_measured" in latest else state
    except subprocess.TimeoutExpired:
        pass
    except Exception as error:  # later stages may still succeed
        state = f"failed: {type(error).__name__}: {error}"
    except BaseException:
        state = "interrupted"
        raise
    finally:
        write(state, dict(latest))
        print(f"Written: {results.folder / name}.json", flush=True)


def complete(found: Report) -> bool:
    """Whether the findings of a stage are complete."""
    tested = "cases" not in found or 0 < len(found["cases"]) == found["collected"]
    kernels = found.get("kernels", 0)
    return tested and kernels == found.get("compiled", 0) + len(found.get("refused", ()))


def in_order(name: str, report: Report) -> bool:
    """Whether a stage completed without failures, with gpunn in all of it."""
    failed = [c for c in report.get("cases", {}).values() if c["outcome"] == "failed"]
    raced = all(OURS not in e["failed"] for e in report.get("benchmarks", ()) if "failed" in e)
    fine = (DONE,) if STAGES[name].needed else (DONE, LATE, NOT_MEASURED)
    ended = report["state"] in fine
    refused = report.get("refused") or report.get("status")
    return not failed and not refused and raced and ended


def _processes(memory: int) -> int:
    """Return how many processes fit in the GPU's memory, and on the CPU."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return max(1, min(MOST_PROCESSES, cores, memory // PROCESS_BYTES))


def describe_gpu(backend: str) -> dict[str, Any]:
    """Return the GPU's name and properties; exit if there is none."""
    if backend == "emulated":
        return {"name": "emulated"}
    if backend != "cupy":
        sys.exit(f"GPUNN_BACKEND={backend}: a GPU backend is expected, cupy or emulated.")
    from gpunn.backends.cupy.driver.gpu import why_not

    reason = why_not()
    if reason is not None:
        sys.exit(f"make gpu needs an NVIDIA GPU and CuPy. {reason}")
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": properties["totalGlobalMem"],
        "driver_cuda": runtime.driverGetVersion(),
        "cupy_cuda": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
