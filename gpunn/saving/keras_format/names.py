"""Keras's names of entries in lists of layers."""

from __future__ import annotations

import re


def class_name(name: str) -> str:
    """Return Keras's name for an entry of this class in a list.

    >>> class_name("Conv2D"), class_name("LSTMCell"), class_name("RMSNormalization")
    ('conv2d', 'lstm_cell', 'rms_normalization')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
