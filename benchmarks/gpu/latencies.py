"""Published latencies of instructions, in clock cycles, by GPU generation, each with its source."""

from __future__ import annotations

from typing import NamedTuple

SOURCES = {
    "a": "published: Arafa et al., Low Overhead Instruction Latency Characterization for NVIDIA "
    "GPGPUs (2019, https://arxiv.org/abs/1905.08778), as its authors tabulate them: "
    "https://github.com/lanl/PPT at f2a1517, PPT-GPU/hardware/ISA; a read of memory: that of L2 "
    "and the one of memory added",
    "b": "measured by others on an RTX 3060: "
    "https://github.com/YKTian-x2b/AmpereArchViaMicroBenchMark at 06b1e58 (shared memory, L2), and "
    "its GlobalMem_Bandwidth_Latency (memory)",
    "c": "measured by others on an H100: https://github.com/markdewing/AI_kernels at 0d701ad, "
    "latency/README.md (L2, memory)",
    "x": "ASSUMED: arithmetic, special functions and conversions as a found them on Turing, "
    "doubles too on GeForce cards; on 9.x doubles 8 cycles and shared memory as b",
    "y": "ASSUMED: a shuffle takes as long as a read of shared memory, a barrier of a block 30 "
    "cycles besides the wait for the slowest warp, a fence and an atomic sum as long as a read of "
    "L2, a conversion and a special register as long as a special function",
}
"""By the letters in `Latencies.sources`."""


class Latencies(NamedTuple):
    """Cycles from the issue of an instruction until its result can be used, and their sources."""

    arithmetic: int
    special: int
    double: int
    shared: int
    l2: int
    memory: int
    shuffle: int
    barrier: int
    sources: str

    def of(self, name: str, modifiers: tuple[str, ...], far: bool) -> int:
        """Return the latency of an instruction; `far`: it loads from memory, not from L2."""
        if name in ("LDG", "LD"):
            return self.memory if far else self.l2
        if name in ("ATOM", "ATOMG", "RED"):
            return self.l2
        if name in ("LDS", "LDL"):
            return self.shared
        if name == "SHFL":
            return self.shuffle
        if name in ("DADD", "DMUL", "DFMA", "DSETP") or "F64" in modifiers:
            return self.double
        if name in ("MUFU", "F2F", "F2I", "I2F", "I2I", "FRND", "POPC", "FLO", "S2R", "S2UR"):
            return self.special
        return self.arithmetic


LATENCIES = {
    6: Latencies(6, 16, 45, 35, 168, 386, 35, 30, "a, y"),
    8: Latencies(4, 16, 45, 23, 219, 530, 23, 30, "b, x, y"),
    9: Latencies(4, 16, 8, 23, 291, 700, 23, 30, "c, x, y"),
}
"""By the first digit of the compute capability."""
