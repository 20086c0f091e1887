"""Fusion of neighbouring element-wise operations and row and column reductions into expressions.

May import: gpunn.ops, gpunn.backends.contract.
"""
