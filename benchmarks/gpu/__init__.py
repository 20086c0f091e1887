"""Measurements for NVIDIA GPUs: `make gpu`, `make kernels`, and upper bounds on their speed.

It imports `common`, `contestants` and `race`.
"""
