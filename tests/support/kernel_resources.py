"""What a kernel may take of a card."""

from __future__ import annotations

from benchmarks.card import nvrtc
from gpunn.backends.cupy.launch.codegen import BLOCK

SHARED_LIMIT = 48 * 1024  # of static shared memory, on every card
REGISTER_FILE = 65536


def check(resources: dict[str, nvrtc.Resources]) -> None:
    """No kernel spills registers, nor does it take more than every card has."""
    for entry, used in resources.items():
        assert used.registers > 0, entry  # else the report was not understood
        assert used.spills == 0, f"{entry}: {used}"
        assert used.shared <= SHARED_LIMIT, f"{entry}: {used}"
        assert used.registers * BLOCK <= REGISTER_FILE, f"{entry}: {used}"
