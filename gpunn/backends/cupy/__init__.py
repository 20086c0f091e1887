"""The contract on an NVIDIA card: what each operation launches.

It imports `launch`, the contract and what is shared; CuPy itself stands in `driver` alone.
"""
