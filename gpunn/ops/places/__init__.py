"""Numbers by their places: taken, put where others are, and checked.

May import: what is in gpunn.ops beside it.
"""
