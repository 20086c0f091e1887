"""Traces at work: bound to the arrays of a backend, and run in each step.

May import: gpunn.ops, gpunn.ops.fusion.
"""
