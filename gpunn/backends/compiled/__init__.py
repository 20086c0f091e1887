"""The compiled backend: compiled CPU kernels, with NumPy as a fallback.

It imports `gpunn.backends.numpy`, `gpunn.backends.host`, the contract and the shared modules.
"""
