"""Test the host memory that data take: files stay on disk, and arrays are copied at most once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers

BIG = (5000, 200)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_memory_map_stays_a_file(dtype: str, shuffle: bool, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, BIG)
    path = tmp_path / "x.bin"
    numbers.astype(dtype).tofile(path)
    y = np.arange(len(numbers)) % 3

    def fit(x: Any) -> Any:
        gpunn.utils.set_random_seed(2)
        model = gpunn.Sequential(
            [
                layers.Input(BIG[1:]),
                layers.Rescaling(1 / 255),
                layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        # One-time allocations, independent of the data, do not count.
        model.fit(x[:100], y[:100], batch_size=50, verbose=0, validation_split=0.1)
        tracemalloc.start()
        model.fit(x, y, batch_size=50, verbose=0, shuffle=shuffle, validation_split=0.1)
        model.evaluate(x, y, batch_size=50, verbose=0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return model.get_weights(), peak

    weights, peak = fit(np.memmap(path, dtype, "r", shape=BIG))
    assert peak < 0.7e6  # of 1, 4 or 8 MB in the file
    for w, other in zip(weights, fit(numbers.astype("float32"))[0], strict=True):
        assert_array_equal(w, other)


@pytest.mark.parametrize(("dtype", "copies"), [("uint8", 0.0), ("float32", 0.0), ("float64", 0.5)])
def test_no_copy_is_made_but_one_in_the_models_dtype(dtype: str, copies: float) -> None:
    """Dividing pixels by 255 gives float64. No second float64 array is held during training,
    and none after it."""
    x = (np.random.default_rng(0).integers(0, 256, (20_000, 200)) / 255.0).astype(dtype)
    y = np.arange(len(x)) % 3
    model = gpunn.Sequential([layers.Dense(3, activation="softmax")])
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    model.train_on_batch(x[:100], y[:100])
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    model.fit(x, y, batch_size=100, verbose=0)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < copies * x.nbytes + 4e6
    assert after - before < 1e6
    if copies:
        assert peak - before > copies * x.nbytes
