"""Kernels as compositions of the parts in ``kernels/``: the source that is compiled.

A kernel is generated. It calls its parts one after the other, in stages, and takes the parameters
of its parts. A stage defines which threads do its parts together (`ThreadGroup` in
``threads.cuh``):

- stage ``grid``: all threads of the grid divide the elements, and are independent;
- stage ``rows``: the rows of the batch are divided into slices. A group of threads, a warp or a
  block, does all parts of the stage for one slice, then for the next. The threads of the group
  synchronize before a part that reads the results of an earlier one;
- stage ``blocks``: each block does a part of the work by itself;
- stage ``last``: one block does it: the last one to arrive, when all others have ended.

A persistent kernel repeats its stages, once for each step. It has three additional ones:

- stage ``once``: one block does it, while the other blocks continue;
- stage ``each``: every block does it, to its own copy of an array: the counters of the step, or of
  one of its optimizers;
- stage ``barrier``: all blocks wait for each other; the last to arrive does the stage's parts.

What a stage repeats with other arguments, such as the steps of a scan, is a `Loop`. The arguments
that differ between iterations are in a table in the device's memory.

The kernels of a step have its sizes and flags as constants. Their source then defines these
parameters instead of receiving them, and the compiler folds what depends on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import count
from typing import Any, ClassVar

from .kernel_source import Constant, KernelParameter, add, added, part_named, parts, source

STAGES = {"ELEMENT": "grid", "ROW": "rows", "BLOCK": "blocks", "LAST": "last"}
"""The stage of a part that is launched alone, by its mark."""

BLOCK = 256  # threads of a block, as in threads.cuh
WARP = 32

COPY = "own_counters"  # of a block of a persistent kernel, with the number of the array

RESIDENT_BLOCKS = 2
"""Blocks of a persistent kernel that a multiprocessor holds at once: the compiler limits registers
accordingly. With a third one, some kernels would spill registers to memory."""

PARAMETER_BYTES = 4096
"""Bytes that the parameters of a kernel may take on every GPU. From compute capability 7.0 on
the limit is 32,764, with driver and compiler of CUDA 12.1 or newer, but kernels are composed in the
same way for all GPUs. See the CUDA C++ Programming Guide, "Function Parameters"."""


@dataclass(frozen=True)
class PartCall:
    """The call of a device function, a part, in the text of a kernel.

    Attributes:
        choices: its template arguments.
        syncs: whether the threads of a group synchronize before it.
        copy: the number of the array that it has a block's copy of.
    """

    part: str
    choices: tuple[str, ...]
    syncs: bool = False
    copy: int = 0
    iterations: ClassVar[int] = 1
    varying: ClassVar[tuple[int, ...]] = ()

    @property
    def calls(self) -> tuple[PartCall, ...]:
        """Itself, as a loop of one iteration."""
        return (self,)

    @property
    def entry(self) -> str:
        return part_named(self.part).entry(*self.choices)

    def parameters(self, number: int) -> list[KernelParameter]:
        """Return its parameters: their types, and their names in call ``number``."""
        part = part_named(self.part)
        return [
            KernelParameter(
                part.type_of(p, self.choices), p.pointer, p.constant, p.mark, f"{p.name}_{number}"
            )
            for p in part.parameters
        ]


@dataclass(frozen=True)
class Loop:
    """Parts that the threads of a stage repeat.

    Attributes:
        varying: the arguments that differ between iterations, by their positions in one. They
            are in the kernel's table: a row for each iteration, 8 bytes for each argument.
    """

    calls: tuple[PartCall, ...]
    iterations: int
    varying: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Parts and loops that the same threads perform one after the other."""

    name: str
    calls: tuple[PartCall | Loop, ...]


