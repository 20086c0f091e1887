"""The choice between the compiled kernel and NumPy's BLAS for matrix products.

Measured on one core of a Zen 5, alternating with the OpenBLAS that NumPy includes, on the products
of small and large dense networks and of convolutions, in float32:

- AVX-512, against OpenBLAS's own: from as fast to 4 times as fast, most for narrow products; two
  to five times as fast as its AVX2 kernels.
- AVX2, against its AVX2 kernels, on one core of a Zen 4: from as fast to 5 times as fast if a
  side is below 64. For large products with longer sides, .95 to 1.1 of the speed. Ours skip zeros
  and are followed by the update of the weights, so they are faster in a step.
- WebAssembly, in a page: there is no BLAS.
- Neither: up to twice as fast for the smallest, .4 to .6 of the speed for all others.
"""

from __future__ import annotations

import math

SMALLEST_SIDE = 64
# Multiplications of the largest product for our kernel, if no side is shorter than that.
LARGEST = {"baseline": 1 << 15}  # of the others: any
# Products of a stack, at most, that are single calls: one Python call for more is nothing beside
# their work. Multiplications of the largest with a vector: BLAS reads matrices faster.
MOST_IN_A_STACK, LARGEST_OF_VECTORS = 512, 1 << 11


def ours_is_faster(instructions: str, m: int, n: int, k: int) -> bool:
    """Return whether the kernel for these instructions beats BLAS at (m, k) @ (k, n).

    >>> ours_is_faster("avx2", 128, 1024, 1024), ours_is_faster("baseline", 128, 1024, 1024)
    (True, False)
    >>> ours_is_faster("avx2", 128, 1024, 10), ours_is_faster("baseline", 128, 1024, 10)
    (True, False)
    """
    narrow = instructions != "baseline" and min(m, n, k) < SMALLEST_SIDE
    return narrow or m * n * k <= LARGEST.get(instructions, math.inf)


def ours_is_faster_in_stacks(instructions: str, count: int, m: int, n: int, k: int) -> bool:
    """Return whether so many calls of the kernel beat one of NumPy's for a stack of products.

    Measured as above: 2 to 8 times as fast, at sizes from 4 to 256.

    >>> ours_is_faster_in_stacks("avx2", 128, 64, 64, 32)
    True
    >>> ours_is_faster_in_stacks("avx2", 128, 1, 64, 64)
    False
    """
    if count > MOST_IN_A_STACK or (min(m, n) == 1 and m * n * k > LARGEST_OF_VECTORS):
        return False
    return ours_is_faster(instructions, m, n, k)
