"""Every GPU and compiled kernel, run on the CPU and compared with the NumPy backend, on random
shapes and difficult values."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from comparisons import COMPARISONS
from comparisons.samples import DTYPES, VALUES, Sample, make_gpu

from gpunn.backends import get_backend
from gpunn.backends.cupy.launch import kernel_source

GPU = make_gpu()
LARGEST = 20_000  # elements in an array
# Boundaries of tiles and warps, primes, and the class counts of MNIST and ImageNet.
AWKWARD = (1, 2, 10, 31, 32, 33, 97, 257, 1000, 1023)

sizes = st.sampled_from(AWKWARD) | st.integers(1, 200)
samples = st.builds(
    Sample,
    rows=sizes,
    columns=sizes,
    dtype=st.sampled_from(DTYPES),
    values=st.sampled_from(VALUES),
    seed=st.integers(0, 2**32 - 1),
).filter(lambda sample: sample.rows * sample.columns <= LARGEST)


every_comparison = pytest.mark.parametrize("name", COMPARISONS)
every_kernel = pytest.mark.parametrize("backend", ["compiled", "emulated"])


def some(examples: int) -> Any:
    return hypothesis.settings(max_examples=examples, derandomize=True, database=None)


def check(name: str, backend: str, sample: Sample, blocks: int) -> None:
    GPU.kernels.blocks = blocks
    COMPARISONS[name](GPU if backend == "emulated" else get_backend(backend), sample)


@pytest.mark.in_turn(3)
@every_kernel
@every_comparison
@some(4)
@hypothesis.given(sample=samples, blocks=st.integers(1, 4))
def test_kernels_agree_with_numpy(name: str, backend: str, sample: Sample, blocks: int) -> None:
    check(name, backend, sample, blocks)


@pytest.mark.more(2)
@every_kernel
@every_comparison
@some(20)
@hypothesis.given(sample=samples, blocks=st.integers(1, 4))
def test_on_more_samples_too(name: str, backend: str, sample: Sample, blocks: int) -> None:
    check(name, backend, sample, blocks)


def test_every_entry_point_is_run() -> None:
    """The test above compares every GPU entry point with NumPy."""
    gpu: Any = make_gpu()
    for compare in COMPARISONS.values():
        for dtype in DTYPES:
            compare(gpu, Sample(3, 33, dtype))
    parts = kernel_source.parts().values()
    composed = {entry for entry in gpu.kernels.launched if entry.startswith("expression_")}
    entries = {part.entry(*c) for part in parts for c in part.every_choice()}
    assert composed and gpu.kernels.launched == entries | composed
