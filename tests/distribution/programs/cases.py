"""Several programs of this folder, one after another: ``cases.py REPORT CASES``.

CASES is a JSON list of lists: the program, the backend, and the program's arguments. Before what a
case prints there is a line with its number. REPORT gets what each rank notes about itself.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import threadpoolctl

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import emulated  # noqa: F401  makes the backend of this name known
from several_ranks import MARK

import gpunn
from gpunn.distribution import DataParallel, initialize, rank, set_distribution


class Library:
    """A BLAS library that reports this many threads."""

    def __init__(self, threads: int | None) -> None:
        self.num_threads = threads

    def set_num_threads(self, threads: int) -> None:
        self.num_threads = threads


LIBRARIES = Library(64), Library(None), Library(5)


def join_on_a_large_machine(cores: int) -> None:
    """Join the ranks on a machine of so many cores, with three libraries of many threads."""
    machine = {
        "sched_getaffinity": (os, lambda process: {*range(cores)}),
        "ThreadpoolController": (threadpoolctl, LargeMachine),
    }
    before = [getattr(module, name) for name, (module, _) in machine.items()]
    for name, (module, pretended) in machine.items():
        setattr(module, name, pretended)
    initialize(timeout=60)
    for (name, (module, _)), original in zip(machine.items(), before, strict=True):
        setattr(module, name, original)


class LargeMachine:
    lib_controllers = LIBRARIES

    def select(self, **which: Any) -> LargeMachine:
        return self


def main() -> None:
    report, cases = sys.argv[1], json.loads(sys.argv[2])
    if "PRETENDED_CORES" in os.environ:
        join_on_a_large_machine(int(os.environ["PRETENDED_CORES"]))
    elif cases[0][0] != "commands":  # which joins the ranks itself
        initialize(timeout=60)
    statuses: list[Any] = []
    for number, (program, backend, *words) in enumerate(cases):
        for stream in (sys.stdout, sys.stderr):
            print(f"{MARK} {number}", file=stream, flush=True)
        gpunn.backend.clear_session()
        gpunn.config.set_floatx("float32")
        gpunn.use_backend(backend)
        set_distribution(DataParallel())
        statuses.append(importlib.import_module(program).run(*words))
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        divided = [library.num_threads for library in LIBRARIES]
        notes = {"statuses": statuses, "threads": threads(), "gpus": gpus, "divided": divided}
        Path(f"{report}-{rank()}.json").write_text(json.dumps(notes))
    sys.exit(max(status or 0 for status in statuses))


def threads() -> int:
    """Return how many threads the products of matrices use."""
    return max(pool["num_threads"] for pool in threadpoolctl.threadpool_info())


if __name__ == "__main__":
    main()
