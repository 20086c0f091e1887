"""What a step launches on a card (`step_profile`), and how long that takes at least (`roofline`).

It imports the engine, for `gpunn doctor --step`.
"""
