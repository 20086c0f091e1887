"""The CuPy backend for NVIDIA GPUs: the launches of each operation.

It imports `launch`, the contract and the shared modules; only `driver` uses CuPy itself.
"""
