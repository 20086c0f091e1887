"""The launches of a step on a GPU (`step_profile`), and a lower bound of its time on this `cpu`.

It imports the engine, for `gpunn doctor --step`.
"""
