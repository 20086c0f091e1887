"""What is about NVIDIA's cards: `make gpu`, `make kernels`, and how fast cards could be.

It imports `common`, `contestants` and `race`; `nvrtc` imports nothing else of the project.
"""
