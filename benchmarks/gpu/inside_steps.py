"""Where the time of a step goes on the GPU: each launch of a fused step, and each part of a
persistent kernel, which notes the clock of a multiprocessor after every part."""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn.backends import get_backend
from gpunn.backends.cupy.driver.nvrtc import load_code
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.modes import LaunchModeError
from gpunn.backends.cupy.launch.protocols import KernelLauncher, KernelSet
from gpunn.feeding.data import to_rows

LAUNCHES, REPLAYS = 50, 9
FEW, STEPS, SECONDS = 20, 2000, 0.1  # at most, of a replay of a persistent step
MOST_PARTS = 128
# The first block takes rows of the batch, the last one does the sums of a single block. The sums
# are in shared memory: a read of another would take as long as a part.
CLOCK = f"""
extern "C" __device__ unsigned long long clock_sums[2][{MOST_PARTS}];
#define CLOCK_BEGIN() \\
    __shared__ unsigned long long clock_here[{MOST_PARTS}]; \\
    for (int i = threadIdx.x; i < {MOST_PARTS}; i += BLOCK) clock_here[i] = 0; \\
    __syncthreads();
#define CLOCK_START() long long clock_before = clock64();
#define CLOCK(part) \\
    if (threadIdx.x == 0) {{ \\
        const long long clock_now = clock64(); \\
        clock_here[part] += clock_now - clock_before; \\
        clock_before = clock_now; \\
    }}
#define CLOCK_END() \\
    if (threadIdx.x == 0 && (blockIdx.x == 0 || blockIdx.x == gridDim.x - 1)) \\
        for (int i = 0; i < {MOST_PARTS}; ++i) clock_sums[blockIdx.x > 0][i] += clock_here[i];
"""


def with_clock(kernel: Kernel) -> tuple[str, list[str]]:
    """Return the source of a persistent kernel that notes the clock, and the names of its parts.

    >>> from gpunn.backends.cupy.launch.codegen import PartCall, Stage
    >>> clip = Stage("grid", (PartCall("clip_values", ("float",)),))
    >>> text, names = with_clock(Kernel((clip, Stage("barrier", ())), repeats=True))
    >>> names
    ['clip_values', 'barrier']
    """
    names: list[str] = []
    inside = False

    def noted(line: str) -> str:
        nonlocal inside
        part: Any = re.match(r"\s*(?:threads.sync\(\); )?(\w+)(?:<.*>)?\(threads", line)
        if line.strip().startswith("for (int64 step = 0"):
            return f"    CLOCK_BEGIN()\n{line}\n        CLOCK_START()"
        if line.strip().startswith("grid_barrier"):
            inside = True
        if line.strip() in ("});", "grid_barrier(barrier);") and inside:
            inside, part = False, ("", "barrier")
        if not part or inside:
            return line
        names.append(part[1])
        return f"{line} CLOCK({len(names) - 1})"

    *lines, end = map(noted, kernel.function.splitlines())
    function = "\n".join([*lines, "    CLOCK_END()", end])
    return kernel.text.replace(kernel.function, f"{CLOCK}\n{function}\n"), names


class Clocked:
    """A GPU's kernel set whose persistent kernels note the clock."""

    def __init__(self, kernels: KernelSet, cupy: Any) -> None:
        self.blocks, self.resident, self.gpu = kernels.blocks, kernels.resident, kernels.gpu
        self._kernels, self._cupy = kernels, cupy
        self.names: list[str] = []
        self.sums: Any = None

    def prepare(self, kernel: Kernel) -> KernelLauncher:
        if not kernel.repeats:
            return self._kernels.prepare(kernel)
        text, self.names = with_clock(kernel)
        module = self._cupy.cuda.Module()
        module.load(load_code(text, int(self._cupy.cuda.Device().compute_capability)))
        memory = self._cupy.cuda.UnownedMemory(
            module.get_global_var("clock_sums"), 2 * MOST_PARTS * 8, module
        )
        pointer = self._cupy.cuda.MemoryPointer(memory, 0)
        self.sums = self._cupy.ndarray((2, MOST_PARTS), np.uint64, pointer)
        function = module.get_function(kernel.name)

        def launch(*arguments: Any) -> None:
            function(*arguments, enable_cooperative_groups=True)

        return launch


