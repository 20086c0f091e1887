"""HDF5 files in the layout of Keras 2, written with h5py alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Weights = Mapping[str, Mapping[str, Any]]


def described(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 describes it."""
    return {
        "class_name": class_name,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
    }


def initializer(name: str = "GlorotUniform", **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {"seed": None, **config}}


def dense(name: str, units: int, activation: Any = "linear", **config: Any) -> dict[str, Any]:
    return described(
        "Dense", name, units=units, activation=activation, use_bias=True,
        kernel_initializer=initializer(),
        bias_initializer={"class_name": "Zeros", "config": {}},
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **config,
    )  # fmt: skip


def input_layer(name: str, *shape: int | None, **config: Any) -> dict[str, Any]:
    entry = {"batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False}
    return {
        "class_name": "InputLayer",
        "config": {**entry, "ragged": False, "name": name, **config},
    }


def applied(entry: dict[str, Any], *nodes: Any) -> dict[str, Any]:
    """A layer of a functional model: each application lists its tensors."""
    own = entry["config"]["name"]
    return {**entry, "name": own, "inbound_nodes": [[[*at, {}] for at in node] for node in nodes]}


def sequential(name: str, *layers: Any, **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers, **config}}


def functional(
    name: str, inputs: Sequence[str], outputs: Sequence[Any], *layers: Any
) -> dict[str, Any]:
    config = {
        "name": name, "layers": layers, "input_layers": [[one, 0, 0] for one in inputs],
        "output_layers": outputs,
    }  # fmt: skip
    return {"class_name": "Functional", "config": config}


def put_names(group: Any, name: str, names: Sequence[str], parts: int = 1) -> None:
    texts = np.asarray([one.encode() for one in names]) if names else []
    if parts == 1:
        group.attrs[name] = texts
        return
    for number, part in enumerate(np.array_split(texts, parts)):
        group.attrs[f"{name}{number}"] = part


def put_weights(group: Any, weights: Weights, parts: int = 1) -> None:
    """Write the arrays of layers, by the names that weights have there."""
    put_names(group, "layer_names", list(weights), parts)
    group.attrs["backend"] = b"tensorflow"
    group.attrs["keras_version"] = b"2.11.0"
    for name, arrays in weights.items():
        inner = group.create_group(name)
        put_names(inner, "weight_names", list(arrays), parts if arrays else 1)
        for place, array in arrays.items():
            inner.create_dataset(place, data=np.asarray(array, "float32"))


def write(
    path: Path, config: Any, weights: Weights, training: Any = None, state: Any = None,
    version: str = "2.11.0", parts: int = 1,
) -> None:  # fmt: skip
    """Write a whole model, with the arrays of the optimizer's ``state`` by name."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training).encode()
        put_weights(file.create_group("model_weights"), weights, parts)
        if state is not None:
            group = file.create_group("optimizer_weights")
            put_names(group, "weight_names", list(state))
            for place, array in state.items():
                group.create_dataset(place, data=array)
