"""The CUDA emulation must run what a GPU runs, and detect what a GPU would not tolerate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host_kernels import POISON, HostKernels, compile_text, poison

from gpunn.backends.cupy.launch.codegen import PartCall, by_itself
from gpunn.backends.cupy.launch.kernel_source import KernelParameter

ORDERS = range(6)

REVERSE = """
__global__ void reverse(int* x) {
    __shared__ int tile[64];
    tile[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    BARRIER
    x[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}
"""


def one(source: str, name: str) -> Any:
    return compile_text(source, [name])[name]


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory_and_barriers(order: int) -> None:
    x = np.arange(128, dtype=np.int32)
    reverse = one(REVERSE.replace("BARRIER", "__syncthreads();"), "reverse")
    reverse((2,), (64,), [x], order)
    np.testing.assert_array_equal(x, np.r_[63:-1:-1, 127:63:-1])


@pytest.mark.parametrize("order", ORDERS)
def test_a_missing_barrier_shows(order: int) -> None:
    x = np.arange(128, dtype=np.int32)
    one(REVERSE.replace("BARRIER", ""), "reverse")((2,), (64,), [x], order)
    assert (x != np.r_[63:-1:-1, 127:63:-1]).any()


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory_is_each_blocks_own_and_holds_nothing_at_first(order: int) -> None:
    source = """
    __shared__ double outside;
    template <typename T> __global__ void look(T* before, T* after) {
        __shared__ T tile[8];
        const int i = blockIdx.x * 8 + threadIdx.x;
        before[i] = tile[threadIdx.x];
        tile[threadIdx.x] = T(i);
        outside = blockIdx.x;
        __syncthreads();
        after[i] = tile[threadIdx.x] + T(outside);
    }
    """
    for type_, dtype in (("float", np.float32), ("double", np.float64)):
        before, after = np.zeros(40, dtype), np.zeros(40, dtype)
        for _ in range(2):
            one(source, f"look<{type_}>")((5,), (8,), [before, after], order)
            assert np.isnan(before).all()
            np.testing.assert_array_equal(after, np.arange(40) + np.arange(40) // 8)


def test_dynamic_shared_memory() -> None:
    source = """
    extern __shared__ unsigned char memory[];
    __global__ void shift(float* x, int at) {
        float* tile = reinterpret_cast<float*>(memory);
        tile[at] = tile[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = tile[(threadIdx.x + 1) % blockDim.x];
    }
    """
    shift, x = one(source, "shift"), np.arange(40, dtype=np.float32)
    shift((1,), (40,), [x, np.int32(40)], shared=41 * 4)
    np.testing.assert_array_equal(x, np.r_[1:40, 0])
    with pytest.raises(RuntimeError, match="wrote beyond its 160 bytes of dynamic shared memory"):
        shift((1,), (40,), [x, np.int32(40)], shared=160)
    with pytest.raises(RuntimeError, match="at most 48 KB"):
        shift((1,), (40,), [x, np.int32(40)], shared=48 * 1024 + 1)


def test_a_barrier_that_not_all_reach_is_an_error_and_the_next_launch_works() -> None:
    source = """
    __global__ void uneven(int* x, int limit) {
        if (int(threadIdx.x) < limit) __syncthreads();
        x[threadIdx.x] = 1;
    }
    """
    uneven = one(source, "uneven")
    x = np.zeros(64, np.int32)
    message = (
        r"uneven, thread order 3: block \(0, 0, 0\): not all threads reached the same barrier: "
        r"thread \(0, 0, 0\) waits at kernel:3, thread \(63, 0, 0\) has ended"
    )
    with pytest.raises(RuntimeError, match=message):
        uneven((1,), (64,), [x, np.int32(63)], 3)
    uneven((1,), (64,), [x, np.int32(64)])
    assert x.all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("if (threadIdx.x < 32) __syncthreads(); else\n__syncthreads();",
         r"\(0, 0, 0\) waits at kernel:1, thread \(32, 0, 0\) waits at kernel:2"),
        ("if (threadIdx.x % 2) __syncwarp(); else\n__syncthreads();",
         r"\(1, 0, 0\) waits at kernel:1, thread \(0, 0, 0\) waits at kernel:2"),
        ("if (threadIdx.x != 40) __syncwarp();",
         r"\(32, 0, 0\) waits at kernel:1, thread \(40, 0, 0\) has ended"),
        ("__syncwarp(0xFF);", r"thread \(0, 0, 0\) leaves lanes out \(mask ff\).* at kernel:1"),
        ("__shfl_xor_sync(~0u, 1, 16);",
         r"thread \(32, 0, 0\) reads lane 16, which the block does not have, at kernel:1"),
    ],
)  # fmt: skip
def test_threads_that_go_different_ways(line: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        one("__global__ void torn() { " + line + " }", "torn")((1,), (48,), [])


@pytest.mark.parametrize("order", ORDERS)
def test_warp_functions(order: int) -> None:
    source = """
    __global__ void warps(int* sums, double* down, float* up, unsigned* votes, unsigned* count) {
        int sum = threadIdx.x;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, d);
        sums[threadIdx.x] = sum;
        down[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, double(threadIdx.x), 3);
        up[threadIdx.x] = __shfl_up_sync(0xFFFFFFFFu, float(threadIdx.x), 2);
        votes[threadIdx.x] = __ballot_sync(0xFFFFFFFFu, threadIdx.x % 3 == 0);
        __syncwarp();
        if (__shfl_sync(0xFFFFFFFFu, threadIdx.x, 0) == threadIdx.x) atomicAdd(count, 1u);
    }
    """
    sums, down, up = np.zeros(64, np.int32), np.zeros(64), np.zeros(64, np.float32)
    votes, count = np.zeros(64, np.uint32), np.zeros(1, np.uint32)
    one(source, "warps")((3,), (64,), [sums, down, up, votes, count], order)
    thread = np.arange(64)
    np.testing.assert_array_equal(sums, np.repeat([sum(range(32)), sum(range(32, 64))], 32))
    np.testing.assert_array_equal(down, np.where(thread % 32 < 29, thread + 3, thread))
    np.testing.assert_array_equal(up, np.where(thread % 32 < 2, thread, thread - 2))
    lanes = range(32)
    expected = [sum(1 << i for i in lanes if (first + i) % 3 == 0) for first in (0, 32)]
    np.testing.assert_array_equal(votes, np.repeat(expected, 32))
    assert count[0] == 2 * 3


INTERFERING = """
#define __CUDA_ARCH__ %s
#include <math.h>
int others = 2;
template <typename T> T interfered(T* word, T expected, T value) {
    if (others-- > 0) *reinterpret_cast<double*>(word) += 100.0;  // as if by another thread
    const T before = *word;
    if (before == expected) *word = value;
    return before;
}
#define atomicCAS interfered
"""


@pytest.mark.parametrize(("architecture", "added"), [("520", 200.0), ("600", 0.0)])
def test_sums_of_doubles_without_their_instruction(architecture: str, added: float) -> None:
    """Before compute capability 6.0 a sum is repeated if other threads changed it meanwhile."""
    kernel = by_itself(PartCall("bin_counts", ()))
    bins, state = np.array([1, 2, 1, 1], np.int32), np.array([0.0, 0.25, np.nan])
    run = one(INTERFERING % architecture + kernel.text, kernel.name)
    run((1,), (256,), [bins, np.int64(4), np.int64(3), state], 0)
    np.testing.assert_array_equal(state, [0.0, 3.25 + added, np.nan])


GRID = """
__device__ void grid_barrier(unsigned* arrived, unsigned target) {
    ALL_WROTE
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (*const_cast<volatile unsigned*>(arrived) < target) spin_wait();
        __threadfence();
    }
    __syncthreads();
}
__global__ void phases(double* x, double* y, double* sums, unsigned* arrived, int count) {
    __shared__ double sum[64];
    const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    sum[threadIdx.x] = 0;
    for (int phase = 1; phase <= count; ++phase) {
        double *from = phase % 2 ? x : y, *to = phase % 2 ? y : x;
        to[i] = from[(i * 5 + phase) % n] + phase;
        BARRIER
        sum[threadIdx.x] += to[(i + n / 2) % n];
    }
    sums[i] = sum[threadIdx.x];
}
"""
ALL_WROTE = GRID.replace("ALL_WROTE", "__syncthreads();")
BARRIER = "grid_barrier(arrived, phase * gridDim.x);"
ONE_LESS = "if (phase != 4) grid_barrier(arrived, (phase - (phase > 4)) * gridDim.x);"


def phases(source: str, blocks: int, threads: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the results of the kernel above after seven phases, and the expected ones."""
    n, count = blocks * threads, 7
    x = np.random.default_rng(0).normal(size=n)
    expected, now = np.zeros(n), x.copy()
    for phase in range(1, count + 1):
        now = now[(np.arange(n) * 5 + phase) % n] + phase
        expected += np.roll(now, -(n // 2))
    sums, arrived = np.zeros(n), np.zeros(1, np.uint32)
    arguments = [x, np.zeros(n), sums, arrived, np.int32(count)]
    one(source, "phases")((blocks,), (threads,), arguments, order)
    return sums, expected


@pytest.mark.parametrize(("blocks", "threads"), [(1, 40), (2, 1), (3, 64), (7, 33)])
def test_a_barrier_of_the_whole_grid(blocks: int, threads: int) -> None:
    for order in range(20):
        sums, expected = phases(ALL_WROTE.replace("BARRIER", BARRIER), blocks, threads, order)
        np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize(
    "source",
    [
        ALL_WROTE.replace("BARRIER", ""),
        ALL_WROTE.replace("BARRIER", "__syncthreads();"),
        ALL_WROTE.replace("BARRIER", ONE_LESS),
        ALL_WROTE.replace("BARRIER", "grid_barrier(arrived, phase * gridDim.x - 1);"),
        GRID.replace("ALL_WROTE", "").replace("BARRIER", BARRIER),
    ],
    ids=["none", "of a block", "one missing", "one block too few", "before all have written"],
)
def test_a_grid_that_does_not_wait_shows(source: str) -> None:
    for threads in (32, 64):  # in one warp, and between two
        runs = [phases(source, 3, threads, order) for order in range(4)]
        assert any((sums != expected).any() for sums, expected in runs)


def test_a_block_that_never_arrives_is_an_error_and_the_next_launch_works() -> None:
    skipped = ALL_WROTE.replace("BARRIER", f"if (blockIdx.x == 1 && phase == 3) break; {BARRIER}")
    for order in ORDERS:
        message = (
            rf"phases, thread order {order}: block \(0, 0, 0\): nobody can go on: "
            r"thread \(0, 0, 0\) spins at kernel:7 for ever, block \(1, 0, 0\) has ended"
        )
        with pytest.raises(RuntimeError, match=message):
            phases(skipped, 3, 64, order)
    with pytest.raises(RuntimeError, match="spins at kernel:7 for ever, so does every block"):
        phases(ALL_WROTE.replace("BARRIER", BARRIER.replace(");", " + 1);")), 3, 64, 0)
    np.testing.assert_array_equal(*phases(ALL_WROTE.replace("BARRIER", BARRIER), 3, 64, 0))


def test_poison_is_no_number_no_truth_value_and_no_index() -> None:
    for dtype in (np.float32, np.float64):
        array = np.zeros(3, dtype)
        poison(array)
        assert np.isnan(array).all()
    truth = np.zeros(4, np.bool_)
    poison(truth)
    assert (truth.view(np.uint8) > 1).all()
    assert POISON.astype(np.int32) < 0


CHECKED = """
__global__ void fill(const float* y, int n, bool accumulate, float* out) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = accumulate ? out[i] + y[i] : y[i];
}
__global__ void late(int* counters) { counters[0] = threadIdx.x; }
"""


def kernel(name: str, *parameters: tuple[str, bool, bool, str]) -> Any:
    """The data a kernel set needs: a kernel's name, text and parameters."""
    return SimpleNamespace(
        name=name, text=CHECKED, calls=(SimpleNamespace(entry=name),), repeats=False, constants=(),
        parameters=tuple(KernelParameter(t, p, c, "", n) for t, p, c, n in parameters),
    )  # fmt: skip


FILL = kernel(
    "fill", ("float", True, True, "y"), ("int", False, False, "n"),
    ("bool", False, False, "accumulate"), ("float", True, False, "out"),
)  # fmt: skip
LATE = kernel("late", ("int", True, False, "counters"))


@pytest.fixture
def checked() -> HostKernels:
    """A kernel set for the two kernels above, each run in two orders."""
    return HostKernels(orders=(0, 1), replace=("fill", "fill"))


def test_what_nobody_wrote_shows(checked: HostKernels) -> None:
    fill = checked.prepare(FILL)
    y, out = np.arange(6, dtype=np.float32), np.ones(6, np.float32)
    fill((1,), (4,), [y, np.int32(5), np.bool_(True), out])
    assert out.tolist() == [1, 2, 3, 4, 5, 1]
    fill((1,), (4,), [y, np.int32(5), np.bool_(False), out])
    assert out[:5].tolist() == [0, 1, 2, 3, 4] and np.isnan(out[5])
    assert checked.launched == {"fill"}


def test_arrays_that_overlap_do_so_in_a_checked_launch(checked: HostKernels) -> None:
    fill = checked.prepare(FILL)
    x = np.arange(6, dtype=np.float32)
    fill((1,), (32,), [x[1:], np.int32(5), np.bool_(True), x[1:]])
    assert x.tolist() == [0, 2, 4, 6, 8, 10]


def test_writing_outside_of_an_array_is_an_error(checked: HostKernels) -> None:
    fill = checked.prepare(FILL)
    y, out = np.arange(6, dtype=np.float32), np.ones(3, np.float32)
    with pytest.raises(RuntimeError, match="fill, thread order 0: writes outside of out"):
        fill((1,), (4,), [y, np.int32(4), np.bool_(False), out])


def test_a_result_that_depends_on_the_order_of_threads_is_an_error(checked: HostKernels) -> None:
    late = checked.prepare(LATE)
    message = "late: counters depends on .*: order 1 gives other bits than order 0"
    with pytest.raises(RuntimeError, match=message):
        late((1,), (4,), [np.zeros(1, np.int32)])


def test_more_blocks_than_the_gpu_holds_cannot_wait_for_each_other(checked: HostKernels) -> None:
    checked.blocks = 2
    persistent = checked.prepare(SimpleNamespace(**{**vars(LATE), "repeats": True}))
    with pytest.raises(RuntimeError, match="late: the GPU cannot hold 3 blocks at once"):
        persistent((3,), (1,), [np.zeros(1, np.int32)])