def program(workload: str, mode: str, backend: str) -> Any:
    """Return a workload's network and the program of its training step, in a launch mode."""
    work, root = ALL_WORKLOADS[workload], get_backend(backend)
    rows, random = STEPS * work["batch"], np.random.default_rng(0)
    x = random.integers(0, 256, (rows, 28, 28), np.uint8)
    y = random.integers(0, 10, rows).astype(np.uint8)
    with patch.object(root, "launch_mode", mode):  # copies of the backend, made here, keep it
        model = network(work, backend)
        trainer = model._trainer
        data = to_rows(trainer.spec, x, y)
        made = trainer.training.program(work["batch"], data, data.order(trainer.seed))
    return model, made


def seconds(run: Callable[[], None], wait: Callable[[], None]) -> float:
    """Return the median duration of ``run`` until the GPU has ended it."""
    samples = []
    for _ in range(REPLAYS):
        wait()
        begun = time.perf_counter()
        run()
        wait()
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples)


def launches(workload: str, backend: str = "cupy") -> Iterator[dict[str, Any]]:
    """Yield each launch of a fused step with its duration when it is repeated."""
    model, made = program(workload, "fused", backend)
    made.run(1)
    gpu = model._trainer.training.backend
    for launch in made.program.launches:
        replay, _ = gpu.capture(launch.run, LAUNCHES)
        replay()
        names = [task.name or type(task).__name__ for task in launch.tasks]
        yield {"parts": names, "seconds": seconds(replay, gpu.synchronize) / LAUNCHES}


def parts(workload: str) -> list[dict[str, Any]]:
    """Return each part of a persistent step with its clock cycles, in the first and last block."""
    import cupy

    root: Any = get_backend("cupy")
    plain, clocked = root.kernels, Clocked(root.kernels, cupy)
    root.kernels = clocked
    try:
        model, made = program(workload, "persistent", "cupy")
        gpu = model._trainer.training.backend
        made.run(FEW)
        taken = seconds(lambda: made.run(FEW), gpu.synchronize) / FEW
        steps = max(FEW, min(STEPS, int(SECONDS / taken)))
        with gpu.stream_lock:
            clocked.sums.fill(0)
        taken = seconds(lambda: made.run(steps), gpu.synchronize) / steps
        cycles = gpu.read(clocked.sums) / (steps * REPLAYS)
    finally:
        root.kernels = plain
    found = [
        {"part": name, "first": float(cycles[0, k]), "last": float(cycles[1, k])}
        for k, name in enumerate(clocked.names)
    ]
    return [*found, {"part": "a step", "seconds": taken}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=list(ALL_WORKLOADS))
    parser.add_argument("--mode", choices=("fused", "persistent"), help="both by default")
    arguments = parser.parse_args()
    for workload in arguments.workloads if arguments.mode != "persistent" else ():
        print(f"{workload}, fused: us of each launch")
        for entry in launches(workload):
            print(f"{1e6 * entry['seconds']:8.2f}  {' '.join(entry['parts'])}", flush=True)
    for workload in arguments.workloads if arguments.mode != "fused" else ():
        try:
            found = parts(workload)
        except LaunchModeError as error:
            print(f"{workload}, persistent: {error}")
            continue
        print(f"{workload}, persistent: cycles of each part, in the first and the last block")
        for entry in found[:-1]:
            print(f"{entry['first']:8.0f} {entry['last']:8.0f}  {entry['part']}")
        print(f"a step: {1e6 * found[-1]['seconds']:.2f} us", flush=True)


if __name__ == "__main__":
    main()
