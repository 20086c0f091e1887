"""The CUDA C++ sources, installed as the package ``gpunn.kernels``: read them as package data."""
