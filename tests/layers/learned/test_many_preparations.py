"""Random preprocessing layers: arrays, models, data sets and copies in files agree, and with Keras
where it needs no TensorFlow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

WORDS = ["oak", "elm", "\u00dcn\u00ef", "\u65e5\u672c", "a b", "", "x" * 40, "e\u0301", "\u2028",
         "[UNK]", "A", "a", "None", "nan", "0"]  # fmt: skip
SHAPES = [(1, 1), (5, 1), (4, 3), (2, 3, 2), (4, 1, 1), (7, 2)]
MODES = ("int", "one_hot", "multi_hot", "count")


def numbers(draw: random.Random, keras: Any) -> tuple[Any, Any, np.ndarray, str]:
    """Draw a layer of numbers, Keras's, data, and the dtype of the input."""
    rng, shape = np.random.default_rng(draw.randrange(10**6)), draw.choice(SHAPES)
    dtype = draw.choice(["float32", "float64", "int32", "int64", "uint8", "bool"])
    x = np.abs(rng.normal(0, 5, shape)).astype(dtype)
    kind = draw.choice(["Discretization", "CategoryEncoding", "Normalization", "Rescaling"])
    given: dict[str, Any] = {}
    if kind == "Discretization":
        bounds = np.sort(rng.normal(0, 3, draw.choice([1, 3, 64, 90]))).astype("float32")
        given = {"bin_boundaries": bounds.tolist(), "output_mode": draw.choice(MODES)}
    elif kind == "CategoryEncoding":
        x = rng.integers(0, 2 if dtype == "bool" else 7, shape).astype(dtype)
        given = {"num_tokens": 7, "output_mode": draw.choice(MODES[1:])}
    elif kind == "Normalization":
        given = {"axis": draw.choice([-1, None]), "invert": draw.random() < 0.3}
    else:
        given = {"scale": 0.5, "offset": -1.0}
    made = [getattr(module, kind)(**given) for module in (layers, keras.layers)]
    if kind == "Normalization":
        rows = rng.normal(1, 2, (20, *shape[1:])).astype("float32")
        for layer in made:
            layer.adapt(rows)
    whole = kind == "CategoryEncoding" or (kind == "Discretization" and x.dtype.kind != "f")
    return *made, x, "int32" if whole else "float32"


def texts(draw: random.Random, keras: Any) -> tuple[Any, Any, np.ndarray, str]:
    """Draw a layer of strings or of integers of any size."""
    shape, mode, adapted = draw.choice(SHAPES), draw.choice(MODES), draw.random() < 0.5
    kind = draw.choice(["StringLookup", "IntegerLookup", "TextVectorization", "Hashing"])
    if kind == "TextVectorization":
        shape, mode = (shape[0], 1), "count" if mode == "one_hot" else mode
    whole = kind == "IntegerLookup" or (kind == "Hashing" and draw.random() < 0.5)
    pool: list[Any] = [3, 5, 7, 2**40, -1, 0] if whole else WORDS
    x = np.empty(shape, object)
    x.flat = draw.choices(pool, k=x.size)
    dtype = "int64" if whole else draw.choice([object, str, bytes])
    if dtype is bytes:
        x.flat = [value.encode() for value in x.flat]
    x = x if dtype in (object, bytes) else x.astype(dtype)
    if kind == "Hashing":
        layer: Any = layers.Hashing(draw.choice([2, 50]), output_mode=mode)
        return layer, None, x, "int64" if whole else "string"
    given: dict[str, Any] = {"output_mode": mode}
    if kind != "TextVectorization":
        given["num_oov_indices"] = draw.choice([1, 3])
    elif mode == "int":
        given["output_sequence_length"] = 2
    known = [3, 7, 2**40] if whole else ["oak", "\u2028", "a", "e\u0301"]
    layer = getattr(layers, kind)(**given, vocabulary=None if adapted else known)
    if adapted:
        layer.adapt(np.array(known))
    return layer, None, x, "int64" if whole else "string"


def agree(found: Any, expected: np.ndarray) -> None:
    found = np.asarray(found)
    assert found.dtype.kind == expected.dtype.kind and found.shape == expected.shape
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "seed", [pytest.param(k, marks=() if k < 12 else pytest.mark.more) for k in range(300)]
)
def test_all_ways_agree(keras: Any, backend: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    gpunn.use_backend(backend)
    layer, theirs, x, dtype = draw.choice([numbers, texts])(draw, keras)
    expected = np.asarray(layer(x))
    if theirs is not None:
        agree(expected, theirs(x).numpy())
    inputs = gpunn.Input(x.shape[1:], dtype=dtype)
    y = layer(inputs)
    model = gpunn.Model(inputs, y, backend=backend)
    found = model.predict(x, verbose=0)
    agree(found, expected)
    assert y.dtype == found.dtype and tuple(y.shape[1:]) == found.shape[1:]
    data = gpunn.data.Dataset.from_tensor_slices(x).batch(3)
    agree(model.predict(data, verbose=0), expected)
    agree(np.concatenate([np.asarray(part) for part in data.map(layer)]), expected)
    model.save(tmp_path / "model.gpunn")
    agree(gpunn.models.load_model(tmp_path / "model.gpunn").predict(x, verbose=0), expected)
