"""Pictures of data, training and models, each from one call. They need matplotlib.

``pip install "gpunn[plot]"``. Every function returns a matplotlib figure, to be saved with
``figure.savefig("name.png")`` or looked at in a notebook, where it shows itself as the last line
of a cell; those that draw one panel take ``ax=`` to draw in axes that are there (end such a line
with ``;`` in a notebook if pyplot made them, which shows them by itself). None opens a window or
changes matplotlib's settings. What belongs together can be told apart without colour: by dashes,
markers and shades.
"""

from __future__ import annotations

from .boundaries import decision_boundary, decision_slices, points
from .confusion import confusion_matrix
from .curves import curves, history, learning_curve
from .images import first_layer, images, layer_activations, worst_mistakes
from .networks import network
from .surfaces import PathRecorder, error_surface

__all__ = [
    "PathRecorder",
    "confusion_matrix",
    "curves",
    "decision_boundary",
    "decision_slices",
    "error_surface",
    "first_layer",
    "history",
    "images",
    "layer_activations",
    "learning_curve",
    "network",
    "points",
    "worst_mistakes",
]
