"""gpunn: fast training of small and medium neural networks, with or without a GPU.

The names are Keras 3's: ``import gpunn as keras``, or ``import gpunn as tf`` and
``tf.keras``. A model computes with NumPy, with kernels compiled for this CPU, or on an NVIDIA
GPU through CuPy: three backends behind one contract.
"""

from __future__ import annotations

import sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .common import config
from .common.importing import collector as _collector
from .common.importing.aliases import AliasFinder
from .common.importing.lazy import advice as _advice
from .common.importing.lazy import lazy, offered, told_to_imports
from .common.names import shorten_what_ends_programs as _shorten_what_ends_programs
from .common.registry import advice as _advice_on_parts

_shorten_what_ends_programs()
# Python may find a deadlock where threads import a package, and a module of it, at the same time:
# these two packages, which all others need, are imported before.
with _collector.paused():
    from . import backends, ops

if TYPE_CHECKING:
    from . import (
        activations,
        callbacks,
        constraints,
        datasets,
        distribution,
        initializers,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        regularizers,
        saving,
        testing,
        utils,
    )
    from .apps import plots
    from .apps.least_squares import fit_least_squares
    from .apps.many.fitting import fit_many
    from .apps.many.searching import search
    from .apps.perceptron import Perceptron
    from .apps.web.notebook import playground
    from .backends import get_backend, use_backend
    from .common import stored
    from .compat import backend
    from .compat.devices import device
    from .compat.keras_names import KerasTensor, Operation, name_scope
    from .initializers import Initializer
    from .layers import Input, InputSpec, Layer
    from .losses import Loss
    from .metrics import Metric
    from .models import Model, Sequential
    from .ops import random
    from .ops.library.derivatives import grad, value_and_grad
    from .ops.running.step_function import function
    from .ops.running.tape import GradientTape
    from .ops.running.transformations import hessian, jacobian, jvp, vjp
    from .ops.variable import Variable
    from .optimizers import Optimizer
    from .regularizers import Regularizer

__all__ = [
    "GradientTape", "Initializer", "Input", "InputSpec", "KerasTensor", "Layer", "Loss", "Metric",
    "Model", "Operation", "Optimizer", "Perceptron", "Regularizer", "Sequential", "Variable",
    "__version__", "activations", "backend", "backends", "callbacks", "config", "constraints",
    "datasets", "device", "distribution", "fit_least_squares", "fit_many", "function",
    "get_backend", "grad", "hessian", "initializers", "jacobian", "jvp", "keras", "layers",
    "losses", "metrics", "models", "name_scope", "ops", "optimizers", "playground", "plots",
    "random", "regularizers", "saving", "search", "stored", "testing", "use_backend", "utils",
    "value_and_grad", "vjp",
]

# What may still change; the rest is stable, see `gpunn.common.importing.stability`.
__experimental__ = frozenset(
    {"GradientTape", "distribution", "fit_many", "function", "grad", "hessian", "jacobian", "jvp"}
    | {"playground", "search", "stored", "testing", "value_and_grad", "vjp"}
)

