"""Plots of data, training and models, each from one call. They need matplotlib.

Install it with ``pip install "gpunn[plot]"``. Every function returns a matplotlib figure. Save it
with ``figure.savefig("name.png")``, or make it the last line of a notebook cell to show it.
Functions that draw one panel take ``ax=`` to draw in existing axes; if pyplot made these, end the
line with ``;`` in a notebook, since pyplot shows them by itself. No function opens a window or
changes matplotlib's settings. Plots are readable without colour: they also use dashes, markers and
shades.
"""

from __future__ import annotations

from gpunn.common.importing.lazy import offer

from .boundaries import decision_boundary, decision_slices, points
from .confusion import confusion_matrix
from .curves import curves, history, learning_curve, learning_rates
from .images import first_layer, images, layer_activations, worst_mistakes
from .networks import network
from .surfaces import PathRecorder, error_surface

__all__ = [
    "PathRecorder", "confusion_matrix", "curves", "decision_boundary", "decision_slices",
    "error_surface", "first_layer", "history", "images", "layer_activations", "learning_curve",
    "learning_rates", "network", "points", "worst_mistakes",
]
offer(__name__)
