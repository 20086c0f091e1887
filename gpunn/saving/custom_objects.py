"""Classes and functions that loading knows by name without their registration, as in Keras."""

from __future__ import annotations

from typing import Any

from gpunn.common import registry


def custom_object_scope(custom_objects: dict[str, Any]) -> Any:
    """Return a ``with`` block in which loading also finds these classes and functions by name.

    They are known in this thread only, and come before registered ones. ``load_model`` takes the
    same dictionary as ``custom_objects``.

    Args:
        custom_objects: Classes and functions by the names that files have for them.

    Raises:
        ValueError: for an object that is neither a class of gpunn's kinds nor a function.

    >>> from gpunn import layers
    >>> class _Twice(layers.Layer):
    ...     def call(self, x):
    ...         return 2 * x
    >>> with custom_object_scope({"Twice": _Twice}):
    ...     type(layers.get({"class_name": "Twice", "config": {}})).__name__
    '_Twice'
    """
    return registry.known(registry.with_further(custom_objects or {}))


CustomObjectScope = custom_object_scope


def get_registered_name(obj: Any) -> str:
    """Return the name under which a class or function is registered, or its own name.

    Args:
        obj: A class or function.

    >>> from gpunn.layers import Dense
    >>> get_registered_name(Dense)
    'Dense'
    """
    return str(getattr(obj, "__dict__", {}).get("_registered_name", obj.__name__))


def get_registered_object(
    name: str, custom_objects: dict[str, Any] | None = None, module_objects: Any = None
) -> Any:
    """Return the class or function that is registered under a name; None if there is none.

    Args:
        name: A name of `get_registered_name`, such as ``"Custom>Mine"``.
        custom_objects: Classes and functions by name that are found, too.
        module_objects: Likewise, where ``custom_objects`` has no such name.

    >>> get_registered_object("Custom>Mine") is None
    True
    """
    for known in (custom_objects, registry.global_objects, module_objects):
        if known and name in known:
            return known[name]
    tables = (registry.entries(kind) for kind in sorted(registry.kinds()))
    return next((table[name] for table in tables if ">" in name and name in table), None)


def get_custom_objects() -> dict[str, Any]:
    """Return the classes and functions that loading knows by name in the whole process.

    The dictionary may be changed: ``get_custom_objects()["Mine"] = Mine``. A `CustomObjectScope`,
    or ``custom_objects`` of one call, comes first.

    Returns:
        A dictionary from names to classes and functions, empty at first.

    >>> get_custom_objects()
    {}
    """
    return registry.global_objects
