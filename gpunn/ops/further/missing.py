"""Names of Keras's that are no operations here, and what to use instead."""

from __future__ import annotations

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

_NUMBERS = "its shape depends on the numbers: use NumPy, outside of what is trained"
_LAYER = "apply {} inside your call"
_PYTHON = "write Python's own loop: it is unrolled"
_CHOOSE = "use ops.where, of both results"

INSTEAD = {
    "conv": _LAYER.format("layers.Conv2D"),
    "max_pool": _LAYER.format("layers.MaxPooling2D"),
    "average_pool": _LAYER.format("layers.AveragePooling2D"),
    "switch": _CHOOSE, "scan": _PYTHON, "associative_scan": _PYTHON,
    "nonzero": _NUMBERS, "unique": _NUMBERS,
}  # fmt: skip


def complaint(name: str) -> str:
    """What is said about an operation that is not there."""
    if name in INSTEAD:
        return f"gpunn.ops has no operation {name!r}: {INSTEAD[name]}."
    return (
        f"gpunn.ops has no operation {name!r}.{closest(name, sorted(FUNCTIONS))} The list of all "
        f"is in docs/ops.md; layers and gpunn.activations offer what is larger."
    )
