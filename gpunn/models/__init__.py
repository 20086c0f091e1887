"""Models: combine layers, and train, evaluate and use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy
from gpunn.feeding.memory import OutOfMemoryError
from gpunn.training.loops import NonFiniteLossError

from .model import Model
from .sequential import Sequential

if TYPE_CHECKING:
    from gpunn.saving import load_model, model_from_json, save_model

    from .cloning import clone_model
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".cloning": "clone_model",
            "gpunn.saving": "load_model model_from_json save_model",
        },
    )

__all__ = [
    "Model",
    "NonFiniteLossError",
    "OutOfMemoryError",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]
