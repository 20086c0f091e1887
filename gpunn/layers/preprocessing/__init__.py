"""Layers that preprocess data: numbers in the step, strings on the host while data are fed."""
