"""Configurations of models: Keras's from ours, and models from Keras's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from heapq import heappop, heappush
from itertools import takewhile
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.common.nested import found_in, replaced
from gpunn.common.signatures import signature
from gpunn.core.operators import FUNCTIONS
from gpunn.layers.symbolic import SymbolicTensor
from gpunn.ops.op_arguments import Named, OpArguments, Place, restored, stored

from .parts import (
    UnknownInKerasError,
    arguments_of,
    dtype_of,
    entry_of,
    from_keras,
    further_entries,
    is_part,
    known_as,
    own_entry,
    to_keras,
)

_BY_OPTIONS = {
    "": "abs absolute add ceil cos divide equal exp floor get_item greater greater_equal less "
        "less_equal log log1p logical_and logical_not logical_or matmul maximum minimum multiply "
        "negative not_equal power relu sigmoid sign sin softplus sqrt square subtract tanh "
        "true_divide where",
    "axis keepdims": "argmax max mean min prod std sum var",
    "axis": "concatenate expand_dims softmax squeeze stack",
    "axes": "transpose", "dtype": "cast", "newshape": "reshape", "x_min x_max": "clip",
}
OPTIONS = {name: of.split() for of, names in _BY_OPTIONS.items() for name in names.split()}
"""The arguments of operations that Keras's class takes in its constructor."""
MODULES = {"cast": "core", **dict.fromkeys(("relu", "sigmoid", "softmax", "softplus"), "nn")}
"""Keras's modules of operations, where these are not in ``numpy``."""
RENAMED = {"abs": "absolute"}
SHAPE = {"shape": [None], "dtype": "float32"}  # of tensors: Keras finds them again by their places


# -- to Keras