# `gpunn.keras` is this package itself, and these public modules are defined elsewhere.
keras = sys.modules[__name__]
# Pickles of earlier versions use the old module names at the end.
_MODULES = {
    "keras": "gpunn",
    "backend": "gpunn.compat.backend",
    "config": "gpunn.common.config",
    "plots": "gpunn.apps.plots",
    "random": "gpunn.ops.random",
    "mixed_precision": "gpunn.compat.dtype_policies",
    "dtype_policies": "gpunn.compat.dtype_policies",
    "tensorflow.keras": "gpunn",
    "stored": "gpunn.common.stored",
    "ops.given": "gpunn.ops.op_arguments",
    "ops.running.call_programs": "gpunn.ops.running.compiled_calls",
    "ops.further": "gpunn.ops.library",
    "utils.feature_space": "gpunn.compat.feature_space",
    "preprocessing.image": "gpunn.utils",
    "preprocessing.sequence": "gpunn.utils",
    "preprocessing.text": "gpunn.utils",
    "preprocessing.timeseries": "gpunn.utils",
    "preprocessing": "gpunn.utils",
    "layers.convolution": "gpunn.layers.convolutional.convolution",
    "layers.held": "gpunn.layers.parameters",
    "layers.images": "gpunn.layers.convolutional.images",
    "layers.pooling": "gpunn.layers.convolutional.pooling",
    "core.arena": "gpunn.core.storage",
}
# The same, by the modules of the same folder that hold what these held.
_JOINED = {
    "callbacks.learning_rates": "learning_rate_finder",
    "callbacks.stopping": "early_stopping",
    "layers.pictures.colors": "histograms",
    "layers.pictures.windows": "mixing",
    "layers.preprocessing.hashing": "crossing hashed",
    "layers.preprocessing.on_host": "adapting row_encoder",
    "layers.sequences.embedding": "masking",
    "metrics.auc": "operating_points",
    "metrics.iou": "confusion",
    "metrics.regression": "correlation",
    "optimizers.adaptive": "adadelta adagrad ftrl rmsprop",
    "optimizers.by_weight.whole": "adafactor muon schedule_free_adamw",
    "optimizers.two_means": "adamax lamb nadam",
}
for _of, _names in _JOINED.items():
    _MODULES |= {f"{_of.rpartition('.')[0]}.{name}": f"gpunn.{_of}" for name in _names.split()}
sys.meta_path.insert(0, AliasFinder({f"{__name__}.{name}": of for name, of in _MODULES.items()}))
_public, _ = lazy(
    __name__,
    {
        ".apps.least_squares": "fit_least_squares",
        ".apps.many.fitting": "fit_many",
        ".apps.many.searching": "search",
        ".apps.perceptron": "Perceptron",
        ".apps.web.notebook": "playground",
        ".ops.library.derivatives": "grad value_and_grad",
        ".ops.running.step_function": "function",
        ".ops.running.tape": "GradientTape",
        ".ops.running.transformations": "hessian jacobian jvp vjp",
        ".backends": "get_backend use_backend",
        ".compat.devices": "device",
        ".compat.keras_names": "KerasTensor Operation name_scope",
        ".initializers": "Initializer",
        ".layers": "Input InputSpec Layer",
        ".losses": "Loss",
        ".metrics": "Metric",
        ".models": "Model Sequential",
        ".ops.variable": "Variable",
        ".optimizers": "Optimizer",
        ".regularizers": "Regularizer",
    },
)


def _of_name(module: str, name: str) -> str | None:
    from .compat.absent import advice_of  # only for a message

    return advice_of(module, name)


_advice.append(_of_name)


def _of_part(kind: str, name: str) -> str | None:
    from .compat.members import advice_of

    return advice_of(kind, name)


_advice_on_parts.append(_of_part)


def _further(name: str) -> Any:
    """Names that scripts written for TensorFlow use. Completion does not offer them."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "preprocessing":
        return _public("utils")
    if name in ("mixed_precision", "dtype_policies", "DTypePolicy", "FloatDTypePolicy"):
        found = _import_module(f"{__name__}.mixed_precision")
        return getattr(found, name, found)
    if name in ("image", "summary", "tensorflow", "train"):
        found = _import_module(f"{__name__}.tensorflow")
        return found if name == "tensorflow" else getattr(found, name)
    from .compat.tensorflow import named

    return named(name)


def _further_of_config(name: str) -> Any:
    """Names that scripts use from ``tf.config`` and ``keras.config`` besides the settings."""
    if name.startswith("_"):
        raise AttributeError(f"module {config.__name__!r} has no attribute {name!r}")
    from .compat.tensorflow import config_named

    return config_named(name)


_other, __dir__ = offered(__name__, _further)
config.__getattr__, _ = offered(config.__name__, _further_of_config)  # type: ignore[method-assign]


def _named(name: str) -> Any:
    """Import a public name at its first use."""
    if name in __all__ or name in ("apps", "sklearn"):  # the latter imports scikit-learn
        return _public(name)
    return _other(name)


__getattr__ = told_to_imports(__name__, _named)
