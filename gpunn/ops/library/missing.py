"""Names of Keras's that are no operations here, and what to use instead."""

from __future__ import annotations

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

_NUMBERS = "its shape depends on the numbers: use NumPy, outside of what is trained"
_LINEAR = (
    "use numpy.linalg, which takes tensors that have their numbers; in a call there is no such "
    "operation"
)
_PYTHON = "write Python's own loop: it is unrolled"
_CHOOSE = "use ops.where, of both results"

INSTEAD = {
    "switch": _CHOOSE, "scan": _PYTHON, "associative_scan": _PYTHON,
    **dict.fromkeys(
        ("cholesky", "cholesky_inverse", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv",
         "lstsq", "lu_factor", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd"),
        _LINEAR,
    ),
    **dict.fromkeys(
        ("fft", "fft2", "ifft2", "irfft", "istft", "rfft", "stft"),
        "it computes with complex numbers, which tensors do not hold: use NumPy, before fit",
    ),
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
