"""Data feeding: checks user data and places them as rows on the device, or streams them to it.

It imports `gpunn.structure` and the packages below it.
"""
