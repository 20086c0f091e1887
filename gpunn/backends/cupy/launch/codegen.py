"""Kernels as compositions of the parts in ``kernels/``: the text that is compiled.

A kernel is generated: it calls its parts one after the other, and its parameters are
theirs. Each part gets a share of its work, and its mark says how that may be cut:

- stage ``grid``: all threads share the elements out, and need nothing of each other;
- stage ``rows``: arrays are cut into pieces; a team of threads, a warp or a block, takes a
  piece through all parts of the stage, and meets between those of which one needs the other;
- stage ``blocks``: each block does a share, alone;
- stage ``last``: the last block to get there does it, when all others are done.

A kernel of whole steps repeats its stages. There are two more in it:

- stage ``once``: one block does it, beside what the others do;
- stage ``barrier``: all blocks come together; the last to get there does its parts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property

from .parts import Parameter, parts, source

STAGES = {"ELEMENT": "grid", "ROW": "rows", "BLOCK": "blocks", "LAST": "last"}
"""The stage that a part has by itself, by its mark."""

BLOCK = 256  # threads of a block, as in threads.cuh
WARP = 32


@dataclass(frozen=True)
class Call:
    """A part in a kernel.

    Attributes:
        part: its name.
        choices: its template arguments.
        meets: whether the threads of its team come together before it.
    """

    part: str
    choices: tuple[str, ...]
    meets: bool = False

    @property
    def entry(self) -> str:
        return parts()[self.part].entry(*self.choices)


@dataclass(frozen=True)
class Stage:
    """Parts that are shared out alike."""

    name: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Kernel:
    """One kernel: what it is composed of.

    Its parameters are those of its stages (``rows``: number of pieces, how many a team takes
    at a time, threads of a team; ``last`` after another stage: the counter of arrivals) and
    of their parts, in order. If it
    repeats them, the number of steps and the memory of the barrier come first. Then its
    blocks must all be on the card at once.
    """

    stages: tuple[Stage, ...]
    repeats: bool = False

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        return tuple(call for stage in self.stages for call in stage.calls)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """With the types of this kernel, under the names that they have in its text."""
        found, number = [], 0
        if self.repeats:
            found = [_number("steps"), Parameter("uint32", True, False, "", "barrier")]
        for at, stage in enumerate(self.stages):
            if stage.name == "rows":
                found += [_number(f"{what}_{at}") for what in ("pieces", "some", "team")]
            elif stage.name == "last" and at:
                found.append(Parameter("uint32", True, False, "", "arrivals"))
            for call in stage.calls:
                part = parts()[call.part]
                found += [
                    Parameter(
                        part.type_of(p, call.choices), p.pointer, p.constant, p.cut,
                        f"{p.name}_{number}",
                    )
                    for p in part.parameters
                ]  # fmt: skip
                number += 1
        return tuple(found)

    @cached_property
    def name(self) -> str:
        """Says what it does to whoever looks at a profile, and is its own."""
        if len(self.calls) == 1:
            return "_".join((self.calls[0].part, "kernel", *self.calls[0].choices))
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{self.calls[0].part}_to_{self.calls[-1].part}_{digest}"

    @cached_property
    def function(self) -> str:
        """The text of its ``__global__`` function."""
        parameters = ",\n    ".join(
            f"{'const ' * p.constant}{p.type}{'*' * p.pointer} {p.name}" for p in self.parameters
        )
        lines, number = [], 0
        for at, stage in enumerate(self.stages):
            calls = []
            for call in stage.calls:
                part = parts()[call.part]
                arguments = "".join(f", {p.name}_{number}" for p in part.parameters)
                meet = "share.meet(); " if call.meets else ""
                calls.append(f"{meet}{call.entry}(share{arguments});")
                number += 1
            lines += _stage(stage.name, at, calls)
        if self.repeats:
            inner = (f"    {line}" for line in lines)
            lines = ["for (int64 step = 0; step < steps; ++step) {", *inner, "}"]
        body = "\n".join(f"    {line}" for line in lines)
        bounds = "__launch_bounds__(BLOCK, 1) " * self.repeats  # one block has all registers
        head = f'extern "C" __global__ void {bounds}{self.name}('
        return f"{head}\n    {parameters}) {{\n{body}\n}}\n"

    @cached_property
    def text(self) -> str:
        """All that the compiler gets."""
        files = dict.fromkeys(parts()[call.part].file for call in self.calls)
        return f'{source(*files)}\n#line 1 "{self.name}"\n{self.function}'


def _number(name: str) -> Parameter:
    return Parameter("int64", False, False, "", name)


_HEADS = {
    "grid": ("{", "whole_grid()"),
    "blocks": ("{", "by_block()"),
    "last": ("if (last_block(arrivals)) {", "one_block()"),
    "once": ("if (blockIdx.x == gridDim.x - 1) {", "one_block()"),
    "barrier": ("grid_barrier(barrier, [&] {", "one_block()"),
}


def _stage(name: str, at: int, calls: list[str]) -> list[str]:
    inner = [f"    {call}" for call in calls]
    if name == "rows":
        return [
            f"for (Share share = first_share(pieces_{at}, some_{at}, team_{at});",
            f"     share.piece < pieces_{at}; share = next_share(share, some_{at})) {{",
            *inner,
            "}",
        ]
    head, share = _HEADS[name]
    if name == "last" and not at:
        head = "{"
    if calls:
        inner.insert(0, f"    const Share share = {share};")
    return [head, *inner, "});" if name == "barrier" else "}"]


def by_itself(call: Call) -> Kernel:
    """The kernel of one part.

    >>> print(by_itself(Call("clip_values", ("float",))).function)
    extern "C" __global__ void clip_values_kernel_float(
        float* gradients_0,
        float limit_0,
        int64 n_0) {
        {
            const Share share = whole_grid();
            clip_values<float>(share, gradients_0, limit_0, n_0);
        }
    }
    <BLANKLINE>
    """
    return Kernel((Stage(STAGES[parts()[call.part].mark], (call,)),))


@cache
def every_kernel(file: str) -> tuple[Kernel, ...]:
    """What single operations launch of the parts in a ``.cu`` file, each instantiation of it.

    A file's last part follows each of its others.
    """
    inside = [part for part in parts().values() if part.file == file]
    ends = [part for part in inside if part.mark == "LAST"]
    found = []
    for part in inside:
        for choices in part.every_choice():
            stages = by_itself(Call(part.name, choices)).stages
            if ends and part is not ends[0]:
                stages += by_itself(Call(ends[0].name, choices[:1])).stages
            elif ends and len(inside) > 1:
                continue
            found.append(Kernel(stages))
    return tuple(found)
