"""The cost of a step in counts that do not depend on the machine's load: `make counters`.

It imports gpunn, and `common` of the benchmarks.
"""
