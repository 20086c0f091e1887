"""The card itself: CuPy, CUDA and cuBLAS (`cuda`, `cublas`), whether there is one (`card`,
`cuda_extra`), and one that computes nothing (`dry`).

It imports all of `gpunn.backends.cupy`.
"""
