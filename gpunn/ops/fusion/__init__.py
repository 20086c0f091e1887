"""Fusion: neighbouring work on single numbers, and sums along rows and columns, as one expression.

May import: gpunn.ops, gpunn.backends.contract.
"""
