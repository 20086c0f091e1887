"""The place of each layer in a file of Keras's.

Keras names the places by the attributes that hold layers. In lists, and in the layers of a model,
it counts them by class: ``layers/dense_1/vars/0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpunn.common.nested import found_in
from gpunn.core.storage import Parameter
from gpunn.layers.shapes import with_batch_axis
from gpunn.layers.symbolic import GraphOperation

from .names import class_name

RENAMED = {"Model": "Functional", "GroupQueryAttention": "GroupedQueryAttention"}
WITH_KERNEL = {"SpectralNormalization"}  # Keras's layer has a weight of the layer inside too
PRIVATE = {"GroupQueryAttention"}  # Keras holds the layers in it by private attributes


def class_of(layer: Any) -> str:
    name = type(layer).__name__
    return class_name(RENAMED.get(name, name))


def places(holder: Any) -> dict[str, tuple[Any, list[Parameter]]]:
    """Return a model, its layers and those in them by Keras's path, with their own parameters."""
    return dict(_walk(holder, "", set()))


def _walk(holder: Any, path: str, seen: set[int]) -> Iterator[tuple[str, tuple[Any, list[Any]]]]:
    if id(holder) in seen:
        return
    seen.add(id(holder))
    own = list(holder._own_parameters)
    if own and type(holder).__name__ in WITH_KERNEL:
        own = [holder._kernel, *own]
    yield path, (holder, own)
    attributes: dict[str, Any] = {}
    is_model = hasattr(holder, "layers")
    if not is_model or holder._has_call:
        attributes = {
            name: x for name, x in vars(holder).items()
            if next(found_in(x, GraphOperation), None) is not None
        }
    if is_model:
        attributes["layers"] = list(holder.layers)
    # Private attributes come last; a model without a call has nothing but its layers.
    for name in sorted(attributes, key=lambda name: f"~{name}" if name.startswith("_") else name):
        place = "_" + name.lstrip("_") if type(holder).__name__ in PRIVATE else name
        yield from _walk_in(attributes[name], f"{path}/{place}".lstrip("/"), seen)


def _walk_in(
    value: Any, path: str, seen: set[int], around: tuple[int, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield the places in an attribute; ``around``: the lists that it is in, by their `id`."""
    if isinstance(value, GraphOperation):
        yield from _walk(value, path, seen)
        return
    if id(value) in around:  # a list that holds itself
        return
    counts: dict[str, int] = {}
    entries = list(value.values()) if isinstance(value, Mapping) else value
    for entry in entries:
        if not isinstance(entry, (GraphOperation, list, tuple, Mapping)):
            continue
        name = class_of(entry) if isinstance(entry, GraphOperation) else "container"
        counts[name] = counts.get(name, -1) + 1
        place = f"{path}/{name}_{counts[name]}".removesuffix("_0")
        yield from _walk_in(entry, place, seen, (*around, id(value)))


# -- models that are not built, although layers in them are: only their own steps call these


def shapes_of_layers(model: Any) -> dict[str, Any]:
    """Return the input shapes of the built layers of a model that is not built, by their places."""
    if model.built:
        return {}
    return {
        path: with_batch_axis(holder.input_shape) for path, (holder, own) in places(model).items()
        if own and holder is not model and holder.input_shape is not None
    }  # fmt: skip


def build_layers(model: Any, shapes: Any) -> None:
    """Build the layers of a model for the shapes from `shapes_of_layers`, as a file has them.

    Raises:
        ValueError: for entries that are no shapes.
    """
    shapes = {} if shapes is None else shapes
    for path, shape in shapes.items() if isinstance(shapes, dict) else [("", shapes)]:
        if not path or not isinstance(shape, (list, tuple)) or not _is_shape(shape):
            raise ValueError(f"the entry 'layer_shapes/{path}' is no input shape: {shape!r}.")
    known = places(model) if shapes else {}
    for path, shape in shapes.items():
        if path in known and not known[path][0].built:
            known[path][0].build(tuple(shape))


def _is_shape(value: Any) -> bool:
    """Whether a value is a shape, a size of one, or several shapes."""
    if isinstance(value, Mapping):
        return all(map(_is_shape, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_shape, value))
    return value is None or (type(value) is int and value >= 0)