def model_to_keras(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return Keras's description of a model from `registry.serialize`'s, or raise a
    ValueError that names what Keras does not have."""
    cls, config = registry.lookup("model", entry["class_name"]), entry["config"]
    if "layers" not in config:  # it has a call of its own
        return own_entry(cls, dict(config))
    if "forms" not in config:
        made: dict[str, Any] = {"layers": [layer_to_keras(one) for one in config["layers"]]}
        if "build_input_shape" in config:
            made["build_input_shape"] = config["build_input_shape"]
        module, name = "keras", "Sequential"
    else:
        inner = [one["layer"]["config"] for one in config["layers"] if "layer" in one]
        nested = {layer.get("name") for layer in inner if "forms" in layer}
        made = {
            "layers": [_applied(one) for one in config["layers"]],
            "input_layers": config["inputs"],
            "output_layers": _outputs(config["outputs"], nested),
        }
        module, name = "keras.src.models.functional", "Functional"
    made |= {"name": config["name"], "trainable": True}
    if entry["class_name"] not in ("Model", "Sequential"):
        return own_entry(cls, made)
    return entry_of(module, name, made)


def layer_to_keras(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return Keras's description of a layer, or of a model used as one."""
    if registry.is_model(entry["class_name"]):
        return model_to_keras(entry) | further_entries(entry)
    if entry["class_name"] != "InputLayer":
        return to_keras(entry, "layer")
    config = entry["config"]
    shape = [config["batch_size"], *config["shape"]]
    made = {"batch_shape": shape, "dtype": dtype_of(config), "name": config["name"]}
    return entry_of("keras.layers", "InputLayer", made)


def _outputs(places: Any, nested: set[str]) -> Any:
    """Return the places of outputs: a nested functional model counts one application more."""
    if isinstance(places, dict):
        return {name: _outputs(place, nested) for name, place in places.items()}
    if _is_place(places):
        name, number, index = places
        return [name, number + (name in nested), index]
    return [_outputs(place, nested) for place in places]


def _applied(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return Keras's description of a layer or operation, with its applications."""
    if "operation" in entry:
        own = entry["operation"]
        return _operation(own["operation"], own, entry["calls"])
    layer, name = entry["layer"], entry["layer"]["config"]["name"]
    if entry.get("by_operator"):  # ``a + b``
        both = {"arguments": [{"input": 0}, {"input": 1}], "options": {}, "name": name}
        return _operation(layer["class_name"].lower(), both, entry["calls"])
    made = layer_to_keras(layer)
    if registry.is_model(layer["class_name"]):
        form, *_ = layer["config"].get("forms", ["one"])
        nested = not isinstance(form, str)
        names = list(layer["config"]["inputs"]) if form == "dict" else []
        takes_list = form not in ("one", "dict")
    else:
        names, nested = [], False
        takes_list = registry.lookup("layer", layer["class_name"]).takes_list  # type: ignore[attr-defined]
    nodes = []
    for call in entry["calls"]:
        tensors = [_tensor(place) for place in call["inputs"]]
        args: list[Any] = [dict(zip(names, tensors, strict=True))] if names else [tensors[0]]
        kwargs = dict[str, Any]()
        if call.get("given"):
            given = OpArguments.from_config(call["given"])
            args, kwargs = (_arguments(one, tensors) for one in ([*given.args], given.kwargs))
        elif nested:
            remaining = iter(tensors)
            inputs = layer["config"]["inputs"]
            args = [_placed(inputs, remaining)]
        elif not names and (takes_list or len(tensors) > 1):
            args = [tensors]
        if call["training"] is not None:
            kwargs["training"] = call["training"]
        nodes.append({"args": args, "kwargs": kwargs})
    return {**made, "name": name, "inbound_nodes": nodes}


def _operation(name: str, own: Mapping[str, Any], calls: list[Any]) -> dict[str, Any]:
    """Return Keras's description of an operation on tensors."""
    if name not in OPTIONS or own.get("index") is not None:
        raise UnknownInKerasError(
            f"the operation {name!r} between layers cannot be written as Keras does: put it into a "
            f"layer with a call, or save the model as .gpunn."
        )
    module, options = f"keras.src.ops.{MODULES.get(name, 'numpy')}", OPTIONS[name]
    class_name = "".join(part.capitalize() for part in RENAMED.get(name, name).split("_"))
    settings, nodes = dict[str, Any](), []
    for call in calls:
        tensors = [_tensor(place) for place in call["inputs"]]
        args = _arguments(restored(own["arguments"]), tensors)
        kwargs = {key: _arguments(restored(x), tensors) for key, x in own["options"].items()}
        settings = {key: kwargs.pop(key) for key in options if key in kwargs}
        settings |= dict(zip(options, args[1:], strict=False)) if options else {}
        nodes.append({"args": args[:1] if options else args, "kwargs": kwargs})
    described = entry_of(module, class_name, {**settings, "name": own["name"]}, class_name)
    return {**described, "name": own["name"], "inbound_nodes": nodes}


def _placed(places: Any, tensors: Iterator[Any]) -> Any:
    """Return the next tensors in the structure of places."""
    return replaced(lambda _: next(tensors), places, _is_place)


def _is_place(x: Any) -> bool:
    return isinstance(x, list) and len(x) == 3 and isinstance(x[0], str)


def _tensor(place: list[Any]) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {**SHAPE, "keras_history": place}}


def _arguments(given: Any, tensors: list[Any]) -> Any:
    """Return arguments, with a `Place` for each tensor, in Keras's form."""

    def argument(x: Any) -> Any:
        if isinstance(x, Place):
            return tensors[x.number]
        if isinstance(x, slice):
            ends = {end: argument(getattr(x, end)) for end in ("start", "stop", "step")}
            return {"class_name": "__slice__", "config": ends}
        if isinstance(x, np.ndarray):
            config = {"value": x.tolist(), "dtype": x.dtype.name}
            return {"class_name": "__numpy__", "config": config}
        if isinstance(x, Named):
            raise UnknownInKerasError(
                f"an operation between layers reads {stored(x)!r}, which Keras's files cannot "
                f"hold: write a layer with a call, or save the model as .gpunn."
            )
        return {"class_name": "__ellipsis__", "config": {}} if x is ... else x

    return replaced(argument, given, lambda x: isinstance(x, slice))


# -- from Keras


@registry.sharing
def model_from_keras(entry: Any) -> Any:
    """Return the model that Keras has described, with new initial weights, or raise a ValueError
    that names what gpunn does not have."""
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict) or not isinstance(entry.get("class_name"), str):
        raise ValueError(f"a model is described as {entry!r}.")
    name = known_as(entry, "model")
    cls: Any = registry.lookup("model", "Model" if name == "Functional" else name)
    options = {"name": config["name"]} if isinstance(config.get("name"), str) else {}
    if {"layers", "input_layers", "output_layers"} <= set(config):
        inputs, outputs = _connected(config)
        return cls(inputs, outputs, **options)
    if "layers" not in config:
        return cls.from_config(arguments_of(cls, config))
    model = cls([layer_from_keras(one) for one in config["layers"]], **options)
    shape = config.get("build_input_shape")
    if shape and not model.built:
        model.build(shape)
    return model


