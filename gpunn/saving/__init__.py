"""Saving of models, weights and checkpoints: safetensors with JSON, without any code."""

from gpunn.common.registry import register_serializable

from .checkpoint import load_checkpoint, save_checkpoint
from .model_files import (
    load_model,
    load_weights,
    model_from_json,
    model_to_json,
    save_model,
    save_weights,
)

register_keras_serializable = register_serializable

__all__ = [
    "load_checkpoint",
    "load_model",
    "load_weights",
    "model_from_json",
    "model_to_json",
    "register_keras_serializable",
    "register_serializable",
    "save_checkpoint",
    "save_model",
    "save_weights",
]
