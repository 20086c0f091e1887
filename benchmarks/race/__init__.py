"""gpunn compared with other frameworks: `gpunn bench` and its page.

It imports `common` and the contestants, which it runs in separate processes.
"""
