"""Parts as Keras describes them, for the `get_config` of layers that hold others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.common import registry

from .keras_format.graphs import layer_to_keras, part_from_keras
from .keras_format.parts import entry_of, is_part, to_keras


def serialize_keras_object(obj: Any) -> Any:
    """Return a part as Keras describes it, in values that JSON can hold.

    Args:
        obj: A layer, model, optimizer, loss, metric or other part, an object of a class with
            ``get_config``, a function that is registered, an array, or numbers, strings, None, and
            lists, tuples and dictionaries of these.

    Returns:
        For a part, a dictionary with ``"module"``, ``"class_name"``, ``"config"`` and
        ``"registered_name"``. An activation, and a function, is its name.

    Raises:
        ValueError: for a part that Keras lacks, and for an object that cannot be described.

    >>> import gpunn
    >>> gpunn.saving.serialize_keras_object(gpunn.regularizers.L2(0.5))["module"]
    'keras.regularizers'
    """
    if registry.is_part(obj):
        return registry.named(lambda: _of_part(obj))
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, (list, tuple)):
        return type(obj)(map(serialize_keras_object, obj))
    if isinstance(obj, Mapping):
        return {str(key): serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, (np.ndarray, np.generic)):
        config = {"value": obj.tolist(), "dtype": obj.dtype.name}
        return {"class_name": "__numpy__", "config": config}
    name = registry.name_of(registry.FUNCTION, obj)
    if name is None:
        raise ValueError(f"{obj!r} cannot be described: register it with register_serializable().")
    return entry_of("builtins", "function", name, name)


def _of_part(part: Any) -> Any:
    entry: Any = registry.serialize(part)
    kind = getattr(part, "_kind", registry.OBJECT)
    return layer_to_keras(entry) if kind in _LAYERS else to_keras(entry, kind)


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """Return what `serialize_keras_object`, or Keras's function of this name, has described.

    Args:
        config: The description. It runs no code: only registered classes and functions, and those
            of ``custom_objects``, can occur in it.
        custom_objects: Classes and functions by name, for this call only.
        safe_mode: Accepted for compatibility with Keras; it is always safe.

    Raises:
        ValueError: for an unknown class, or invalid arguments.

    >>> import gpunn
    >>> config = gpunn.saving.serialize_keras_object(gpunn.layers.Dense(3))
    >>> gpunn.saving.deserialize_keras_object(config).units
    3
    """
    return registry.also(dict(custom_objects or {}), lambda: _restored(config))


_LAYERS = ("layer", "model")


def _restored(config: Any) -> Any:
    if isinstance(config, (list, tuple)):
        return type(config)(map(_restored, config))
    if not is_part(config):
        if isinstance(config, Mapping):
            return {key: _restored(value) for key, value in config.items()}
        return config
    name, inner = config["class_name"], config["config"]
    if name in ("__numpy__", "__tensor__"):
        return np.asarray(inner["value"], inner["dtype"])
    if name == "function":
        return registry.lookup(registry.FUNCTION, str(inner))
    return part_from_keras(config, _kind_of(config))


def _kind_of(config: Mapping[str, Any]) -> str:
    """Return the kind of a described part: by Keras's module, or by its name."""
    names = [config["class_name"], str(config.get("registered_name"))]
    module = str(config.get("module")).rpartition(".")[2].removesuffix("s")
    kinds = registry.kinds() | {registry.OBJECT}
    for kind in (module, "layer", "model", *sorted(kinds - {*_LAYERS, module})):
        if kind in kinds and any(name in registry.entries(kind) for name in names):
            return kind
    if names[0] == "Functional":
        return "model"
    raise ValueError(f"the part {names[0]!r} is not one of gpunn: pass it in custom_objects.")


__all__ = ["deserialize_keras_object", "serialize_keras_object"]
