"""The contract on NumPy: each operation a few array calls.

It imports the contract and what is shared.
"""
