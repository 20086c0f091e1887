"""The GPU resources that a kernel may use."""

from __future__ import annotations

from benchmarks.gpu import nvrtc
from gpunn.backends.cupy.launch.codegen import BLOCK

SHARED_LIMIT = 48 * 1024  # bytes of static shared memory, on every GPU
REGISTER_FILE = 65536


def check(resources: dict[str, nvrtc.Resources]) -> None:
    """Assert that no kernel spills registers or needs more than every GPU has."""
    for entry, used in resources.items():
        assert used.registers > 0, entry  # otherwise the report was not parsed
        assert used.spills == 0, f"{entry}: {used}"
        assert used.shared <= SHARED_LIMIT, f"{entry}: {used}"
        assert used.registers * BLOCK <= REGISTER_FILE, f"{entry}: {used}"
