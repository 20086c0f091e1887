"""Models: combine layers, and train, evaluate and use them."""

from __future__ import annotations

from gpunn.feeding.memory import OutOfMemoryError
from gpunn.saving import load_model, model_from_json, save_model
from gpunn.training.loops import NonFiniteLossError

from .cloning import clone_model
from .model import Model
from .sequential import Sequential

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
