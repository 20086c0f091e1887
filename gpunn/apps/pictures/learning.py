"""Train a convolutional network on pictures, and the simple models it is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from gpunn.apps.learning import BATCHES, RowSet, Settings, Training, fit_best, shares
from gpunn.callbacks import Callback
from gpunn.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, Rescaling
from gpunn.models import Sequential

FILTERS = 32  # of the first convolution; doubled after each pooling, up to 128
SMALLEST = 8  # maximum rows of the last feature map


def defaults(settings: Settings, rows: int) -> Settings:
    """Fill in unset settings: one hidden layer, dropout, and a batch size by the row count."""
    return replace(
        settings,
        hidden=[128] if settings.hidden is None else settings.hidden,
        dropout=0.3 if settings.dropout is None else settings.dropout,
        batch_size=settings.batch_size or next(size for most, size in BATCHES if rows < most),
    )


def network(shape: tuple[int, ...], classes: int, settings: Settings) -> Sequential:
    """Build a network of 3 x 3 convolutions and poolings until the map is small, then dense layers.

    >>> network((28, 28, 1), 3, Settings(hidden=[16], dropout=0.1)).output_shape
    (None, 3)
    """
    model = Sequential(name="pictures")
    model.add(Input(shape))
    model.add(Rescaling(1 / 255))
    side, filters = min(shape[:2]), FILTERS
    while side > SMALLEST:
        model.add(Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(MaxPooling2D(2))
        side, filters = side // 2, min(2 * filters, 128)
    add_dense(model, classes, settings)
    return model


def add_dense(model: Sequential, classes: int, settings: Settings) -> None:
    """Add the hidden layers of the settings, and one for the probabilities of the classes."""
    model.add(Flatten())
    for units in settings.hidden or []:
        model.add(Dense(units, activation="relu"))
        if settings.dropout:
            model.add(Dropout(settings.dropout))
    model.add(Dense(classes, activation="softmax"))


def train(
    parts: dict[str, RowSet], classes: int, settings: Settings, callbacks: Iterable[Callback] = ()
) -> tuple[Sequential, Training]:
    """Return the network that was best on the validation part, and how its training went.

    ``callbacks`` are callbacks of the training.
    """
    model = network(parts["train"].x.shape[1:], classes, settings)
    data = parts["train"], parts["validation"]
    return model, fit_best(model, *data, classes, settings, [*callbacks])


def simple_predictions(
    parts: dict[str, RowSet], classes: int, settings: Settings
) -> dict[str, np.ndarray]:
    """Return the test predictions of the class shares and of a linear model, by name."""
    test = parts["test"]
    first = [Input(parts["train"].x.shape[1:]), Rescaling(1 / 255)]
    linear = Sequential(first, name="linear model")
    plain = Settings(batch_size=settings.batch_size, epochs=min(settings.epochs, 50))
    add_dense(linear, classes, plain)
    fit_best(linear, parts["train"], parts["validation"], classes, plain)
    return {
        "majority class": shares(parts["train"].y, classes, len(test.y)),
        "linear model": linear.predict(test.x, verbose=0),
    }