@dataclass(frozen=True)
class Kernel:
    """A composition of parts.

    It declares, in order, the parameters of each stage and of its parts. A stage ``rows``
    has three: the number of slices, how many of them a group does at a time, and the
    threads of a group. A stage ``last`` after another one has the counter of arrived blocks.
    The first parameter of a persistent kernel is its barrier's memory, the last the number of
    steps. The table of its loops, if it has any, comes second.

    Attributes:
        repeats: whether it repeats them: then it is persistent, and all of its blocks must be
            resident on the GPU at once.
        constants: the values of parameters that are constants, by name.
    """

    stages: tuple[Stage, ...]
    repeats: bool = False
    constants: tuple[tuple[str, Constant], ...] = ()

    @cached_property
    def calls(self) -> tuple[PartCall, ...]:
        return tuple(call for stage in self.stages for part in stage.calls for call in part.calls)

    @cached_property
    def declared(self) -> tuple[KernelParameter, ...]:
        """The parameters of its stages, with their types and names in its source."""
        found, numbers = [], count()
        if self.repeats:
            found = [KernelParameter("uint32", True, False, "", "barrier")]
        if any(part.varying for stage in self.stages for part in stage.calls):
            found.append(KernelParameter("int64", True, True, "", "table"))
        for at, stage in enumerate(self.stages):
            if stage.name == "rows":
                found += [_number(f"slices_{at}"), _number(f"at_once_{at}", "RUN_TIME")]
                found.append(_number(f"size_{at}"))
            elif stage.name == "last" and at:
                found.append(KernelParameter("uint32", True, False, "", "arrivals"))
            for part in stage.calls:
                iteration = [p for call in part.calls for p in call.parameters(next(numbers))]
                found += [p for place, p in enumerate(iteration) if place not in part.varying]
        return (*found, _number("steps", "RUN_TIME")) if self.repeats else tuple(found)

    @cached_property
    def parameters(self) -> tuple[KernelParameter, ...]:
        """Those that a launch passes: all but the constants."""
        constants = dict(self.constants)
        return tuple(p for p in self.declared if p.name not in constants)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle also the sources that were added to those in ``kernels/``."""
        sources = added(part_named(call.part).file for call in self.calls)
        return _restored, (self.stages, self.repeats, self.constants, sources)

    @property
    def fits(self) -> bool:
        """Whether a launch can pass its parameters, on every GPU."""
        return parameter_bytes(self.parameters) <= PARAMETER_BYTES

    @cached_property
    def name(self) -> str:
        """A unique name that shows in a profile what the kernel does."""
        if len(self.calls) == 1 and not self.constants:
            return "_".join((self.calls[0].part, "kernel", *self.calls[0].choices))
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        ends = dict.fromkeys((self.calls[0].part, self.calls[-1].part))
        return f"{'_to_'.join(ends)}_{digest}"

    @cached_property
    def function(self) -> str:
        """The source of its ``__global__`` function."""
        declared = ",\n    ".join(f"{p.value_type} {p.name}" for p in self.parameters)
        defined = dict(self.constants)
        constants = [p.definition(defined[p.name]) for p in self.declared if p.name in defined]
        lines, numbers, row = [], count(), 0
        for at, stage in enumerate(self.stages):
            calls: list[str] = []
            for part in stage.calls:
                iteration = list(self._iteration(part, numbers))
                calls += _loop(iteration, part, row) if part.iterations > 1 else iteration
                row += part.iterations * len(part.varying)
            lines += _stage(stage.name, at, calls)
        if self.repeats:
            inner = (f"    {line}" for line in lines)
            lines = ["for (int64 step = 0; step < steps; ++step) {", *inner, "}"]
            for copy, parameters in self._copied().items():
                lines = _with_copy(copy, parameters, lines)
        body = "\n".join(f"    {line}" for line in [*constants, *lines])
        bounds = f"__launch_bounds__(BLOCK, {RESIDENT_BLOCKS}) " * self.repeats
        head = f'extern "C" __global__ void {bounds}{self.name}('
        return f"{head}\n    {declared}) {{\n{body}\n}}\n"

    def _copied(self) -> dict[str, list[KernelParameter]]:
        """Return the parameters of the arrays that each block has a copy of, by its name."""
        found: dict[str, list[KernelParameter]] = {}
        for number, call in enumerate(self.calls):
            for p in call.parameters(number):
                if p.mark == "BLOCK_COPY":
                    found.setdefault(f"{COPY}_{call.copy}", []).append(p)
        return found

    def _iteration(self, part: PartCall | Loop, numbers: Iterator[int]) -> Iterator[str]:
        """Yield the calls of one iteration of a part or loop."""
        places = count()
        for call in part.calls:
            arguments = ["threads"]
            for p in call.parameters(next(numbers)):
                place = next(places)
                if place in part.varying:
                    arguments.append(f"argument<{p.value_type}>(row, {part.varying.index(place)})")
                else:
                    is_copied = self.repeats and p.mark == "BLOCK_COPY"
                    arguments.append(f"{COPY}_{call.copy}" if is_copied else p.name)
            yield f"{'threads.sync(); ' * call.syncs}{call.entry}({', '.join(arguments)});"

    @cached_property
    def text(self) -> str:
        """The complete source for the compiler."""
        files = dict.fromkeys(part_named(call.part).file for call in self.calls)
        return f'{source(*files)}\n#line 1 "{self.name}"\n{self.function}'


def _restored(
    stages: tuple[Stage, ...],
    repeats: bool,
    constants: tuple[tuple[str, Constant], ...],
    sources: dict[str, str],
) -> Kernel:
    for file, text in sources.items():
        add(file, text)
    return Kernel(stages, repeats, constants)


def parameter_bytes(parameters: Iterable[KernelParameter]) -> int:
    """Return the size of a launch's parameters: one after the other, each at a multiple of
    its size.

    >>> flag, number = KernelParameter("bool", False, False, "", "b"), _number("n")
    >>> parameter_bytes([flag, number, flag])
    17
    """
    total = 0
    for parameter in parameters:
        total += -total % parameter.bytes + parameter.bytes
    return total


def _number(name: str, mark: str = "") -> KernelParameter:
    return KernelParameter("int64", False, False, mark, name)


_OPENINGS = {
    "grid": ("{", "grid_group()"),
    "blocks": ("{", "block_group()"),
    "last": ("if (last_block(arrivals)) {", "only_group()"),
    "once": ("if (blockIdx.x == gridDim.x - 1) {", "only_group()"),
    "each": ("{", "block_group()"),
    "barrier": ("grid_barrier(barrier, [&] {", "only_group()"),
}


def _loop(iteration: Sequence[str], loop: PartCall | Loop, row: int) -> list[str]:
    """Return the lines of a loop whose rows of the table begin at its argument ``row``."""
    width = len(loop.varying)
    return [
        f"for (int64 turn = 0; turn < {loop.iterations}; ++turn) {{",
        *([f"    const int64* row = table + {row} + {width} * turn;"] if width else []),
        *(f"    {call}" for call in iteration),
        "}",
    ]


def _stage(name: str, at: int, calls: list[str]) -> list[str]:
    inner = [f"    {call}" for call in calls]
    if name == "rows":
        return [
            f"for (ThreadGroup threads = first_slices(slices_{at}, at_once_{at}, size_{at});",
            f"     threads.slice < slices_{at}; threads = next_slices(threads, at_once_{at})) {{",
            *inner,
            "}",
        ]
    opening, group = _OPENINGS[name]
    if name == "last" and not at:
        opening = "{"
    if name == "barrier" and not calls:
        return ["grid_barrier(barrier);"]
    if calls:
        inner.insert(0, f"    const ThreadGroup threads = {group};")
    if name == "each":
        inner = ["    __syncthreads();", *inner, "    __syncthreads();"]
    return [opening, *inner, "});" if name == "barrier" else "}"]


def _with_copy(copy: str, parameters: list[KernelParameter], lines: list[str]) -> list[str]:
    """Return the lines of a persistent kernel between copies of counters: to each block before the
    lines, and from the last block afterwards. Each block reads its own copy, which is near."""
    written = [p for p in parameters if not p.constant]
    begin = [
        f"__shared__ int64 {copy}[COUNTERS];",
        f"if (threadIdx.x < COUNTERS) {copy}[threadIdx.x] = {parameters[0].name}[threadIdx.x];",
        "__syncthreads();",
    ]
    end = [
        "if (blockIdx.x == gridDim.x - 1 && threadIdx.x < COUNTERS)",
        *(f"    {p.name}[threadIdx.x] = {copy}[threadIdx.x];" for p in written[:1]),
    ]
    return [*begin, *lines, *(end if written else [])]


def by_itself(call: PartCall) -> Kernel:
    """Return the kernel of one part.

    >>> print(by_itself(PartCall("clip_values", ("float",))).function)
    extern "C" __global__ void clip_values_kernel_float(
        float* gradients_0,
        float limit_0,
        int64 n_0) {
        {
            const ThreadGroup threads = grid_group();
            clip_values<float>(threads, gradients_0, limit_0, n_0);
        }
    }
    <BLANKLINE>
    """
    return Kernel((Stage(STAGES[part_named(call.part).mark], (call,)),))


@cache
def every_kernel(file: str) -> tuple[Kernel, ...]:
    """Return the kernels that single operations launch of a ``.cu`` file, in all instantiations.

    A file's last part follows each of its other parts.
    """
    inside = [part for part in parts().values() if part.file == file]
    ends = [part for part in inside if part.mark == "LAST"]
    found = []
    for part in inside:
        for choices in part.every_choice():
            stages = by_itself(PartCall(part.name, choices)).stages
            if ends and part is not ends[0]:
                stages += by_itself(PartCall(ends[0].name, choices[:1])).stages
            elif ends and len(inside) > 1:
                continue
            found.append(Kernel(stages))
    return tuple(found)
