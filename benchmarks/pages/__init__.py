"""How fast networks learn on a page.

It imports gpunn and `common`.
"""
