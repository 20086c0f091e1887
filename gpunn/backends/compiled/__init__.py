"""The contract by compiled CPU kernels, and by NumPy for what they lack.

It imports `gpunn.backends.numpy`, the contract and what is shared.
"""
