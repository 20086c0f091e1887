"""Loops whose body is traced once: `scan`, its derivatives, and `associative_scan`.

May import: gpunn.ops, gpunn.ops.fusion, gpunn.ops.running, gpunn.ops.library.
"""
