"""The NumPy backend: each operation is a few array calls.

It imports `gpunn.backends.host`, the contract and the shared modules.
"""
