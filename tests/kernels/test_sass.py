"""A thread is followed through machine code: it computes as C++ does, and takes the time of its
longest chain of instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import critical_path, hot_kernels, sass
from benchmarks.gpu.latencies import LATENCIES
from benchmarks.gpu.thread import PARAMETERS, Thread, Time
from gpunn.backends.cupy.driver.nvrtc import compile_source
from gpunn.backends.cupy.launch.known_gpus import find_gpu

pytestmark = [
    pytest.mark.more,
    pytest.mark.skipif(
        sass.disassembler() is None, reason="nvdisasm is missing: pip install 'gpunn[sass]'"
    ),
]

# Expressions of signed and unsigned numbers a and b, of 32 or 64 bits, in C++ and in Python.
EXPRESSIONS: dict[str, Callable[[int, int], int]] = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "a % b": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1),
    "a / 676": lambda a, b: abs(a) // 676 * (-1 if a < 0 else 1),
    "a % 5408": lambda a, b: abs(a) % 5408 * (-1 if a < 0 else 1),
    "a << (b & 31)": lambda a, b: a << (b & 31),
    "a >> (b & 31)": lambda a, b: a >> (b & 31),
    "(a & b) ^ (a | 77)": lambda a, b: (a & b) ^ (a | 77),
    "a < b ? a : b": min,
    "a > b ? a : b": max,
    "a < b": lambda a, b: a < b,
    "a >= b": lambda a, b: a >= b,
    "a == b": lambda a, b: a == b,
    "a < b && a > 5 || b == 7": lambda a, b: (a < b and a > 5) or b == 7,
}
PAIRS = [(7, 3), (0, 9), (692223, 57344), (3, 7), (65536, 65535), (100000, 7), (1 << 29, 12345)]
NEGATIVE = [(-7, 3), (7, -3), (-692224, 1000), (-1, -1), (-3, 2)]
LARGE = [(3_000_000_000, 4_000_000_000), (1 << 40, 12345), (12345, 1 << 40), (1 << 33, 1 << 33)]
TYPES: dict[str, tuple[Any, list[tuple[int, int]]]] = {
    "int": (np.int32, PAIRS + NEGATIVE),
    "unsigned": (np.uint32, [*PAIRS, LARGE[0]]),
    "long long": (np.int64, PAIRS + NEGATIVE + LARGE),
    "unsigned long long": (np.uint64, PAIRS + LARGE),
}


def follow(code: sass.Code, architecture: int, *arguments: Any) -> tuple[Thread, Time]:
    """Follow the first thread of a kernel to its end; arrays among its arguments are memory."""
    arrays = [x for x in arguments if isinstance(x, np.ndarray)]

    def read(address: int) -> int | None:
        for array in arrays:
            place = address - array.ctypes.data
            if 0 <= place < array.nbytes:
                return int(array.view(np.uint32)[place // 4])
        return None

    constants, at = {}, PARAMETERS[architecture // 10]
    for argument in arguments:
        value = argument.ctypes.data if isinstance(argument, np.ndarray) else int(argument)
        for half in range(2):
            constants[f"c[0x0][{at + 4 * half:#x}]"] = value >> 32 * half & 0xFFFFFFFF
        at += 8
    special = {"SR_TID.X": 0, "SR_CTAID.X": 0}
    thread = Thread(code, constants, special, architecture // 10, read, far=False)
    return thread, thread.run()


def compiled(text: str, architecture: int) -> sass.Code:
    return sass.parse(sass.disassemble(compile_source(text, f"sm_{architecture}").code))


@pytest.mark.parametrize("architecture", [61, 86, 90])
@pytest.mark.parametrize("kind", TYPES)
def test_a_thread_computes_integers_as_cpp_does(kind: str, architecture: int) -> None:
    """At run time, by the compiler's own code for products, quotients, shifts and comparisons."""
    dtype, pairs = TYPES[kind]
    lines = "".join(f"out[{at}] = {text};\n" for at, text in enumerate(EXPRESSIONS))
    text = f"""extern "C" __global__ void computes({kind}* out, long long x, long long y) {{
        const {kind} a = x, b = y;
        {lines}
    }}"""
    out, code = np.zeros(len(EXPRESSIONS), dtype), compiled(text, architecture)
    for a, b in pairs:
        thread, _ = follow(code, architecture, out, a, b)
        words = np.zeros(2 * len(out), np.uint32)
        found = words[: out.nbytes // 4]
        for at in range(len(found)):
            value = thread.stored.get(out.ctypes.data + 4 * at)
            assert value is not None, (a, b, list(EXPRESSIONS)[at * 4 // dtype().itemsize])
            found[at] = value
        mine = found.view(dtype)
        bits = 8 * dtype().itemsize
        for (text_of, expression), value in zip(EXPRESSIONS.items(), mine, strict=True):
            expected = np.array([int(expression(a, b)) & (1 << bits) - 1], f"u{bits // 8}")
            assert value == expected.view(dtype)[0], (text_of, a, b)


def repeated(operation: str, times: int) -> str:
    lines = operation * times
    return f"""extern "C" __global__ void repeats(float* x, long long n) {{
        float a = x[0], b = x[1], c = x[2], d = x[3];
        {lines}
        x[0] = a + b + c + d;
    }}"""


@pytest.mark.parametrize("architecture", [61, 86, 90])
def test_dependent_instructions_take_their_latency(architecture: int) -> None:
    """16 more of them that each need the one before take 16 latencies longer; 4 independent chains
    side by side take no longer than one."""
    latency = LATENCIES[architecture // 10].arithmetic
    x = np.zeros(4, np.float32)
    chain, chains = "a = a * a + 3;", "".join(f"{v} = {v} * {v} + 3;" for v in "abcd")

    def cycles(operation: str, times: int) -> int:
        code = compiled(repeated(operation, times), architecture)
        return follow(code, architecture, x, 0)[1].cycles

    assert cycles(chain, 24) - cycles(chain, 8) == 16 * latency
    assert cycles(chains, 24) - cycles(chains, 8) == pytest.approx(16 * latency, abs=latency)


LOOP = """extern "C" __global__ void loops(float* x, long long n) {
    #pragma unroll 1
    for (long long i = 0; i < n; ++i) x[i] = x[i] * 2;
}"""


@pytest.mark.parametrize("architecture", [61, 86, 90])
def test_loops_turn_as_often_as_their_sizes_say(architecture: int) -> None:
    code, x = compiled(LOOP, architecture), np.zeros(64, np.float32)
    counts = []
    for n in (0, 16, 32, 64):
        thread, time = follow(code, architecture, x, n)
        assert sorted(thread.stored) == [x.ctypes.data + 4 * i for i in range(n)]
        assert time.strangers == 0
        counts.append(time.instructions)
    assert counts[3] - counts[2] == 2 * (counts[2] - counts[1]) > 0
    _, beyond = follow(code, architecture, x[:32], 64)
    assert beyond.strangers == 2 * 32  # a read and a write of each


def test_a_loop_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.thread.MOST_INSTRUCTIONS", 100)
    with pytest.raises(RuntimeError, match="no end after 100 instructions"):
        follow(compiled(LOOP, 61), 61, np.zeros(64, np.float32), 64)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("title", "workload", "mode"), hot_kernels.steps())
@pytest.mark.parametrize("gpu", hot_kernels.GPU_NAMES.values())
def test_threads_of_a_step_stay_inside_its_arrays(
    title: str, workload: str, mode: str, gpu: str
) -> None:
    """So what is computed of their addresses is right, with sizes as arguments and as constants."""
    for launched in critical_path.step(workload, mode, find_gpu(gpu)):
        if launched.kernel:
            for each in (launched, launched.without_constants):
                architecture = {name: a for a, name in hot_kernels.GPU_NAMES.items()}[gpu]
                time = critical_path.thread_time(each, architecture, far=False)
                assert time.strangers == 0 < time.instructions < time.cycles
