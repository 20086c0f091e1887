"""Training by steps that a model defines itself: `train_step` and what belongs to it."""
