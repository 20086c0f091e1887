"""What the CPU backends and the card's have in common: order of rows, windows, number
formats, threads, interrupts.

It imports `gpunn.common`.
"""
