"""Errors that scripts and tests written for Keras look for: they have Keras's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

X = np.ones((2, 3), "float32")
IMAGE = np.ones((1, 5, 7, 2), "float32")

Case = tuple[Callable[[Any], Any], str]
CASES: dict[str, Case] = {
    "pad": (
        lambda lib: lib.ops.pad(X, 1, "reflect", constant_values=1),
        "Argument `constant_values` can only be provided when `mode == 'constant'`",
    ),
    "channels": (
        lambda lib: lib.ops.conv(lib.Input((5, 7, 2)), np.ones((3, 3, 3, 4), "float32")),
        "input channels must match the kernel",
    ),
    "cropping": (
        lambda lib: lib.layers.Cropping2D(((3, 3), (0, 0)))(IMAGE),
        "Values in `cropping` argument should be smaller than the corresponding spatial dimension",
    ),
    "strides": (
        lambda lib: lib.layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2).build((1, 2, 9, 9, 1)),
        "Specifying `strides > 1` is not compatible with `dilation_rate > 1`",
    ),
    "heads": (
        lambda lib: lib.layers.MultiHeadAttention(2, 2).compute_output_shape(
            (1, 3, 4), (1, 3, 4), (1, 5, 4)
        ),
        "must be equal",
    ),
    "scaling": (
        lambda lib: lib.optimizers.LossScaleOptimizer("sgd", weight_decay=0.5),
        "on the `inner_optimizer`",
    ),
    "dynamic": (
        lambda lib: lib.optimizers.LossScaleOptimizer("sgd", dynamic=False),
        "set `loss_scale_factor`",
    ),
    "reduction": (lambda lib: lib.losses.Hinge("total"), "Invalid value for argument `reduction`"),
    "shapes": (
        lambda lib: lib.losses.binary_crossentropy(X, X[:, :1]), "must have the same shape"
    ),
    "thresholds": (
        lambda lib: lib.metrics.Recall([-1, 0.5, 2]),
        "Threshold values must be in [0, 1]. Received: [-1, 2]",
    ),
    "specificity": (
        lambda lib: lib.metrics.SensitivityAtSpecificity(-1.0),
        "`specificity` must be in the range [0, 1]",
    ),
    "no thresholds": (
        lambda lib: lib.metrics.PrecisionAtRecall(0.5, num_thresholds=0),
        "Argument `num_thresholds` must be an integer > 0",
    ),
    "one threshold": (
        lambda lib: lib.metrics.AUC(num_thresholds=1),
        "Argument `num_thresholds` must be an integer > 1",
    ),
    "strength": (
        lambda lib: lib.optimizers.Ftrl(l1_regularization_strength=-0.5),
        "`l1_regularization_strength` needs to be positive or zero. Received: "
        "l1_regularization_strength=-0.5.",
    ),
    "power": (
        lambda lib: lib.optimizers.Ftrl(learning_rate_power=0.5),
        "`learning_rate_power` needs to be negative or zero. Received: learning_rate_power=0.5.",
    ),
    "noise shape": (
        lambda lib: lib.layers.Dropout(0.5, noise_shape="rows"),
        "Invalid value received for argument `noise_shape`. Expected a tuple or list of integers",
    ),
    "no noise": (
        lambda lib: lib.layers.Dropout(0.5, noise_shape=(2, 0)),
        "Expected all dimensions to be positive integers or None",
    ),
    "half noise": (
        lambda lib: lib.layers.Dropout(0.5, noise_shape=(2, 0.5)),
        "Expected all elements to be integers or None",
    ),
    "flash": (
        lambda lib: lib.layers.MultiHeadAttention(2, 2, dropout=0.1, flash_attention=True),
        "Dropout is not supported when flash attention is enabled",
    ),
    "folder": (
        lambda lib: lib.callbacks.BackupAndRestore(""), "Empty `backup_dir` argument passed"
    ),
    "permutation": (lambda lib: lib.layers.Permute((0, 1, 2)), "Invalid permutation "),
    "matrix": (lambda lib: lib.ops.histogram(X), "Input tensor must be 1-dimensional"),
    "range": (
        lambda lib: lib.ops.histogram(X[0], range=(1,)),
        "Argument `range` must be a tuple of two elements",
    ),
    "order": (
        lambda lib: lib.ops.histogram(X[0], range=(5, 1)),
        "The second element of `range` must be greater than the first",
    ),
    "average": (
        lambda lib: lib.metrics.F1Score("mean"),
        "Invalid `average` argument value. Expected one of: {None, 'micro', 'macro', 'weighted'}. "
        "Received: average=mean",
    ),
    "beta": (
        lambda lib: lib.metrics.FBetaScore(beta=-0.5),
        "Invalid `beta` argument value. It should be > 0. Received: beta=-0.5",
    ),
    "no beta": (
        lambda lib: lib.metrics.FBetaScore(beta=None),
        "Invalid `beta` argument value. It should be a Python float. Received: beta=None",
    ),
    "limit": (
        lambda lib: lib.metrics.F1Score(threshold=1.5),
        "Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
        "Received: threshold=1.5",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_have_the_words_of_keras(keras: Any, name: str) -> None:
    call, words = CASES[name]
    for lib in (keras, gpunn):
        with pytest.raises(ValueError) as found:
            call(lib)
        assert words in str(found.value)
