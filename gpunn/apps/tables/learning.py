"""Train a network on a table, and the simple models it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.apps.learning import RowSet, Settings, compile_for, fit_best, shares
from gpunn.apps.tables.preparing import Names
from gpunn.callbacks import Callback
from gpunn.common.numeric.moments import deviation, mean
from gpunn.layers import Dense, Dropout, Input, Rescaling
from gpunn.models import Model, Sequential

RIDGE = 1.0  # penalty on the weights of the linear model for numbers


def train(
    parts: dict[str, RowSet],
    classes: int,
    settings: Settings,
    name: str,
    ends: tuple[Any, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Model, int, int]:
    """Return the network that was best on the validation part, its epoch, and the epoch count.

    For regression (``classes`` is 0) it learns the target scaled to mean 0 and deviation 1, and a
    final layer undoes the scaling.

    Args:
        parts: prepared rows with their targets.
        classes: number of classes, 0 for regression.
        settings: settings of the training.
        name: name of the model.
        ends: inputs of the model, and the tensor that computes the rows of ``parts``; by default
            the model takes such rows.
        callbacks: callbacks of the training.
    """
    first, check = parts["train"], parts["validation"]
    net = Sequential(name=Names(ends[0] if ends else ()).free(f"{name} network"))
    net.add(Input((first.x.shape[1],)))
    for units in settings.hidden or []:
        net.add(Dense(units, activation="relu"))
        if settings.dropout:
            net.add(Dropout(settings.dropout))
    net.add(Dense(classes, activation="softmax") if classes else Dense(1))
    middle, spread = (0.0, 1.0) if classes else (float(mean(first.y)), float(deviation(first.y)))
    if not classes:
        first, check = (RowSet(p.x, ((p.y - middle) / spread)[:, None]) for p in (first, check))
    best, epochs = fit_best(net, first, check, classes, settings, callbacks)
    plain = Input((first.x.shape[1],))
    inputs, encoded = ends or (plain, plain)
    outputs = net(encoded)
    if not classes:
        outputs = Rescaling(spread, middle, name="in the target's units")(outputs)
    model = Model(inputs, outputs, name=name)
    compile_for(model, classes, settings)
    return model, best, epochs


def simple_predictions(parts: dict[str, RowSet], classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return the test predictions of a constant and of a linear model, by name.

    The constant is the share of each class, or the mean. The linear model is logistic regression
    with early stopping like the network's, or ridge regression with a penalty of 1, in closed
    form: w = (X'X + I)^-1 X'y for centred columns.
    """
    first, test = parts["train"], parts["test"]
    if classes:
        linear = Settings([], 0.0, "adam", 0.01, seed=seed).for_data(len(first.y))
        model, *_ = train(parts, classes, linear, "linear")
        return {
            "majority class": shares(first, test, classes),
            "linear model": model.predict(test.x, verbose=0),
        }
    middle, x = mean(first.y), first.x.astype(np.float64)
    around = x.mean(axis=0)
    x -= around
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (first.y - middle))
    return {
        "mean": np.full(len(test.y), middle),
        "linear model": (test.x - around) @ weights + middle,
    }
