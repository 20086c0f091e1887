"""The GPU resources that a kernel may use."""

from __future__ import annotations

from benchmarks.gpu import nvrtc
from gpunn.backends.cupy.launch.codegen import BLOCK

SHARED_LIMIT = 48 * 1024  # bytes of static shared memory of a block, on every GPU
SHARED_MEMORY = 64 * 1024  # of a multiprocessor
REGISTER_FILE = 65536


def check(resources: dict[str, nvrtc.Resources], blocks: int = 1) -> None:
    """Assert that no kernel spills registers or needs more than every GPU has, for that many blocks
    on a multiprocessor."""
    for entry, used in resources.items():
        assert used.registers > 0, entry  # otherwise the report was not parsed
        assert used.spills == 0, f"{entry}: {used}"
        assert used.shared <= SHARED_LIMIT, f"{entry}: {used}"
        assert used.shared * blocks <= SHARED_MEMORY, f"{entry}: {used}"
        assert used.registers * BLOCK * blocks <= REGISTER_FILE, f"{entry}: {used}"
