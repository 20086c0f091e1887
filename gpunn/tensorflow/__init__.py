"""TensorFlow's face: ``import gpunn.tensorflow as tf`` for programs that ask for its version.

It has the names of ``import gpunn as tf``, and besides ``tf.__version__``, the version of
TensorFlow whose names these are, and ``tf.random.gamma``, whose arguments are not Keras's.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import gpunn

__all__ = ["__version__", "image", "random", "summary", "train", "version"]
__version__ = "2.20.0"
version = SimpleNamespace(VERSION=__version__, GIT_VERSION=f"v{__version__}")


def __getattr__(name: str) -> Any:
    """Import a module of this package at its first use; other names are gpunn's."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    return getattr(gpunn, name)
