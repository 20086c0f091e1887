"""Kernels on arrays of more than 2^32 elements, of which only a few pages exist.

`test_planted_faults.py` shows that a 32-bit index is detected.
"""

from __future__ import annotations

import sys

import pytest
from comparisons.huge import HUGE
from comparisons.samples import Sample, make_gpu

from gpunn.backends import get_backend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others write files without holes")


@pytest.mark.parametrize("backend", ["compiled", "emulated"])
@pytest.mark.parametrize("name", HUGE)
def test_the_last_elements_are_found(name: str, backend: str) -> None:
    emulated = backend == "emulated"  # in one order: on the arrays themselves, not on copies
    HUGE[name](make_gpu(orders=(2,)) if emulated else get_backend(backend), Sample(1, 1))
