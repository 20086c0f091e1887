"""Access to the GPU: CuPy, CUDA and cuBLAS (`cuda`, `cublas`), the kernels' compiler (`nvrtc`),
detection of a GPU (`gpu`, `cuda_extra`), and a substitute for a GPU that computes nothing (`dry`).

It imports all of `gpunn.backends.cupy`.
"""
