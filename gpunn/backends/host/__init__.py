"""Programs of steps on arrays in host memory, for the NumPy and the compiled backend.

It imports the contract and the shared modules.
"""
