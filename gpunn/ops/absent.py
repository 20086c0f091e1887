"""Operations that do not exist, and what to use instead of those of Keras."""

from __future__ import annotations

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

_EIGENVALUES = (
    "eigenvalues may be complex, and tensors hold real numbers: use gpunn.ops.eigh for symmetric "
    "matrices, or numpy.linalg before fit"
)

_COMPLEX = "it needs complex numbers, which tensors do not support: use NumPy, before fit"

INSTEAD = {
    **dict.fromkeys(("eig", "eigvals"), _EIGENVALUES),
    "eigvalsh": "gpunn.ops.eigh returns eigenvalues and eigenvectors",
    **dict.fromkeys(("polar", "view_as_complex", "view_as_real"), _COMPLEX),
    "jvp": "gpunn.jvp is this function",
}
"""Keras operations that are not supported here, and what to use instead."""


def complaint(name: str) -> str:
    """Return the error message for an operation that does not exist."""
    if name in INSTEAD:
        return f"gpunn.ops has no operation {name!r}: {INSTEAD[name]}."
    return (
        f"gpunn.ops has no operation {name!r}.{closest(name, sorted(FUNCTIONS))} "
        "All operations are listed in docs/reference/ops.md; see also gpunn.layers and "
        "gpunn.activations."
    )
