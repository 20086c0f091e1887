"""What several folders use: the machine, statistics of samples, charts, the workloads.

It imports gpunn, and nothing else of the benchmarks.
"""
