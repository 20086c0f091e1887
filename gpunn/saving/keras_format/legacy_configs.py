"""Configurations in legacy HDF5 files: Keras 2's, and what Keras 3 writes there.

Each becomes a description as in a ``.keras`` archive, which `graphs` and `parts` read. Keras 2
lists the tensors that a layer is applied to, ``[["dense", 0, 0, {}]]``; an archive has arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.core.operators import FUNCTIONS

from .parts import code_of_a_lambda, is_part, without_code

RENAMED = {
    "Model": "Functional", "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization", "UnifiedLSTM": "LSTM", "UnifiedGRU": "GRU",
    "ThresholdedReLU": "ReLU",
}
"""Classes of Keras 2 that have other names in Keras 3."""
LEFT_OUT = {
    "BatchNormalization": "fused virtual_batch_size adjustment mode",
    "DepthwiseConv2D": "filters groups kernel_initializer kernel_regularizer kernel_constraint",
    "MultiHeadAttention": "query_shape key_shape value_shape",
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose"), "groups"),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"),
        "groups kernel_initializer kernel_regularizer kernel_constraint",
    ),
}
"""Arguments by class that changed nothing in Keras 2."""
ALWAYS_LEFT_OUT = {"implementation", "input_dtype", "batch_shape"}
ACTIVATIONS = {
    "LeakyReLU": {"negative_slope": 0.3}, "ReLU": {}, "ELU": {}, "Softmax": {},
}
"""Layers that serve as activation functions, with defaults that the functions do not have."""
HARD_SIGMOID = {
    "class_name": "Ramp", "config": {"low": 0.0, "high": 1.0, "start": -2.5, "end": 2.5},
}
"""``hard_sigmoid`` of Keras 2: its slope is 1/5, in Keras 3 it is 1/6."""
FUNCTION_NAMES = {"softmax_v2": "softmax"}
PASSED = ("accuracy", "acc", "crossentropy", "ce")  # metrics that depend on the output
OPTIMIZER_LEFT_OUT = {"decay", "lr", "schedule_decay", "jit_compile", "is_legacy_optimizer"}


def model_entry(entry: Any, old: bool) -> dict[str, Any]:
    """Return the description of a model in an archive from ``model_config``.

    Args:
        old: Whether Keras 2, or an earlier one, has written it.

    Raises:
        ValueError: naming what is no configuration, or a layer that holds code.
    """
    entry = _plain(entry)
    if not _is_entry(entry):
        raise ValueError(f"model_config is {_shown(entry)}; a class_name and a config expected.")
    return _layer(entry, old)


def _plain(value: Any) -> Any:
    """Return a value without the marks that Keras puts around tuples and shapes."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return _plain(value["items"])
    return {
        key: _plain(entry) for key, entry in value.items() if key != "__passive_serialization__"
    }


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("class_name"), str)
        and isinstance(entry.get("config"), (dict, list))
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def _layer(entry: Any, old: bool, first: bool = False) -> dict[str, Any]:
    """Return the description of a layer or model.

    Args:
        first: Whether it may say which shape its model takes.
    """
    if not _is_entry(entry):
        raise ValueError(f"a layer is described as {_shown(entry)}.")
    name = RENAMED.get(entry["class_name"], entry["class_name"])
    config = entry["config"]
    if isinstance(config, list):  # a Sequential of Keras 2.0 and 2.1
        config = {"layers": config}
    if "layers" in config and isinstance(config["layers"], list):
        config = _model(config, old)
    elif name == "Lambda" and name not in registry.entries("layer"):
        own = config.get("name", "lambda")
        raise code_of_a_lambda(own)
    else:
        if name == "Lambda":  # a layer of the user's stands in for it
            config = without_code(config)
        config = _arguments(name, entry["class_name"], config, old, first)
    made = {**entry, "class_name": name, "config": config}
    # An operation on tensors, a + b: a layer is trainable or not.
    is_operation = "trainable" not in config and snake_case(name) in FUNCTIONS
    if not old and "module" not in entry and is_operation:
        made["module"] = "keras.ops"
    return made


