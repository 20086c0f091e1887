"""One question each, asked when its answer may have changed: accuracy, and threads.

It imports `common` and the contestants.
"""
