"""Execution of traces: bound to the arrays of a backend, and run in each step.

May import: gpunn.ops, gpunn.ops.fusion.
"""
