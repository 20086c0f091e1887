"""Models: layers put together, trained, evaluated and used."""

from __future__ import annotations

from typing import Any

from gpunn.feeding.memory import OutOfMemoryError
from gpunn.training.loops import NonFiniteLossError

from .model import Model
from .sequential import Sequential

__all__ = [
    "Model",
    "NonFiniteLossError",
    "OutOfMemoryError",
    "Sequential",
    "load_model",
    "save_model",
]


def load_model(
    filepath: Any,
    custom_objects: Any = None,
    compile: bool = True,
    safe_mode: bool = True,
    **options: Any,
) -> Model:
    """See `gpunn.saving.load_model`."""
    from gpunn.saving import load_model

    return load_model(filepath, custom_objects, compile, safe_mode, **options)


def save_model(model: Model, filepath: Any, overwrite: bool = True) -> None:
    """See `gpunn.saving.save_model`."""
    model.save(filepath, overwrite=overwrite)
