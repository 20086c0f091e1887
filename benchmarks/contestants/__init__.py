"""The programs compared, one file per framework, each run as a script in its own process.

They import their framework, NumPy and `cold` only, since the imports are part of the measurement.
"""
