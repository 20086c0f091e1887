"""How time and memory grow with width, depth, batch and data: `make bench-full`.

It imports `common`. Each point is measured by `point` in a process of its own.
"""
