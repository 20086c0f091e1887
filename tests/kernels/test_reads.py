"""How often kernels read what takes longest to read: the weights of a layer."""

from __future__ import annotations

import numpy as np
import pytest
from host_kernels import compile_text

from gpunn.backends.cupy.launch import kernel_source

INPUTS, OUTPUTS = 300, 10

# A float that counts how often it is copied, if it is one of the weights.
COUNTED = """
struct Counted {
    float value;
    static const Counted* weights;
    static int64* reads;
    __device__ Counted(float number = 0) : value(number) {}
    __device__ Counted(const Counted& other) : value(other.value) {
        if (&other >= weights && &other < weights + SIZE) ++reads[&other - weights];
    }
    __device__ Counted& operator=(const Counted&) = default;
    __device__ Counted& operator+=(const Counted& other) { value += other.value; return *this; }
    __device__ Counted operator+(const Counted& other) const { return value + other.value; }
    __device__ Counted operator*(const Counted& other) const { return value * other.value; }
};
const Counted* Counted::weights;
int64* Counted::reads;

extern "C" __global__ void count(const float* x, const float* w, float* out, int64* reads,
                                 int64 rows, int64 inputs, int64 outputs) {
    if (threadIdx.x == 0) Counted::weights = (const Counted*)w, Counted::reads = reads;
    __syncthreads();
    matmul_nn<Counted>(block_group(), (const Counted*)x, (const Counted*)w, rows, inputs, outputs,
                       false, (Counted*)out);
}
"""


@pytest.mark.parametrize(("rows", "times"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 2)])
def test_a_block_reads_a_weight_once_for_up_to_four_rows(rows: int, times: int) -> None:
    rng = np.random.default_rng(rows)
    x, w = (rng.random(shape, np.float32) for shape in ((rows, INPUTS), (INPUTS, OUTPUTS)))
    out, reads = np.zeros((rows, OUTPUTS), np.float32), np.zeros(w.shape, np.int64)
    text = kernel_source.source("products.cu") + COUNTED.replace("SIZE", str(w.size))
    run = compile_text(text, ["count"])["count"]
    run((1,), (256,), [x, w, out, reads, *(np.int64(n) for n in (rows, INPUTS, OUTPUTS))])
    np.testing.assert_allclose(out, x @ w, 1e-5)
    np.testing.assert_array_equal(reads, times)
