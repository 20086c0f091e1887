"""How data come to a step: what users bring, checked, as rows on the device or streamed to it.

It imports `gpunn.structure` and what is below it.
"""
