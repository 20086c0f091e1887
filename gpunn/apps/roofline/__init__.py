"""The launches of a step on a GPU (`step_profile`), a lower bound of its time on this `cpu`,
and when several processes take less (`ranks`).

It imports the engine, for `gpunn doctor --step` and `--ranks`.
"""
