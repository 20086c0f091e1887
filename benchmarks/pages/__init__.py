"""How fast networks learn on a page, and how large and smooth such pages are.

It imports gpunn and `common`.
"""
