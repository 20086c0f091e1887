"""The card itself: CuPy, CUDA and cuBLAS, whether there is one, and one that only pretends.

It imports all of `gpunn.backends.cupy`.
"""
