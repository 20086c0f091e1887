"""The benchmarks: `gpunn bench` runs them, and so does each file as a script."""
