"""The activation that halves an axis, so that no layer can have it as its ``activation``."""

from gpunn.ops.library.activations import glu

__all__ = ["glu"]