def _model(config: Mapping[str, Any], old: bool) -> dict[str, Any]:
    made = dict(config)
    layers = config["layers"]
    if not {"input_layers", "output_layers"} <= config.keys():
        made["layers"] = [_layer(one, old, first=not k) for k, one in enumerate(layers)]
        return made
    made["layers"] = [_layer(one, old) for one in layers]
    nested = {
        one.get("name"): len(one.get("inbound_nodes", ()))
        for one in made["layers"] if "layers" in one["config"]
    }
    listed = any(isinstance(node, list) for one in layers for node in one.get("inbound_nodes", ()))
    places = list(_places([config["output_layers"], [one.get("inbound_nodes") for one in layers]]))
    # A model that began with an Input counts one application more: itself, without being applied.
    more = {name for name, number, _ in places if name in nested and number >= nested[name]}
    if not listed and not old:
        return made
    for one in made["layers"]:
        nodes = [_node(node, more) for node in one.get("inbound_nodes", ())]
        one["inbound_nodes"] = nodes
    functional = {
        one.get("name") for one in made["layers"]
        if one["class_name"] == "Functional" and "layers" in one["config"]
    }

    def output(place: Any) -> Any:
        if isinstance(place, dict):
            return {key: output(one) for key, one in place.items()}
        if _is_place(place):  # an archive counts the model itself in this place only
            name, number, index = place
            return [name, number - (name in more) + (name in functional), index]
        return [output(one) for one in place]

    for key in ("input_layers", "output_layers"):
        value = output(config[key])
        one = isinstance(value, list) and len(value) == 1 and _is_place(value[0])
        made[key] = value[0] if one else value
    return made


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(type(number) is int for number in value[1:3])
    )


