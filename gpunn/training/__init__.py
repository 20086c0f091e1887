"""Training, evaluation and prediction: what `compile` says, programs of steps, loops.

It imports feeding, structure, callbacks and what is below them.
"""
