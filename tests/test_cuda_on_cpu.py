"""The stand-in for CUDA: it must run what a card runs, and notice what a card would not forgive."""

from __future__ import annotations

import numpy as np
import pytest
from host_kernels import compile_text

REVERSE = """
__global__ void reverse(int* x) {
    __shared__ int tile[64];
    tile[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    BARRIER
    x[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}
"""


def test_shared_memory_and_barriers() -> None:
    x = np.arange(128, dtype=np.int32)
    source = REVERSE.replace("BARRIER", "__syncthreads();")
    compile_text(source, ["reverse"])["reverse"]((2,), (64,), [x])
    np.testing.assert_array_equal(x, np.r_[63:-1:-1, 127:63:-1])


def test_a_missing_barrier_shows() -> None:
    x = np.arange(128, dtype=np.int32)
    compile_text(REVERSE.replace("BARRIER", ""), ["reverse"])["reverse"]((2,), (64,), [x])
    assert (x != np.r_[63:-1:-1, 127:63:-1]).any()


def test_a_barrier_that_not_all_reach_is_an_error_and_the_next_launch_works() -> None:
    source = """
    __global__ void uneven(int* x, int limit) {
        if (int(threadIdx.x) < limit) __syncthreads();
        x[threadIdx.x] = 1;
    }
    """
    uneven = compile_text(source, ["uneven"])["uneven"]
    x = np.zeros(64, np.int32)
    with pytest.raises(RuntimeError, match=r"uneven: block \(0, 0, 0\): not all threads"):
        uneven((1,), (64,), [x, np.int32(63)])
    uneven((1,), (64,), [x, np.int32(64)])
    assert x.all()


def test_warp_functions() -> None:
    source = """
    __global__ void warps(int* sums, double* down, unsigned* votes, unsigned* count) {
        int sum = threadIdx.x;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, d);
        sums[threadIdx.x] = sum;
        down[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, double(threadIdx.x), 3);
        votes[threadIdx.x] = __ballot_sync(0xFFFFFFFFu, threadIdx.x % 3 == 0);
        __syncwarp();
        if (__shfl_sync(0xFFFFFFFFu, threadIdx.x, 0) == threadIdx.x) atomicAdd(count, 1u);
    }
    """
    sums, down = np.zeros(64, np.int32), np.zeros(64)
    votes, count = np.zeros(64, np.uint32), np.zeros(1, np.uint32)
    compile_text(source, ["warps"])["warps"]((3,), (64,), [sums, down, votes, count])
    thread = np.arange(64)
    np.testing.assert_array_equal(sums, np.repeat([sum(range(32)), sum(range(32, 64))], 32))
    np.testing.assert_array_equal(down, np.where(thread % 32 < 29, thread + 3, thread))
    lanes = range(32)
    expected = [sum(1 << i for i in lanes if (first + i) % 3 == 0) for first in (0, 32)]
    np.testing.assert_array_equal(votes, np.repeat(expected, 32))
    assert count[0] == 2 * 3
