"""Constructor arguments for everything that gpunn registers: what the suites that walk
the registry build their objects with.

A name that is registered and not here fails `test_config_round_trip.py`, so adding a
layer, a loss or anything else enrols it in the suites or fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunn
from gpunn.common import registry

Arguments = dict[str, Any]

LAYERS: dict[str, list[Arguments]] = {
    "Add": [{}],
    "Average": [{}],
    "Concatenate": [{}, {"axis": 1}],
    "Maximum": [{}],
    "Minimum": [{}],
    "Multiply": [{}],
    "Subtract": [{}],
    "InputLayer": [{"shape": (3, 4)}],
    "Flatten": [{}],
    "Rescaling": [{"scale": 0.5}, {"scale": -2.0, "offset": 3.0}],
    "Activation": [
        {"activation": "sigmoid"},
        {"activation": "relu"},
        {"activation": {"class_name": "Relu", "config": {"negative_slope": 0.25}}},
        {"activation": "softmax"},
    ],
    "ReLU": [{}, {"max_value": 1.0, "negative_slope": 0.25}],
    "LeakyReLU": [{}],
    "ELU": [{"alpha": 0.5}],
    "Softmax": [{}],
    "PReLU": [{}, {"alpha_initializer": "ones", "shared_axes": [1]}],
    "Dropout": [{"rate": 0.0}, {"rate": 0.3}, {"rate": 0.8, "seed": 7}, {"rate": 1.0}],
    "GaussianNoise": [{"stddev": 0.0}, {"stddev": 0.3, "seed": 7}],
    "GaussianDropout": [{"rate": 0.0}, {"rate": 0.8}],
    "Reshape": [{"target_shape": [-1]}],
    "BatchNormalization": [
        {},
        {"axis": 1, "momentum": 0.5, "epsilon": 0.1, "center": False},
        {"scale": False, "beta_initializer": "ones", "moving_mean_initializer": "ones"},
        {"trainable": False},
    ],
    "LayerNormalization": [
        {},
        {"axis": [-1], "epsilon": 0.1, "gamma_initializer": "normal", "center": False},
        {"scale": False},
    ],
    "Conv2D": [
        {"filters": 3, "kernel_size": (2, 2)},
        {"filters": 2, "kernel_size": (1, 1), "use_bias": False},
        {
            "filters": 4,
            "kernel_size": (2, 3),
            "strides": (2, 1),
            "padding": "same",
            "activation": "relu",
            "bias_initializer": "normal",
        },
        {
            "filters": 2,
            "kernel_size": (2, 1),
            "data_format": "channels_first",
            "activation": "tanh",
            "bias_initializer": "normal",
        },
        {
            "filters": 2,
            "kernel_size": (2, 2),
            "padding": "same",
            "dilation_rate": (2, 1),
            "activation": {"class_name": "Relu", "config": {"negative_slope": 0.2}},
        },
    ],
    "MaxPooling2D": [
        {},
        {"pool_size": (2, 1), "strides": (1, 1), "data_format": "channels_first"},
        {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"},
    ],
    "AveragePooling2D": [
        {},
        {"pool_size": (2, 1), "strides": (1, 1), "data_format": "channels_first"},
        {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"},
    ],
    "GlobalMaxPooling2D": [{}, {"data_format": "channels_first", "keepdims": True}],
    "GlobalAveragePooling2D": [{}, {"data_format": "channels_first", "keepdims": True}],
    "ZeroPadding2D": [{}, {"padding": ((1, 0), (2, 1)), "data_format": "channels_first"}],
    "RMSNormalization": [{"epsilon": 0.1}],
    "GroupNormalization": [{"groups": 1}, {"groups": -1, "axis": 1, "epsilon": 0.1}],
    "UnitNormalization": [{}],
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
            "activation": "silu",
            "learning_rate_multiplier": 0.5,
        },
    ],
}

ACTIVATIONS: dict[str, list[Arguments]] = {
    "Linear": [{}],
    "Step": [{}, {"low": 2.0, "high": -1.0, "threshold": 0.5, "high_at_threshold": False}],
    "Sign": [{}],
    "Ramp": [{}, {"low": 2.0, "high": -1.0, "start": -0.5, "end": 1.5}],
    "HardSigmoid": [{}],
    "Sigmoid": [{}, {"slope": 2.0, "shift": 0.5, "offset": -0.25}],
    "Tanh": [{}],
    "Softsign": [{}],
    "Gaussian": [{}, {"mu": 0.5, "sigma": 2.0}],
    "Relu": [
        {},
        {"negative_slope": 0.25},
        {"max_value": 1.0},
        {"negative_slope": 0.5, "max_value": 0.75, "threshold": 0.25},
    ],
    "LeakyRelu": [{}, {"negative_slope": 1.5}],
    "Relu6": [{}],
    "Elu": [{}, {"alpha": 0.5}],
    "Celu": [{"alpha": 0.5}],
    "Selu": [{}],
    "Exponential": [{}],
    "Softplus": [{}],
    "Silu": [{}],
    "HardSilu": [{}],
    "Gelu": [{}, {"approximate": True}],
    "Mish": [{}],
    "Softmax": [{}],
    "LogSoftmax": [{}],
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
    "EuclideanDistance": [{}],
    "MeanAbsoluteError": [{}, {"reduction": "sum"}],
    "MeanAbsolutePercentageError": [{}],
    "MeanSquaredLogarithmicError": [{}],
    "Huber": [{}, {"delta": 0.5}],
    "LogCosh": [{}],
    "CosineSimilarity": [{}],
    "KLDivergence": [{}, {"reduction": "sum"}],
    "Poisson": [{}],
    "Hinge": [{}],
    "SquaredHinge": [{}],
    "CategoricalHinge": [{}],
    "PerceptronCriterion": [{}],
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
    "AdamW": [{"learning_rate": 0.01}, {"learning_rate": 0.01, "weight_decay": 0.1}],
    "Adamax": [{"learning_rate": 0.01}, {"beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.05}],
    "Nadam": [{"learning_rate": 0.01}, {"beta_1": 0.99, "weight_decay": 0.05, "epsilon": 1e-3}],
    "Lamb": [{"learning_rate": 0.01}, {"learning_rate": 0.02, "weight_decay": 0.5}],
    "Adagrad": [
        {"learning_rate": 0.05},
        {"initial_accumulator_value": 0.3, "weight_decay": 0.05, "epsilon": 0.01},
    ],
    "Adadelta": [{"learning_rate": 1.0}, {"rho": 0.8, "weight_decay": 0.05, "clipnorm": 0.1}],
    "RMSprop": [
        {"learning_rate": 0.01},
        {"learning_rate": 0.01, "momentum": 0.5, "rho": 0.8, "epsilon": 1e-3},
        {"learning_rate": 0.01, "centered": True, "epsilon": 1e-3, "weight_decay": 0.05},
        {"learning_rate": 0.01, "centered": True, "epsilon": 1e-3, "momentum": 0.9},
    ],
    "Lion": [{"learning_rate": 0.01}, {"beta_1": 0.5, "beta_2": 0.8, "weight_decay": 0.05}],
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
    "SparseTopKCategoricalAccuracy": [{}, {"k": 2}, {"k": 2, "from_sorted_ids": True}],
    "TopKCategoricalAccuracy": [{}, {"k": 2}],
    "AUC": [
        {},
        {"num_thresholds": 5, "curve": "PR", "summation_method": "minoring"},
        {"curve": "PRGAIN", "num_labels": 5, "multi_label": True, "label_weights": [1, 2, 0, 1, 3]},
        {"num_thresholds": 9, "from_logits": True},
    ],
    "CategoricalHinge": [{}],
    "ConfusionMatrix": [{}, {"num_classes": 5}, {"threshold": 0.2, "name": "table"}],
    "CosineSimilarity": [{}],
    "EuclideanDistance": [{}],
    "F1Score": [{}, {"average": "macro"}, {"average": "micro", "threshold": 0.25}],
    "FBetaScore": [{}, {"average": "weighted", "beta": 2.0}],
    "FalseNegatives": [{}, {"thresholds": [0.7, 0.3]}],
    "FalsePositives": [{}],
    "Hinge": [{}],
    "Huber": [{}, {"delta": 0.5}],
    "KLDivergence": [{}],
    "LogCoshError": [{}],
    "MeanAbsoluteError": [{}],
    "MeanAbsolutePercentageError": [{}],
    "MeanSquaredLogarithmicError": [{}],
    "PerceptronCriterion": [{}],
    "Poisson": [{}],
    "Precision": [{}, {"thresholds": [0.7, 0.3]}, {"top_k": 2}, {"class_id": 1}],
    "R2Score": [{}, {"class_aggregation": None}, {"num_regressors": 2}],
    "Recall": [{}, {"top_k": 2, "class_id": 0}],
    "RootMeanSquaredError": [{}],
    "SquaredHinge": [{}],
    "TrueNegatives": [{}],
    "TruePositives": [{}, {"thresholds": [0.0, 1.0]}],
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
    "Orthogonal": [{}, {"gain": 2.0, "seed": 1}],
    "Identity": [{}, {"gain": 2.0}],
}

SCHEDULES: dict[str, list[Arguments]] = {
    "Constant": [{"value": 0.1}],
    "PiecewiseConstantDecay": [
        {"boundaries": [5], "values": [0.5, 0.9]},
        {"boundaries": [2, 3, 7], "values": [1.0, 0.1, 0.5, 0.0]},
    ],
    "ExponentialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7, "staircase": True},
    ],
    "InverseTimeDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7, "staircase": True},
    ],
    "PolynomialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 9, "power": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 4, "end_learning_rate": 0.2, "cycle": True},
    ],
    "CosineDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.1},
        {"initial_learning_rate": 0.0, "decay_steps": 9, "warmup_target": 0.2, "warmup_steps": 4},
    ],
    "CosineDecayRestarts": [
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "m_mul": 0.5, "alpha": 0.1},
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.5},
    ],
    "OneCycle": [
        {"max_learning_rate": 0.1, "total_steps": 15},
        {"max_learning_rate": 0.1, "total_steps": 15, "shape": "linear", "three_phase": True},
    ],
}

REGULARIZERS: dict[str, list[Arguments]] = {
    "L1": [{"l1": 0.1}],
    "L2": [{"l2": 0.1}],
    "L1L2": [{"l1": 0.1, "l2": 0.2}],
    "OrthogonalRegularizer": [{"factor": 0.1}, {"factor": 0.2, "mode": "columns"}],
}

CONSTRAINTS: dict[str, list[Arguments]] = {
    "NonNeg": [{}],
    "MaxNorm": [{"max_value": 0.5}, {"max_value": 0.25, "axis": 1}],
    "UnitNorm": [{}, {"axis": [0, 1]}],
    "MinMaxNorm": [{"min_value": 0.5, "max_value": 0.75}, {"rate": 0.5, "axis": -1}],
}

IMAGE_LAYERS = (
    "Conv2D", "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D",
    "GlobalAveragePooling2D", "ZeroPadding2D",
)  # fmt: skip


def in_a_chain(name: str, layer: Any, inputs: int) -> list[Any]:
    """The layer in a chain whose samples are rows of ``inputs`` numbers, a multiple of 6."""
    if layer.takes_list:
        x = gpunn.Input((inputs,))
        return [gpunn.Model(x, layer([x, gpunn.layers.Activation("tanh")(x)]))]
    if name in IMAGE_LAYERS:
        return [gpunn.layers.Reshape((2, 3, -1)), layer, gpunn.layers.Flatten()]
    return [layer]


TABLES: dict[str, dict[str, list[Arguments]]] = {
    "layer": LAYERS,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "metric": METRICS,
    "initializer": INITIALIZERS,
    "schedule": SCHEDULES,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
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
