# ruff: noqa: F403, F405
"""Saving of models, weights and checkpoints: safetensors with JSON, without any code."""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy
from gpunn.common.registry import register_serializable

if TYPE_CHECKING:
    from .checkpoint import *
    from .custom_objects import *
    from .keras_objects import *
    from .model_files import *
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".checkpoint": "load_checkpoint save_checkpoint",
            ".custom_objects": (
                "CustomObjectScope custom_object_scope get_custom_objects get_registered_name "
                "get_registered_object"
            ),
            ".keras_objects": "deserialize_keras_object serialize_keras_object",
            ".model_files": (
                "load_model load_weights model_from_json model_to_json save_model save_weights"
            ),
        },
    )

register_keras_serializable = register_serializable

__all__ = [
    "CustomObjectScope", "custom_object_scope", "deserialize_keras_object", "get_custom_objects",
    "get_registered_name", "get_registered_object", "load_checkpoint", "load_model", "load_weights",
    "model_from_json", "model_to_json", "register_keras_serializable", "register_serializable",
    "save_checkpoint", "save_model", "save_weights", "serialize_keras_object",
]
