"""Test running means when all further gradients are zero: they decay below normal numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers

SMALLEST = float(np.finfo(np.float32).tiny)  # the smallest normal number
OPTIMIZERS = {
    "Adam": gpunn.optimizers.Adam(beta_1=0.5),
    "SGD": gpunn.optimizers.SGD(momentum=0.6),
}


def after_zeros(optimizer: Any, inputs: int, backend: str, folder: Path) -> dict[str, np.ndarray]:
    """The contents of a model file after one step that changed weights and 300 that did not."""
    optimizer = type(optimizer).from_config(optimizer.get_config())
    model = gpunn.Sequential(
        [layers.Input((inputs,)), layers.Dense(1, "linear", use_bias=False, name="d")],
        backend=backend,
    )
    model.compile(optimizer, "mse")
    model.train_on_batch(np.ones((1, inputs), np.float32), [[100.0]])
    nothing = np.zeros((1, inputs), np.float32)
    for _ in range(300):
        model.train_on_batch(nothing, [[0.0]])
    path = folder / f"{backend}.gpunn"
    model.save(path, announce=False)
    return safetensors.numpy.load_file(path)


@pytest.mark.parametrize("backend", ["compiled", "emulated"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_backends_differ_by_numbers_of_no_account(
    name: str, backend: str, tmp_path: Path
) -> None:
    gpunn.utils.set_random_seed(1)
    expected = after_zeros(OPTIMIZERS[name], 20, "numpy", tmp_path)
    gpunn.utils.set_random_seed(1)
    found = after_zeros(OPTIMIZERS[name], 20, backend, tmp_path)
    mean = {"Adam": "m", "SGD": "momentum"}[name]
    (key,) = (key for key in expected if f"/slot/{mean}/" in key)
    assert 0 < np.abs(expected[key]).max() < SMALLEST  # a subnormal number, the case tested here
    assert np.abs(found[key] - expected[key]).max() <= SMALLEST / (1 - 0.5)
    if backend == "compiled":  # many CPUs are slow with subnormal numbers
        assert np.all((found[key] == 0) | (np.abs(found[key]) >= SMALLEST))


@pytest.mark.parametrize("inputs", [20, 1_200_000])  # one piece of work, and many, for all threads
def test_only_updates_take_what_is_below_for_zero(inputs: int, tmp_path: Path) -> None:
    after_zeros(OPTIMIZERS["SGD"], inputs, "compiled", tmp_path)
    x = np.full((1000, 2000), SMALLEST, np.float32)
    half = gpunn.Sequential([layers.Input((2000,)), layers.Rescaling(0.5)], backend="compiled")
    found = half.predict(x, batch_size=1000, verbose=0)
    assert_array_equal(found, np.full(x.shape, SMALLEST / 2, np.float32))
    assert_array_equal(x * np.float32(0.5), found)
