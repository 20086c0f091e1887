"""The compiled backend: compiled CPU kernels, with NumPy as a fallback.

It imports `gpunn.backends.numpy`, the contract and the shared modules.
"""
