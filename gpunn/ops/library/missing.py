"""Keras operations that are not supported here, and what to use instead."""

from __future__ import annotations

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

_NUMBERS = "its shape depends on the values: use NumPy, outside of training"
_LINEAR = "use numpy.linalg, which takes tensors that have values; a call does not support it"
_CHOOSE = "compute both results and use ops.where"

INSTEAD = {
    "switch": _CHOOSE,
    **dict.fromkeys(
        ("cholesky", "cholesky_inverse", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv",
         "lstsq", "lu_factor", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd"),
        _LINEAR,
    ),
    **dict.fromkeys(
        ("fft", "fft2", "ifft2", "irfft", "istft", "rfft", "stft"),
        "it needs complex numbers, which tensors do not support: use NumPy, before fit",
    ),
    "nonzero": _NUMBERS, "unique": _NUMBERS,
}


def complaint(name: str) -> str:
    """Return the error message for an operation that does not exist."""
    if name in INSTEAD:
        return f"gpunn.ops has no operation {name!r}: {INSTEAD[name]}."
    return (
        f"gpunn.ops has no operation {name!r}.{closest(name, sorted(FUNCTIONS))} "
        "All operations are listed in docs/reference/ops.md; see also gpunn.layers and "
        "gpunn.activations."
    )
