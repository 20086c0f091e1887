"""Access to the GPU: CuPy, CUDA and cuBLAS (`cuda`, `cublas`), the kernels' compiler (`nvrtc`),
detection of a GPU (`gpu`, `cuda_extra`), and a GPU stand-in that computes nothing (`dry`).

It imports all of `gpunn.backends.cupy`.
"""
