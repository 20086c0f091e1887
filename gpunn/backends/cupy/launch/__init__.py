"""From the operations of a step to launches: tasks, kernels composed of parts, fused launches,
a graph or one persistent kernel.

It imports the contract and what is shared, and no CuPy.
"""
