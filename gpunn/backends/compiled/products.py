"""Which matrix products the compiled kernel computes, and which are left to NumPy's BLAS.

Measured on one core of a Zen 5, in turns with the OpenBLAS that NumPy brings, on the products
of small and large dense networks and of convolutions, in float32:

- AVX-512, beside OpenBLAS's own: from as fast to 4 times as fast, at narrow products most; two
  to five times beside its AVX2 kernels.
- AVX2, beside its AVX2 kernels: from as fast to 5 times as fast where a side is below 64, .86 to
  .98 where all sides are longer and the product is a large one.
- WebAssembly, in a page: there is no BLAS.
- Neither: up to twice as fast on the smallest, .4 to .6 of the speed from there on.
"""

from __future__ import annotations

SMALLEST_SIDE = 64
# Multiplications of the largest product that is ours, if no side is shorter than that.
LARGEST = {"avx512": float("inf"), "avx2": 1 << 24, "baseline": 1 << 15, "wasm": float("inf")}


def ours_is_faster(instructions: str, m: int, n: int, k: int) -> bool:
    """Whether the kernel for these instructions beats BLAS at (m, k) @ (k, n).

    >>> ours_is_faster("avx512", 128, 1024, 1024), ours_is_faster("avx2", 128, 1024, 1024)
    (True, False)
    >>> ours_is_faster("avx2", 128, 1024, 10), ours_is_faster("baseline", 128, 1024, 10)
    (True, False)
    """
    narrow = instructions != "baseline" and min(m, n, k) < SMALLEST_SIDE
    return narrow or m * n * k <= LARGEST[instructions]
