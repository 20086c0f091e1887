"""gpunn: fast training of small and medium neural networks, with or without a GPU.

The names are Keras 3's: ``import gpunn as keras``, or ``import gpunn as tf`` and
``tf.keras``. A model computes with NumPy, with kernels compiled for this CPU, or on an NVIDIA
GPU through CuPy: three backends behind one contract.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import (
    activations,
    backends,
    callbacks,
    constraints,
    datasets,
    distribution,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    regularizers,
    saving,
    testing,
    utils,
)
from ._version import __version__
from .apps import plots
from .apps.least_squares import fit_least_squares
from .apps.perceptron import Perceptron
from .backends import get_backend, use_backend
from .common import config, stored
from .compat import absent, backend
from .layers import Input
from .models import Model, Sequential
from .ops import random
from .ops.library.derivatives import grad, value_and_grad
from .ops.variable import Variable

__all__ = [
    "Input",
    "Model",
    "Perceptron",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "backends",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "distribution",
    "fit_least_squares",
    "get_backend",
    "grad",
    "initializers",
    "keras",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "plots",
    "random",
    "regularizers",
    "saving",
    "stored",
    "testing",
    "use_backend",
    "utils",
    "value_and_grad",
]

# These public modules are defined elsewhere, and `gpunn.keras` is this package itself, however it
# is imported: a second copy of a module would have a second registry.
keras = sys.modules[__name__]
for _name in ("backend", "config", "keras", "plots", "random", "stored"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]
# Pickles of earlier versions use the old module names.
_MOVED = {
    "ops.given": "ops.op_arguments", "ops.further": "ops.library",
    "utils.feature_space": "compat.feature_space", "layers.held": "layers.parameters",
}  # fmt: skip
for _was, _now in _MOVED.items():
    for _name in [n for n in sys.modules if f"{n}.".startswith(f"{__name__}.{_now}.")]:
        sys.modules[_name.replace(_now, _was, 1)] = sys.modules[_name]
for _name in list(sys.modules):
    if _name.startswith(f"{__name__}.") and not _name.startswith(f"{__name__}.keras"):
        sys.modules[f"{__name__}.keras{_name[len(__name__) :]}"] = importlib.import_module(_name)
for _name in absent.ABSENT:
    if _name:
        globals()[_name].__getattr__ = absent.refusing(globals()[_name], _name)
del _name, _now, _was
_refused = callbacks.__getattr__


def _callback_above(name: str) -> Any:
    """Import `callbacks.Report` on first use: it depends on higher layers of the package."""
    if name != "Report":
        return _refused(name)
    return importlib.import_module(f"{__name__}.apps.reports").Report


callbacks.__getattr__ = _callback_above  # type: ignore[method-assign]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Names that scripts written for TensorFlow use; completion does not offer them."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "sklearn":  # which imports scikit-learn
        return importlib.import_module(f"{__name__}.sklearn")
    from .compat.tensorflow import named

    return named(name)


def _config_name(name: str) -> Any:
    """Names that scripts use from ``tf.config`` and ``keras.config`` besides the settings."""
    if name.startswith("_"):
        raise AttributeError(f"module {config.__name__!r} has no attribute {name!r}")
    from .compat.tensorflow import config_named

    return config_named(name)


config.__getattr__ = _config_name  # type: ignore[method-assign]
