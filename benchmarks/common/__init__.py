"""Code shared by several folders: the machine, statistics of samples, charts, the workloads.

It imports gpunn, and nothing else of the benchmarks.
"""
