"""Random faults, planted one by one in the source, and whether the tests detect them.

It imports nothing else of the project: it must not depend on the code that it changes.
"""
