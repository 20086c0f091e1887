"""Layers of pictures of almost one size, in one model: each gives what it gives alone.

What one of them leaves in memory must not be seen by the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import backends, layers

OPTIONS: dict[str, Any] = {"padding": "same"}
KINDS = {
    "Conv2D": lambda size, stride: layers.Conv2D(2, size, strides=stride, **OPTIONS),
    "DepthwiseConv2D": lambda size, stride: layers.DepthwiseConv2D(size, stride, **OPTIONS),
    "SeparableConv2D": lambda size, stride: layers.SeparableConv2D(2, size, stride, **OPTIONS),
    "Conv2DTranspose": lambda size, stride: layers.Conv2DTranspose(2, size, stride, **OPTIONS),
    "AveragePooling2D": lambda size, stride: layers.AveragePooling2D(size, stride, **OPTIONS),
    "MaxPooling2D": lambda size, stride: layers.MaxPooling2D(size, stride, **OPTIONS),
}
CUTS = {"as large": (0, 0), "a row less": (1, 0), "a column less": (0, 1), "both": (1, 1)}


@pytest.mark.in_turn(2)
@pytest.mark.all_backends
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("size", "stride"), [(5, 4), (3, 2), (2, 1)])
def test_each_is_as_alone(backend: str, size: int, stride: int, cut: str) -> None:
    rows, columns = CUTS[cut]
    x = np.random.default_rng(1).normal(size=(5, 7, 7, 1)).astype("float32") + 1
    images = x, np.ascontiguousarray(x[:, : 7 - rows, : 7 - columns])
    gpunn.use_backend(backend)
    given = gpunn.Input((7, 7, 1))
    smaller = layers.Cropping2D(((0, rows), (0, columns)))(given)
    branches = [(make(size, stride), k) for make in KINDS.values() for k in (0, 1)]
    outputs = [layer((given, smaller)[k]) for layer, k in branches]
    weights = [[np.asarray(w) for w in layer.get_weights()] for layer, _ in branches]
    expected = []
    with backends.choice_put_back():
        gpunn.use_backend("compiled" if backend == "numpy" else "numpy")
        for make, own, (_, k) in zip(repeated(KINDS.values()), weights, branches, strict=True):
            layer = make(size, stride)
            layer.build(images[k].shape)
            layer.set_weights(own)
            expected.append(np.asarray(layer(images[k])))
    for order in (range(len(branches)), reversed(range(len(branches)))):
        places = [*order]
        model = gpunn.Model(given, [outputs[place] for place in places])
        for _ in range(2):
            found = model.predict(x, batch_size=3, verbose=0)
            for one, place in zip(found, places, strict=True):
                np.testing.assert_allclose(one, expected[place], rtol=1e-5, atol=1e-5)


def repeated(makers: Any) -> Any:
    return (make for make in makers for _ in (0, 1))
