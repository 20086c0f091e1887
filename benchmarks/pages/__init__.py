"""Training speed of networks on a page, and the size and frame rate of such pages.

It imports gpunn and `common`.
"""
