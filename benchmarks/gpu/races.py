"""The races of ``make gpu``: the workloads in each launch mode, and beside other frameworks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from benchmarks.common.workloads import ALL_WORKLOADS, IMAGE_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from benchmarks.race import catalog
from benchmarks.race.processes import Program
from benchmarks.race.rounds import EPOCH, Race, predict
from benchmarks.race.tiers import race_entry
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.backend import LAUNCH_MODES
from gpunn.backends.cupy.launch.known_gpus import find_gpu
from gpunn.backends.cupy.launch.measured_modes import keep_mode
from gpunn.backends.cupy.launch.modes import step_key

from .results import Report

if TYPE_CHECKING:
    from .run import Run

Tell = Callable[[Report], None]

OURS = f"gpunn {catalog.ON_GPU}"  # in the default launch mode
DATA_THERE = f"gpunn, data there {catalog.ON_GPU}"  # as the others have them
NEIGHBOURS = (
    catalog.SCAN, "PyTorch, CUDA graph of 25 steps", catalog.FUSED, catalog.JIT, catalog.EAGER,
    "PyTorch, torch.compile with CUDA graphs",
)  # fmt: skip  # in this order, as far as there is time: the last one compiles for minutes


def race_modes(run: Run, until: float, tell: Tell) -> Report:
    """Measure gpunn in its default launch mode, and in each of them."""
    (ours,) = (v for v in catalog.variants() if v.name == OURS)
    programs = [catalog.program(ours)]
    for mode in LAUNCH_MODES:
        one = catalog.program(ours, GPUNN_LAUNCH_MODE=mode)
        programs.append(Program(f"gpunn, {mode}", one.file, OURS, one.environment, True))
    report = race(run, until, tell, programs, {})
    return {**report, "kept": keep_modes(run, report["benchmarks"])} if run.keep else report


def keep_modes(run: Run, entries: list[Report]) -> dict[str, str]:
    """Keep the fastest launch mode of each workload's step, see `measured_modes`; return them."""
    name = run.card
    known, kept = find_gpu(name), dict[str, str]()
    for entry in entries:
        workload, samples = entry["key"].removesuffix(" epoch"), entry["samples"]
        seconds = {
            mode: statistics.median(samples[f"gpunn, {mode}"])
            for mode in LAUNCH_MODES
            if f"gpunn, {mode}" in samples
        }
        if workload in ALL_WORKLOADS and seconds:
            work = ALL_WORKLOADS[workload]
            step = step_profile.profile_step(network(work, "numpy"), work["batch"])
            kept[workload] = min(seconds, key=seconds.__getitem__)
            keep_mode(known.name if known else name, step_key(step), kept[workload])
    return kept


def race_neighbours(run: Run, until: float, tell: Tell) -> Report:
    """Compare gpunn with the installed frameworks, each in one process for all workloads."""
    known = {variant.name: variant for variant in catalog.variants()}
    programs, missing = [catalog.program(known[name]) for name in (OURS, DATA_THERE)], {}
    for name in (f"{name} {catalog.ON_GPU}" for name in NEIGHBOURS):
        reason = catalog.why_absent(known[name].requires, on_gpu=True)
        if reason is None:
            programs.append(catalog.program(known[name]))
        else:
            missing[name] = reason
    if len(programs) == 2:  # both are gpunn's
        return {"missing": missing}
    with Race(programs, "W1", 0, run.folder, run.rows, deadline=until) as same:
        same.start_all()
        return race(run, until, tell, programs, {"missing": missing}, same)


def race(
    run: Run, until: float, tell: Tell, programs: list[Program], found: Report,
    same: Race | None = None,
) -> Report:  # fmt: skip
    """Measure epochs of each workload, and predictions of W2's network; report each workload.

    Each workload is a race of its own, with new processes, unless all are the ``same`` race.
    """
    report = {"data": run.data, **found, "benchmarks": []}
    images = predict(min(run.rows or 10_000, 10_000))
    for number, workload in enumerate(ALL_WORKLOADS):
        left = until - time.monotonic()
        if left <= 0:
            break
        enough = time.monotonic() + left / (len(ALL_WORKLOADS) - number)
        measures = {f"{workload} epoch": EPOCH} | ({"W5a": images} if workload == "W2" else {})
        able = [p for p in programs if workload not in IMAGE_WORKLOADS or catalog.convolves(p)]
        rows = run.rows or (10_000 if workload in IMAGE_WORKLOADS else 60_000)
        if same is None:
            entered: AbstractContextManager[Race] = Race(
                able, workload, rows, run.folder, run.rows, deadline=until
            )
        else:
            same.turn_to(workload, rows)
            entered = nullcontext(same)
        with entered as one:
            one.warm_up(list(measures.values()), enough, lambda text: None, same is not None)
            for key, measure in measures.items():
                samples = one.run([measure], run.rounds, enough, lambda text: None)
                entry = race_entry(one, key, [measure], samples, ["step", "epoch"])
                report["benchmarks"].append(entry)
        tell(report)
        print(f"  {workload}", flush=True)
    return report
