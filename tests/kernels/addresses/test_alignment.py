"""Kernels take arrays that begin one element after where memory is given out.

A kernel that takes several elements at once there, without asking whether it may, fails.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import emulated
import numpy as np
import pytest
from comparisons import COMPARISONS
from comparisons.samples import Sample
from host_kernels import compile_text

from gpunn.backends import get_backend
from gpunn.backends.cupy.backend import CupyBackend

SAMPLES = [
    Sample(rows, columns, dtype, values, seed=number)
    for number, (rows, columns, dtype, values) in enumerate(
        [(5, 12, "float32", "normal"), (3, 8, "float64", "normal")]
    )
]
BOUNDARY = 64


def one_further(array: np.ndarray) -> np.ndarray:
    """Return a copy one element after a boundary."""
    size = array.dtype.itemsize
    memory = np.empty(array.nbytes + 2 * BOUNDARY, np.uint8)
    start = -memory.ctypes.data % BOUNDARY + size
    shifted = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


class Shifted(emulated.ArrayModule):
    """Arrays on the emulated GPU, each one element after a boundary."""

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        shape, size = tuple(np.atleast_1d(shape).tolist()), np.dtype(dtype).itemsize
        more = 2 * BOUNDARY // size
        memory = super().empty((math.prod(shape) + more,), dtype)
        start = (-memory.ctypes.data % BOUNDARY + size) // size
        return memory[start : start + math.prod(shape)].reshape(shape)


@pytest.fixture(scope="module")
def gpu() -> CupyBackend:
    kernels = emulated.EmulatedKernels(orders=(2,))
    return CupyBackend(Shifted(), kernels, emulated.Products(), emulated.STREAM, name="emulated")


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    backend = get_backend("compiled")
    for name in ("empty", "zeros", "upload"):
        made = getattr(backend, name)
        monkeypatch.setattr(backend, name, lambda *a, made=made: one_further(made(*a)))
    return backend


def cases(samples: int, one_in: int) -> Any:
    """Parametrize with the first samples, of formulas with one in so many: no formula has to do
    with addresses. `make test-more` runs the rest."""
    found = []
    for (k, name), (n, sample) in itertools.product(enumerate(COMPARISONS), enumerate(SAMPLES)):
        now = n < samples and (" " not in name or k % one_in == n)
        marks = [] if now else [pytest.mark.more]
        found.append(pytest.param(name, sample, id=f"{name} {sample.dtype}", marks=marks))
    return pytest.mark.parametrize(("name", "sample"), found)


@cases(1, 40)
def test_on_a_gpu(name: str, sample: Sample, gpu: CupyBackend) -> None:
    COMPARISONS[name](gpu, sample)


@cases(2, 10)
def test_on_a_cpu(name: str, sample: Sample, cpu: Any) -> None:
    COMPARISONS[name](cpu, sample)


WIDE = """
struct alignas(16) Four { float values[4]; };
__global__ void add(const float* x, float* out) {
    const Four four = *reinterpret_cast<const Four*>(x);
    for (int k = 0; k < 4; ++k) out[k] = four.values[k] + 1;
}
"""


def test_what_is_not_aligned_is_refused() -> None:
    add = compile_text(WIDE, ["add"])["add"]
    memory, out = one_further(np.arange(5, dtype=np.float32)), np.zeros(4, np.float32)
    with pytest.raises(RuntimeError, match="an address 4 bytes beyond a multiple of 16 as one at"):
        add((1,), (1,), [memory[:4], out])
    wide = np.zeros(BOUNDARY, np.float32)
    start = -wide.ctypes.data % BOUNDARY // wide.itemsize
    add((1,), (1,), [wide[start : start + 4], out])
    np.testing.assert_array_equal(out, np.ones(4))
