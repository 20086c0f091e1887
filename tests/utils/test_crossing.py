"""Test `HashedCrossing`, and `FeatureSpace` with it, against numbers from Keras on TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.layers import HashedCrossing
from gpunn.utils import FeatureSpace

LETTERS, NUMBERS = np.array(["A", "B", "A", ""]), np.array([101, 101, -3, 102])
# HashedCrossing(1000) of Keras 3.15 on TensorFlow 2.20
CASES = [
    ([LETTERS, NUMBERS], [891, 754, 410, 104]),
    ([np.array([1, 5, 7]), np.array([101, 101, -3])], [870, 125, 682]),
    ([np.array(["x", "y"]), np.array(["a", "b"])], [37, 590]),
    ([np.array(["x", "y"]), np.array(["a", "b"]), np.array([3, 4])], [501, 46]),
]

EXPECTED = [  # the ones of each row, from Keras as well
    [0, 4, 10, 13, 17, 23], [1, 3, 10, 12, 18, 23], [2, 3, 7, 12, 14, 24],
    [2, 6, 10, 13, 15, 23], [2, 4, 8, 12, 15, 24], [1, 5, 8, 13, 18, 23],
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "expected"), CASES, ids=str)
def test_numbers_are_keras(inputs: Any, expected: list[int]) -> None:
    layer = HashedCrossing(1000)
    assert layer(inputs).tolist() == expected
    assert layer([x[:, None] for x in inputs]).tolist() == [[n] for n in expected]


def test_a_step_crosses_as_arrays_are_crossed(every_backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    a, b = (gpunn.Input((1,), dtype="int32", name=name) for name in "ab")
    model = gpunn.Model([a, b], HashedCrossing(5000)([a, b]))
    random = np.random.default_rng(0)
    wide = [random.integers(-(2**31), 2**31, (300, 1)) for _ in range(2)]
    near = [random.integers(-3, 4, (300, 1)) for _ in range(2)]
    for x in (wide, near):
        np.testing.assert_array_equal(model.predict(x, verbose=0), HashedCrossing(5000)(x))
    rows = gpunn.Model([a, b], HashedCrossing(3, output_mode="one_hot")([a, b]))
    rows.save(tmp_path / "m.gpunn")
    found = gpunn.models.load_model(tmp_path / "m.gpunn").predict(near, verbose=0)
    assert found.shape == (300, 3)
    np.testing.assert_array_equal(found.argmax(1), HashedCrossing(3)(near)[:, 0])


def test_what_cannot_be_crossed_is_refused() -> None:
    x = gpunn.Input((1,))
    for inputs, error, words in [
        ([LETTERS], ValueError, "at least two inputs"),
        ([LETTERS, NUMBERS[:2]], ValueError, "of one shape"),
        ([LETTERS, NUMBERS / 2], TypeError, "whole numbers and strings; got 50.5"),
        ([x, x], TypeError, "got float32. Declare the input"),
    ]:
        with pytest.raises(error, match=words):
            HashedCrossing(3)(inputs)
    with pytest.raises(ValueError, match="sex"):
        FeatureSpace({"age": "float"}, crosses=[("age", "sex")])


def test_crosses_and_hashes_of_a_feature_space(tmp_path: Path) -> None:
    data = {
        "age": np.array([20.0, 30, 40, 50, 60, 33]),
        "sex": np.array([0, 1, 1, 0, 1, 0]),
        "city": np.array(["Oslo", "Rome", "Rome", "Lima", "Oslo", "X"]),
        "house": np.array([5, 6, 7, 8, 9, 1]),
    }
    space = FeatureSpace(
        {
            "age": FeatureSpace.float_discretized(num_bins=3),
            "sex": "integer_categorical",
            "city": FeatureSpace.string_categorical(num_oov_indices=0),
            "house": FeatureSpace.integer_hashed(4),
        },
        crosses=[("sex", "age"), FeatureSpace.cross(("city", "house"), 8)],
        crossing_dim=5,
    )
    space.adapt(data)
    rows = space(data)
    assert rows.shape == (6, 3 + 4 + 4 + 3 + 8 + 5)
    found = [[int(n) for n in np.flatnonzero(row)] for row in np.asarray(rows)]
    assert found == EXPECTED
    space.save(tmp_path / "space.gpunn")
    again = FeatureSpace.load(tmp_path / "space.gpunn")
    np.testing.assert_array_equal(again(data), rows)
    again.adapt(data)  # which makes the crosses again
    np.testing.assert_array_equal(again(data), rows)
