"""Errors that scripts and tests written for Keras look for: they have Keras's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
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
def test_errors_have_the_words_of_keras(name: str) -> None:
    call, words = CASES[name]
    for lib in (keras, gpunn):
        with pytest.raises(ValueError) as found:
            call(lib)
        assert words in str(found.value)
