"""The programs compared, one file a framework, each run as a script in a process of its own.

They import their framework, NumPy and `cold`: what one starts with is part of what is measured.
"""
