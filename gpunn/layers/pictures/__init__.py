"""Layers that change pictures: to another size, or at random in training."""
