"""Predictions and targets for which a loss is defined."""

from __future__ import annotations

from typing import Any

import numpy as np

RATES = ("Poisson", "MeanSquaredLogarithmicError")  # their arguments are positive, and may exceed 1


def takes_positive_numbers(loss: Any) -> bool:
    """Whether it takes logarithms, but is not fused with an output activation."""
    return type(loss).__name__ in RATES or (loss.predictions == "probabilities" and not loss.fuses)


def targets_for(loss: Any, predictions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    if loss.sparse:
        return random.integers(0, predictions.shape[-1], predictions.shape[:-1])
    if loss.fuses == "Softmax":
        return random.dirichlet(np.ones(predictions.shape[-1]), predictions.shape[:-1])
    if loss.fuses == "Sigmoid" or takes_positive_numbers(loss):
        return random.uniform(size=predictions.shape)
    if type(loss).__name__ == "CategoricalHinge":
        classes = predictions.shape[-1]
        return np.eye(classes)[random.integers(0, classes, predictions.shape[:-1])]
    if loss.targets == "signs":
        return random.choice([-1.0, 1.0], predictions.shape)
    return random.standard_normal(predictions.shape)


def predictions_for(loss: Any, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    logits = random.standard_normal(shape)
    if not takes_positive_numbers(loss) and (loss.fuses is None or loss.from_logits):
        return logits
    return 1.0 / (1.0 + np.exp(-logits))
