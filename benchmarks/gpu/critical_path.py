"""The launches of the workloads' steps on a GPU, and the longest chain of instructions in each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn.apps.roofline import step_profile
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import BLOCK, WARP, Kernel
from gpunn.backends.cupy.launch.kernel_source import NULL, dtype_named
from gpunn.backends.cupy.launch.known_gpus import GPU, known_gpu
from gpunn.backends.cupy.launch.tasks import Task
from gpunn.utils import set_random_seed

from . import nvrtc, sass
from .thread import Thread, Time, first_constants

WARPS_ISSUE = 4
"""Warps of a multiprocessor that issue an instruction in a cycle: it has four schedulers (CUDA C++
Programming Guide, Compute Capabilities)."""


@dataclass(eq=False)
class Launched:
    """A launch of a step.

    Attributes:
        tasks: what it does.
        kernel: its kernel; None for what a library does.
        blocks: of its grid.
        arguments: of its kernel.
    """

    tasks: Sequence[Task]
    kernel: Kernel | None
    blocks: int = 0
    arguments: Sequence[Any] = ()

    @property
    def without_constants(self) -> Launched:
        """The same launch, by a kernel that receives the sizes of the step as arguments."""
        assert self.kernel is not None
        constants, arguments = dict(self.kernel.constants), iter(self.arguments)
        values = []
        for parameter in self.kernel.declared:
            if parameter.name not in constants:
                values.append(next(arguments))
            elif constants[parameter.name] is None:
                values.append(NULL)
            else:
                dtype = dtype_named(parameter.type)
                values.append(np.array(constants[parameter.name], dtype)[()])
        kernel = replace(self.kernel, constants=())
        return Launched(self.tasks, kernel, self.blocks, values)


def step(workload: str, mode: str, gpu: GPU | None = None) -> list[Launched]:
    """Return the launches of a step in a launch mode, without using a GPU.

    Args:
        workload: such as "W1".
        mode: such as "fused".
        gpu: by default a GTX 1060.
    """
    work: dict[str, Any] = ALL_WORKLOADS[workload]
    backend: Any = dry.make_backend(gpu or known_gpu("GTX 1060 6GB"))
    backend.launch_mode = mode
    seen: list[tuple[int, Sequence[Any]]] = []

    def prepare(kernel: Kernel) -> Callable[..., None]:
        return lambda grid, block, arguments: seen.append((grid[0], arguments))

    backend.kernels.prepare = prepare
    set_random_seed(0)  # a thread may draw several numbers to find its row in the order
    model = step_profile.copied(network(work, "numpy"), backend)
    program: Any = step_profile.step_program(model, work["batch"], 1)
    program.run(1)
    recorded = iter(seen)
    return [
        Launched(launch.tasks, launch.kernel, *(next(recorded) if launch.kernel else ()))
        for launch in program.launches
    ]


def thread_time(launched: Launched, architecture: int, far: bool) -> Time:
    """Return the time of the thread that is expected to take longest: the first thread of the
    first block, or of the last one, which has work of its own in a persistent kernel.

    Args:
        launched: a launch of a kernel.
        architecture: such as 61.
        far: whether it reads from memory, not from the L2 cache.
    """
    kernel = launched.kernel
    assert kernel is not None
    code, _ = compiled(kernel, architecture)
    constants = first_constants(kernel, launched.blocks, launched.arguments, architecture)
    places = [(r.start, r.stop) for task in launched.tasks for r in task.regions]
    places += [
        (array.ctypes.data, array.ctypes.data + array.nbytes)
        for array in launched.arguments
        if isinstance(array, np.ndarray)
    ]

    def read(address: int) -> int | None:
        for start, stop in places:
            if start <= address < stop:
                return int.from_bytes(ctypes.string_at(address, min(4, stop - address)), "little")
        return None

    times = []
    for block in {0, launched.blocks - 1} if kernel.repeats else {0}:
        special = {"SR_TID.X": 0, "SR_CTAID.X": block, "SR_LANEID": 0, "SR_LTMASK": 0}
        thread = Thread(code, constants, special, architecture // 10, read, far)
        times.append(thread.run())
    return max(times)


@cache
def compiled(kernel: Kernel, architecture: int) -> tuple[sass.Code, nvrtc.Resources]:
    """Return a kernel's machine code, and the GPU resources that it uses."""
    code, log, _ = nvrtc.machine_code(kernel.text, architecture)
    return sass.parse(sass.disassemble(code)), nvrtc.resources_of(log, kernel.name)


def seconds(launched: Launched, time: Time, gpu: GPU, resident: int) -> float:
    """Return the seconds of the launch's longest chain of instructions, once for each time that
    the GPU is filled with blocks; or of issuing all of its instructions, if that is longer.

    Args:
        launched: a launch of a kernel.
        time: of its thread.
        gpu: the GPU.
        resident: blocks that a multiprocessor holds at once.
    """
    each = -(-launched.blocks // gpu.multiprocessors)  # blocks of a multiprocessor
    issue = time.instructions * each * (BLOCK // WARP) / WARPS_ISSUE
    return max(time.cycles * -(-each // resident), issue) / gpu.clock