def layer_from_keras(entry: Any) -> Any:
    """Return the layer, or the model used as one, that Keras has described."""
    name = entry.get("class_name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"a layer is described as {entry!r}.")
    if name == "Functional" or registry.is_model(known_as(entry, "model")):
        return registry.restored_once(entry, lambda: model_from_keras(entry))
    return registry.deserialize(from_keras(entry, "layer"), "layer")


def part_from_keras(entry: Any, kind: str) -> Any:
    """Return the part of a kind that Keras has described."""
    if kind in ("layer", "model"):
        return layer_from_keras(entry)
    return registry.get(kind, from_keras(entry, kind))


def _connected(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the inputs and outputs of a functional model, made by applying its layers."""
    made: dict[str, list[list[Any]]] = {}  # the outputs of the applications by layer
    nested = set[str]()
    calls: list[tuple[str, Any, Any]] = []  # in the order of the file, which may be any
    needs: list[set[tuple[str, int]]] = []  # the applications whose outputs each call reads
    for entry in config["layers"]:
        name, nodes = entry["name"], entry["inbound_nodes"]
        if name in made:
            raise ValueError(f"the model has two layers named {name!r}.")
        is_operation = str(entry.get("module")).startswith(("keras.src.ops.", "keras.ops"))
        apply = _function(entry) if is_operation else layer_from_keras(entry)
        made[name] = [[apply.output]] if entry["class_name"] == "InputLayer" else []
        nested |= {name} if entry["class_name"] == "Functional" else set()
        for number, node in enumerate(nodes):
            calls.append((name, apply, node))
            needs.append(_read_by(node) | ({(name, number - 1)} if number else set()))

    def tensor(place: Any, shift: int = 0) -> Any:
        name, number, index = place
        return made[name][number - shift][index]

    readers: dict[tuple[str, int], list[int]] = {}
    for k, places in enumerate(needs):
        places -= {(name, 0) for name, _ in places if made.get(name)}  # inputs are there
        for place in places:
            readers.setdefault(place, []).append(k)
    ready = [k for k, places in enumerate(needs) if not places]  # a heap: the first comes first
    left = set(range(len(calls)))
    while ready:
        k = heappop(ready)
        left.remove(k)
        name, apply, node = calls[k]
        args, kwargs = (_revived(node[key], tensor) for key in ("args", "kwargs"))
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
        y = apply(*args, **kwargs)
        ys = list(found_in(y, SymbolicTensor))
        if isinstance(apply, partial) and not made[name]:  # a new name might be a layer's
            ys[0].layer.name = name
        made[name].append(ys)
        place = name, len(made[name]) - 1
        for reader in readers.pop(place, ()):
            needs[reader].discard(place)
            if not needs[reader]:
                heappush(ready, reader)
    if left:
        raise ValueError(f"the layer {calls[min(left)][0]!r} reads tensors that are missing.")

    def found(places: Any) -> Any:
        if isinstance(places, dict):
            return {key: found(place) for key, place in places.items()}
        if _is_place(places):
            return tensor(places, int(places[0] in nested and places[1] > 0))
        return [found(place) for place in places]

    return found(config["input_layers"]), found(config["output_layers"])


def _read_by(node: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the applications, by layer and number, whose outputs an application reads."""
    places = set[tuple[str, int]]()

    def note(place: Any) -> None:
        name, number, _ = place
        places.add((name, number))

    for key in ("args", "kwargs"):
        _revived(node[key], note)
    return places


def _function(entry: Mapping[str, Any]) -> Any:
    """Return a function that applies an operation as Keras has described it."""
    name = snake_case(entry["class_name"])
    if name not in FUNCTIONS:
        raise ValueError(f"the operation {entry['class_name']!r} is not one of gpunn.ops.")
    known = signature(FUNCTIONS[name]).parameters
    options = {
        key: _revived(value, None) for key, value in entry["config"].items()
        if (key not in ("name", "dtype") or (key == "dtype" and name == "cast"))
        and (key in known or value not in (None, False))  # such as ``sparse=False``
    }
    if name == "get_item":  # tuples have become lists
        return partial(_item)
    # Those before the tensors, as einsum's subscripts: tensors are given by position.
    first = [options.pop(key) for key in takewhile(options.__contains__, list(known))]
    return partial(FUNCTIONS[name], *first, **options)


def _item(x: Any, key: Any) -> Any:
    return x[tuple(key) if isinstance(key, list) else key]


def _revived(value: Any, tensor: Any) -> Any:
    """Return an argument from Keras's form, with the tensors at their places."""

    def revived(x: Any) -> Any:
        if not is_part(x):
            return x
        kind, config = x["class_name"], x["config"]
        if kind == "__keras_tensor__":
            return tensor(config["keras_history"])
        if kind == "__slice__":
            return slice(*(_revived(config[key], tensor) for key in ("start", "stop", "step")))
        if kind == "__ellipsis__":
            return ...
        if kind in ("__numpy__", "__tensor__"):
            return FUNCTIONS["array"](config["value"], config["dtype"])
        raise ValueError(f"an argument of a layer is described as {x!r}.")

    return replaced(revived, value, is_part)
