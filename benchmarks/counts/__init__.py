"""What a step costs in numbers that no busy machine can change: `make counters`.

It imports gpunn, and nothing else of the benchmarks.
"""
