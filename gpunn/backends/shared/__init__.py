"""Common code of the CPU and GPU backends: order of rows, windows, number formats, threads,
interrupts.

It imports `gpunn.common`.
"""
