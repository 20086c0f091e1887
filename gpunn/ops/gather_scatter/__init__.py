"""Gathering and scattering by index, and range checks.

May import: what is in gpunn.ops beside it.
"""