def _places(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield the places of tensors, anywhere in ``value``."""
    if _is_place(value):
        yield tuple(value[:3])
        value = value[3:]
    if isinstance(value, (dict, list)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _places(entry)


def _node(node: Any, more: set[str]) -> Any:
    """Return an application of a layer with its arguments."""
    if not isinstance(node, list):
        return node

    def tensor(place: Any) -> Any:
        if not _is_place(place):
            raise ValueError(
                f"a layer is applied to {_shown(place)}: a constant, or a tensor of another kind, "
                f"which gpunn does not read. Build the model here, and use model.load_weights."
            )
        name, number, index = place[:3]
        history = [name, number - (name in more), index]
        config = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}

    def argument(value: Any) -> Any:
        if _is_place(value):
            return tensor(value)
        many = isinstance(value, list) and value and all(map(_is_place, value))
        return [tensor(one) for one in value] if many else value

    if _is_place(node):  # of one tensor, in early files
        node = [node]
    tensors = [tensor(place) for place in node]
    options = node[-1][3] if node and len(node[-1]) == 4 else {}
    kwargs = {key: argument(value) for key, value in dict(options or {}).items()}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs}


def _arguments(
    name: str, written: str, config: Mapping[str, Any], old: bool, first: bool
) -> dict[str, Any]:
    """Return the arguments of a layer."""
    made = dict(config)
    shape = made.pop("batch_input_shape", None)
    if name == "InputLayer":
        if shape is not None:
            made["batch_shape"] = shape
        return made
    for key in (*ALWAYS_LEFT_OUT, *LEFT_OUT.get(name, "").split()):
        if key != "groups" or made.get(key) == 1:
            made.pop(key, None)
    if shape is not None and first:
        made["batch_input_shape"] = shape
    if isinstance(made.get("axis"), list) and len(made["axis"]) == 1:
        made["axis"] = made["axis"][0]
    if written == "ThresholdedReLU":
        made["threshold"] = made.pop("theta", 1.0)
    if name == "LeakyReLU" and "alpha" in made:
        made["negative_slope"] = made.pop("alpha")
    if old and name in ("GRU", "GRUCell"):
        made.setdefault("reset_after", False)  # the default until Keras 2.2
    return {key: _argument(key, value, old) for key, value in made.items()}


def _argument(key: str, value: Any, old: bool) -> Any:
    if key.endswith("activation"):
        return _activation(value, old)
    if key in ("layer", "backward_layer", "cell") and _is_entry(value):
        return _layer(value, old)
    if key == "cells" and isinstance(value, list):
        return [_layer(one, old) for one in value]
    if key.endswith("initializer") and is_part(value) and isinstance(value["config"], dict):
        config = dict(value["config"])
        config.pop("dtype", None)
        if config.get("distribution") == "normal":
            config["distribution"] = "truncated_normal"
        return {**value, "config": config}
    return value


def _activation(value: Any, old: bool) -> Any:
    """Return the name or the description of an activation function."""
    if isinstance(value, str):
        value = FUNCTION_NAMES.get(value, value)
        return HARD_SIGMOID if old and value == "hard_sigmoid" else value
    if not is_part(value) or not isinstance(value["config"], dict):
        return value
    name, config = value["class_name"], dict(value["config"])
    if name == "Activation":
        return _activation(config.get("activation"), old)
    if name not in ACTIVATIONS:
        return value
    for key in ("name", "trainable", "dtype", "batch_input_shape"):
        config.pop(key, None)
    if name == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    return {"class_name": name, "config": {**ACTIVATIONS[name], **config}}


# -- how a model was compiled


def compile_config(config: Mapping[str, Any], old: bool) -> dict[str, Any]:
    """Return what an archive says of how a model was compiled, from ``training_config``."""
    config = _plain(config)
    return {
        "optimizer": _optimizer(config.get("optimizer_config"), old),
        "loss": _each(config.get("loss"), _loss),
        **{key: _each(config.get(key), _metric) for key in ("metrics", "weighted_metrics")},
        "loss_weights": config.get("loss_weights"),
        "run_eagerly": config.get("run_eagerly"),
    }


def _each(value: Any, read: Any) -> Any:
    """Apply a function to each name or description in lists and dictionaries."""
    if isinstance(value, list):
        made = [_each(one, read) for one in value]
        # TensorFlow's Keras had a list for each output, also for a single one.
        return made[0] if len(made) == 1 and isinstance(made[0], list) else made
    if isinstance(value, dict) and not is_part(value):
        return {key: _each(one, read) for key, one in value.items()}
    return value if value is None else read(value)


def _loss(value: Any) -> Any:
    if not is_part(value) or not isinstance(value["config"], dict):
        return value
    config = dict(value["config"])
    function = config.pop("fn", None)
    if value["class_name"] == "LossFunctionWrapper":
        return function if isinstance(function, str) else config.get("name")
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    return {**value, "config": config}


def _metric(value: Any) -> Any:
    if not is_part(value) or not isinstance(value["config"], dict):
        return value
    config = dict(value["config"])
    function = config.pop("fn", None)
    if value["class_name"] in ("MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"):
        name = config.get("name")
        return name if name in PASSED or not isinstance(function, str) else function
    return {**value, "config": config}


def _optimizer(value: Any, old: bool) -> Any:
    if not _is_entry(value):
        raise ValueError(
            f"the optimizer is described as {_shown(value)}: load the model with compile=False."
        )
    config = {key: x for key, x in value["config"].items() if key not in OPTIMIZER_LEFT_OUT}
    rate = value["config"].get("lr")
    if rate is not None:
        config.setdefault("learning_rate", rate)
    if config.get("use_ema") in (None, False):
        config = {key: x for key, x in config.items() if "ema" not in key}
    if config.get("epsilon", 0) is None:
        del config["epsilon"]
    decay = value["config"].get("decay")
    if old and decay and isinstance(config.get("learning_rate"), (int, float)):
        schedule = {"initial_learning_rate": config["learning_rate"], "decay_steps": 1}
        config["learning_rate"] = {
            "class_name": "InverseTimeDecay", "config": {**schedule, "decay_rate": decay},
        }
    return {**value, "config": config}
