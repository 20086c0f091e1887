"""Training, evaluation and prediction: `compile`, step programs and loops.

It imports feeding, structure, callbacks and the layers of the package below them.
"""
