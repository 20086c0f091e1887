"""Figures that Keras 3 asserts in its own unit tests, asserted here of gpunn."""
