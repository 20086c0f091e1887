"""Focal losses per row as functions, which Keras has beside its metrics too."""

from gpunn.losses import binary_focal_crossentropy, categorical_focal_crossentropy

__all__ = ["binary_focal_crossentropy", "categorical_focal_crossentropy"]
