"""Studies of a single question each, to repeat when the answer may have changed.

It imports `common`, `race` and the contestants.
"""
