"""Random networks of built-in layers train as where Python runs each operation of each step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import activations, layers

ACTIVATIONS = (None, "relu", "tanh", "gelu", "softplus", "selu", "swish", "sigmoid", "softmax")


@pytest.fixture(autouse=True)
def _restore(doubles: None) -> Iterator[None]:
    yield
    gpunn.config.run_eagerly(False)


def activation(r: random.Random) -> Any:
    return r.choice((*ACTIVATIONS, activations.LeakyRelu(r.random())))


def of_images(r: random.Random, first: bool) -> list[Any]:
    """Layers for images (5, 4, 2), or with channels first."""
    form: Any = {"data_format": "channels_first" if first else "channels_last"}
    axis, bias = 1 if first else -1, r.random() < 0.7
    return [
        layers.Conv2D(r.randint(1, 3), r.randint(1, 3), padding=r.choice(["same", "valid"]),
                      activation=activation(r), use_bias=bias, **form),
        layers.DepthwiseConv2D(2, padding="same", activation=activation(r), **form),
        layers.Conv2DTranspose(2, 2, strides=r.randint(1, 2), activation=activation(r), **form),
        layers.MaxPooling2D(2, padding="same", **form),
        layers.AveragePooling2D(2, strides=1, padding="same", **form),
        layers.BatchNormalization(axis=axis, center=bias, scale=r.random() < 0.7, momentum=0.8),
        layers.LayerNormalization(axis=r.choice([-1, [-2, -1]])),
        layers.GroupNormalization(groups=r.choice([1, -1]), axis=axis),
        layers.ZeroPadding2D(r.randint(1, 2), **form), layers.Cropping2D(((0, 1), (1, 0)), **form),
        layers.UpSampling2D((r.randint(1, 2), r.randint(1, 2)), **form),
        layers.Dropout(0.3, noise_shape=r.choice([None, (None, 1, None, 1)])),
        layers.GaussianNoise(0.1),
    ]  # fmt: skip


def of_steps(r: random.Random) -> list[Any]:
    return [
        layers.Conv1D(r.randint(1, 3), r.randint(1, 3), padding=r.choice(["same", "causal"]),
                      activation=activation(r), use_bias=r.random() < 0.7),
        layers.MaxPooling1D(2, padding="same"), layers.Dense(3, activation(r)),
        layers.RMSNormalization(), layers.UnitNormalization(), layers.SpatialDropout1D(0.3),
        layers.GaussianDropout(0.2), layers.UpSampling1D(2),
        layers.LSTM(3, return_sequences=True, dropout=0.2),
    ]  # fmt: skip


def of_vectors(r: random.Random) -> list[Any]:
    return [
        layers.Dense(4, activation(r), use_bias=r.random() < 0.7, trainable=r.random() < 0.8),
        layers.BatchNormalization(trainable=r.random() < 0.8), layers.Dropout(0.4), layers.PReLU(),
        layers.Rescaling(2.0, offset=r.choice([0.0, 1.0])),
    ]  # fmt: skip


def network(seed: int, backend: str) -> Any:
    """Some layers, one of which may be applied twice, or passed by."""
    r = random.Random(seed)
    gpunn.utils.set_random_seed(seed)
    shape = r.choice([(5, 4, 2), (6, 3), (5,)])
    x = h = layers.Input(shape)
    first = r.random() < 0.3
    for _ in range(r.randint(1, 3)):
        kinds = {3: lambda: of_images(r, first), 2: lambda: of_steps(r), 1: lambda: of_vectors(r)}
        layer = r.choice(kinds[len(shape)]())
        try:
            y = layer(h)
        except ValueError:  # the images have become too small
            continue
        beside = r.random() if y.shape == h.shape else 1.0
        h = layers.Add()([y, h]) if beside < 0.3 else layer(y) if beside < 0.6 else y
    h = layers.Dense(3, "softmax")(layers.Flatten()(h))
    model = gpunn.Model(x, h, backend=backend)
    loss = r.choice(["categorical_crossentropy", "mse"])
    model.compile(gpunn.optimizers.SGD(0.05, momentum=0.5), loss)
    return model


SEEDS = [pytest.param(k, marks=[] if k < 24 else [pytest.mark.more(3)]) for k in range(240)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_trains_as_python_would(seed: int, backend: str) -> None:
    found = []
    for eagerly in (False, True):
        gpunn.config.run_eagerly(eagerly)
        model = network(seed, backend)
        r = np.random.default_rng(seed)
        x, y = r.normal(size=(13, *model.input_shape[1:])), r.dirichlet(np.ones(3), 13)
        model.fit(x, y, batch_size=5, epochs=2, verbose=0)
        found.append([*model.get_weights(), model.predict(x, batch_size=4, verbose=0)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
