"""Measurements for NVIDIA GPUs: `make gpu`, `make kernels`, and upper bounds on their speed.

It imports `common`, `contestants` and `race`; `nvrtc` imports nothing else of the project.
"""
