"""Constructor arguments for everything that gpunn registers: what the suites that walk
the registry build their objects with.

A name that is registered and not here fails `test_config_round_trip.py`, so adding a
layer, a loss or anything else enrols it in the suites or fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import registry

Arguments = dict[str, Any]

LAYERS: dict[str, list[Arguments]] = {
    "InputLayer": [{"shape": (3, 4)}],
    "Flatten": [{}],
    "Rescaling": [{"scale": 0.5}, {"scale": -2.0, "offset": 3.0}],
    "Activation": [
        {"activation": "sigmoid"},
        {"activation": "relu"},
        {"activation": {"class_name": "Relu", "config": {"negative_slope": 0.25}}},
        {"activation": "softmax"},
    ],
    "Dropout": [{"rate": 0.0}, {"rate": 0.3}, {"rate": 0.8, "seed": 7}, {"rate": 1.0}],
    "Dense": [
        {"units": 3},
        {"units": 1, "use_bias": False},
        {"units": 4, "activation": "sigmoid"},
        {"units": 4, "activation": "tanh", "use_bias": False},
        {"units": 4, "activation": "relu", "kernel_initializer": "he_normal"},
        {"units": 4, "activation": "softmax", "bias_initializer": "normal"},
        {
            "units": 4,
            "activation": {
                "class_name": "Relu",
                "config": {"negative_slope": 0.2, "max_value": 1.5, "threshold": 0.1},
            },
        },
        {
            "units": 2,
            "use_bias": False,
            "activation": {"class_name": "Relu", "config": {"negative_slope": 0.2}},
            "learning_rate_multiplier": 0.5,
        },
    ],
}

ACTIVATIONS: dict[str, list[Arguments]] = {
    "Linear": [{}],
    "Sigmoid": [{}],
    "Tanh": [{}],
    "Relu": [
        {},
        {"negative_slope": 0.25},
        {"max_value": 1.0},
        {"negative_slope": 0.5, "max_value": 0.75, "threshold": 0.25},
    ],
    "Softmax": [{}],
}

LOSSES: dict[str, list[Arguments]] = {
    "MeanSquaredError": [{}, {"reduction": "sum"}],
    "HalfSquaredError": [{}],
    "BinaryCrossentropy": [
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"from_logits": True, "label_smoothing": 0.2},
    ],
    "CategoricalCrossentropy": [
        {},
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"from_logits": True, "label_smoothing": 0.2, "reduction": "sum"},
    ],
    "SparseCategoricalCrossentropy": [{}, {"from_logits": True}],
}

OPTIMIZERS: dict[str, list[Arguments]] = {
    "SGD": [
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "momentum": 0.9},
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        {"learning_rate": 0.1, "weight_decay": 0.05},
        {"learning_rate": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.05},
        {"learning_rate": 0.1, "clipvalue": 0.01},
        {"learning_rate": 0.1, "clipnorm": 0.1},
        {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 0.1},
    ],
    "Adam": [
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {"learning_rate": 0.01, "amsgrad": True, "beta_2": 0.9},
        {"learning_rate": 0.01, "weight_decay": 0.05},
        {"learning_rate": 0.01, "clipvalue": 0.01},
        {"learning_rate": 0.01, "clipnorm": 0.1},
        {"learning_rate": 0.01, "global_clipnorm": 0.1},
    ],
}

METRICS: dict[str, list[Arguments]] = {
    "Accuracy": [{}],
    "BinaryAccuracy": [{}, {"threshold": 0.25, "name": "quarter"}],
    "BinaryCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "CategoricalAccuracy": [{}],
    "CategoricalCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "HalfSquaredError": [{}],
    "Mean": [{}, {"name": "average"}],
    "MeanSquaredError": [{}],
    "SparseCategoricalAccuracy": [{}],
    "SparseCategoricalCrossentropy": [{}, {"from_logits": True}],
    "SparseTopKCategoricalAccuracy": [{}, {"k": 2}],
    "TopKCategoricalAccuracy": [{}, {"k": 2}],
}

INITIALIZERS: dict[str, list[Arguments]] = {
    "Zeros": [{}],
    "Ones": [{}],
    "Constant": [{"value": 0.5}, {"value": np.array([[1.0, 2.0], [3.0, 4.0]])}],
    "RandomNormal": [{}, {"mean": 1.0, "stddev": 2.0, "seed": 3}],
    "TruncatedNormal": [{}, {"mean": 1.0, "stddev": 2.0, "seed": 3}],
    "RandomUniform": [{}, {"minval": -1.0, "maxval": 2.0, "seed": 2**63}],
    "VarianceScaling": [
        {},
        {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform", "seed": 1},
    ],
    "GlorotNormal": [{}, {"seed": 1}],
    "GlorotUniform": [{}, {"seed": 1}],
    "HeNormal": [{}, {"seed": 1}],
    "HeUniform": [{}, {"seed": 1}],
    "LecunNormal": [{}, {"seed": 1}],
    "LecunUniform": [{}, {"seed": 1}],
}

TABLES: dict[str, dict[str, list[Arguments]]] = {
    "layer": LAYERS,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "metric": METRICS,
    "initializer": INITIALIZERS,
}


def names(kind: str) -> list[str]:
    """What gpunn itself registers of a kind (other tests register classes of their own)."""
    return sorted(
        name
        for name, cls in registry.entries(kind).items()
        if cls.__module__.split(".")[0] == "gpunn" and ">" not in name
    )


def cases(kind: str, *left_out: str) -> list[Any]:
    """(name, arguments) of every case of a kind; a name without a case is one that fails."""
    table = TABLES[kind]
    return [
        (name, arguments)
        for name in names(kind)
        if name not in left_out
        for arguments in table.get(name, [{}])
    ]


def label(value: Any) -> str:
    """A readable test id."""
    if isinstance(value, dict):
        return (
            ",".join(
                f"{k}={v['class_name'] if k == 'activation' and isinstance(v, dict) else v}"
                for k, v in value.items()
            )
            or "-"
        )
    return str(value)


def make(kind: str, name: str, arguments: Arguments) -> Any:
    """A new object of a case."""
    return registry.entries(kind)[name](**arguments)
