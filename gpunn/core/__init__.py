"""Execution of models: the plan (the order of layers), the storage (the memory of parameters)
and the workspace (a plan bound to the arrays of one batch size).

It imports `gpunn.common` and `gpunn.backends`.
"""
