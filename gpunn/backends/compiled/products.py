"""The choice between the compiled kernel and NumPy's BLAS for matrix products.

Measured on one core of a Zen 5, alternating with the OpenBLAS that NumPy includes, on the products
of small and large dense networks and of convolutions, in float32:

- AVX-512, against OpenBLAS's own: from as fast to 4 times as fast, most for narrow products; two
  to five times as fast as its AVX2 kernels.
- AVX2, against its AVX2 kernels: from as fast to 5 times as fast if a side is below 64, .95 to
  1.1 of the speed for large products with longer sides (one core of a Zen 4). Ours leave out
  zeros and are followed by the update of the weights, so they are faster in a step.
- WebAssembly, in a page: there is no BLAS.
- Neither: up to twice as fast for the smallest, .4 to .6 of the speed for all others.
"""

from __future__ import annotations

import math

SMALLEST_SIDE = 64
# Multiplications of the largest product for our kernel, if no side is shorter than that.
LARGEST = {"baseline": 1 << 15}  # of the others: any


def ours_is_faster(instructions: str, m: int, n: int, k: int) -> bool:
    """Return whether the kernel for these instructions beats BLAS at (m, k) @ (k, n).

    >>> ours_is_faster("avx2", 128, 1024, 1024), ours_is_faster("baseline", 128, 1024, 1024)
    (True, False)
    >>> ours_is_faster("avx2", 128, 1024, 10), ours_is_faster("baseline", 128, 1024, 10)
    (True, False)
    """
    narrow = instructions != "baseline" and min(m, n, k) < SMALLEST_SIDE
    return narrow or m * n * k <= LARGEST.get(instructions, math.inf)
