"""Random faults, planted one by one in the source, and whether the tests see them.

It imports nothing else of the project: what it changes must not be what it runs on.
"""
