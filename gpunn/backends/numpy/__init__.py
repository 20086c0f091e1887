"""The NumPy backend: each operation is a few array calls.

It imports the contract and the shared modules.
"""
