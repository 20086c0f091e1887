"""What a model runs on: the plan (what runs in which order), the arena (where parameters
lie) and the workspace (a plan bound to the arrays of one batch size).

It imports `gpunn.common` and `gpunn.backends`.
"""
