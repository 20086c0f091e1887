"""Compile kernels before they are launched, in several processes: NVRTC takes up to a second per
kernel, and compiled kernels are cached on disk.

Run as a program, it is such a process: it reads kernels from its input, and answers each with a
line.
"""

from __future__ import annotations

import base64
import importlib
import json
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn import backends
from gpunn.backends.contract.backend import LAUNCH_MODES
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.known_gpus import GPUS
from gpunn.backends.cupy.launch.protocols import KernelLauncher, KernelSet, Matmul, MatmulLibrary

from .processes import started

DRY = "the GPU that only lists its kernels"
# Kernels are compiled for the sizes of batches. The rows of every workload are a multiple of its
# batch size; the 10,000 of the test data end with a batch of 16.
TESTED = 32 + 16


class _Listed:
    """A kernel set that records the requested kernels."""

    def __init__(self, kernels: KernelSet, found: dict[Kernel, None]) -> None:
        self.blocks, self.resident, self.gpu = kernels.blocks, kernels.resident, kernels.gpu
        self._kernels, self._found = kernels, found

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        self._found[kernel] = None
        return self._kernels.prepare(kernel)


class _Offering:
    """Products with every epilogue: the other launches of a step depend on the available ones."""

    def __init__(self, products: MatmulLibrary) -> None:
        self.precisions = products.precisions

    def __call__(self, product: Matmul) -> None:
        """Do nothing."""

    def offers(self, product: Matmul) -> bool:
        return True


def kernels() -> list[Kernel]:
    """Return the kernels of the workloads in each launch mode, each once, without using a GPU."""
    found: dict[Kernel, None] = {}
    random = np.random.default_rng(0)
    for mode in LAUNCH_MODES:
        for epilogues in (False, True) if mode == "fused" else (False,):
            for work in ALL_WORKLOADS.values():
                backend = dry.make_backend(GPUS[-1])
                backend.kernels, backend.launch_mode = _Listed(backend.kernels, found), mode
                if epilogues:
                    backend.blas = _Offering(backend.blas)
                backends.register_backend(DRY, lambda made=backend: made)
                model = network(work, DRY)
                batch = work["batch"]
                rows = batch + TESTED
                x = random.integers(0, 256, (rows, 28, 28), np.uint8)
                y = random.integers(0, 10, rows).astype(np.uint8)
                try:
                    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
                except RuntimeError:
                    continue  # a mode that this step does not support
                model.evaluate(x[:TESTED], y[:TESTED], verbose=0)
                network(work, DRY, bytes_in=False).predict(
                    x.reshape(rows, 784).astype(np.float32), verbose=0
                )
    return list(found)


def compile_all(
    kernels: Sequence[Kernel], backend: str, processes: int, until: float,
    tell: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Compile kernels in several processes until ``until``; progress is reported after each."""
    report: dict[str, Any] = {
        "kernels": len(kernels), "compiled": 0, "processes": processes, "refused": {}
    }  # fmt: skip
    waiting, lock = iter(kernels), threading.Lock()

    def following() -> Iterable[Kernel]:
        while time.monotonic() < until:
            with lock:
                kernel = next(waiting, None)
            if kernel is None:
                return
            yield kernel

    def work() -> None:
        with (
            suppress(OSError, ValueError),  # the time limit was reached, or the process ended
            started("benchmarks.gpu.compile_ahead", until, backend) as (_, given, output),
        ):
            for kernel in following():
                given.write(base64.b64encode(pickle.dumps(kernel)).decode() + "\n")
                given.flush()
                answer = json.loads(output.readline() or '"the compiler ended"')
                with lock:
                    report["compiled"] += answer is None
                    if answer is not None:
                        report["refused"][kernel.name] = answer
                    tell(report)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return report


def main(name: str) -> None:
    if name == "emulated":
        importlib.import_module(name)  # registers it
    prepare = backends.get_backend(name).kernels.prepare  # type: ignore[attr-defined]
    for line in sys.stdin:
        try:
            prepare(pickle.loads(base64.b64decode(line)))
            answer = None
        except Exception as error:  # its message holds the compiler's errors
            answer = f"{type(error).__name__}: {error}"[:500]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
