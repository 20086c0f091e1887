"""What a step launches on a card, and how long that takes at least.

It imports the engine, for `gpunn doctor --step`.
"""
