"""Test that the memory layout of data changes neither training nor outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn


def off_by_one(array: np.ndarray) -> np.ndarray:
    """The same values at odd addresses."""
    room = np.zeros(array.nbytes + 1, np.uint8)
    view = room[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def foreign(array: np.ndarray) -> np.ndarray:
    """The same values in the other byte order."""
    return array.astype(array.dtype.newbyteorder("S"))


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("lay", [off_by_one, foreign, read_only, np.asfortranarray])
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_how_numbers_lie_in_memory_changes_nothing(backend: str, lay: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 5)).astype(np.float32), rng.integers(0, 3, 24)
    weight = np.linspace(0.5, 1.5, 24, dtype=np.float32)

    def results(lay: Any) -> list[float]:
        gpunn.utils.set_random_seed(0)
        stack = [gpunn.layers.Input((5,)), gpunn.layers.Dense(3, "softmax")]
        model = gpunn.Sequential(stack, backend=backend)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        data = lay(x), lay(y)
        history = model.fit(*data, 8, 2, verbose=0, sample_weight=lay(weight)).history
        some = lay(x[:3]), lay(y[:3])
        return [
            *history["loss"], *model.evaluate(*data, verbose=0), *model.train_on_batch(*some),
            *model.predict(data[0], verbose=0).ravel(), *model.predict_on_batch(some[0]).ravel(),
        ]  # fmt: skip

    assert results(lay) == results(lambda array: array)
