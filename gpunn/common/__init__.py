"""Shared utilities of all packages: names and settings of parts, argument checks, seeds, locks.

It imports no other package of gpunn.
"""
