"""How time and memory grow with width, depth, batch and data: `make bench-full`.

It imports `common`. `point` measures each point in a separate process.
"""
