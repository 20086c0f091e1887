"""Steps that a GPU launches from a trace: with masks, windows of a series, ignored classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, losses
from gpunn.backends import get_backend

ROWS, STEPS, CLASSES = 20, 7, 4
RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(0, 6, (ROWS, STEPS))  # some of them padding, 0
NUMBERS = RANDOM.normal(size=(ROWS, STEPS, 3)).astype(np.float32)
WINDOWS = np.lib.stride_tricks.sliding_window_view(NUMBERS.reshape(-1), STEPS)[::3]
LABELS = RANDOM.integers(0, CLASSES, ROWS)
SPARSE = losses.SparseCategoricalCrossentropy


def padded() -> list[Any]:
    return [layers.Input((STEPS,), dtype="int32"), layers.Embedding(6, 5, mask_zero=True)]


def dense(*hidden: Any) -> list[Any]:
    return [*hidden, layers.Dense(CLASSES, activation="softmax")]


CASES: dict[str, tuple[Callable[[], list[Any]], Any, Any, dict[str, Any]]] = {
    "padding, LSTM": (lambda: dense(*padded(), layers.LSTM(3)), TOKENS, LABELS, {}),
    "padding, mean": (
        lambda: dense(*padded(), layers.GlobalAveragePooling1D()), TOKENS, LABELS, {}
    ),
    "spatial dropout": (
        lambda: dense(layers.Input((STEPS, 3)), layers.SpatialDropout1D(0.3), layers.Flatten()),
        NUMBERS, LABELS, {},
    ),
    "windows": (
        lambda: dense(layers.Input((STEPS,)), layers.Rescaling(0.5), layers.Dense(3, "tanh")),
        WINDOWS, np.resize(LABELS, len(WINDOWS)), {},
    ),
    **{
        f"ignored class, {reduction}, {ignored}": (
            lambda: dense(layers.Input((STEPS, 3)), layers.Flatten()), NUMBERS, LABELS,
            {"loss": SPARSE(ignore_class=ignored, reduction=reduction)},
        )
        for reduction, ignored in (("sum_over_batch_size", 1), ("sum", 255))
    },
}  # fmt: skip


def trained(backend: Any, make: Callable[[], list[Any]], x: Any, y: Any, of: Any) -> list[Any]:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(make(), backend=backend, dtype="float64")
    options = {"optimizer": "adam", "loss": SPARSE(), "metrics": ["accuracy"], **of}
    model.compile(**options)
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    return [*model.get_weights(), *map(np.array, history.values())]


MODES = ("fused", "persistent")


@pytest.mark.parametrize(
    ("case", "mode"),
    [  # each run has every case in one mode, in turn
        pytest.param(case, mode, marks=[pytest.mark.more] if (i + k) % len(MODES) else [])
        for i, case in enumerate(CASES)
        for k, mode in enumerate(MODES)
    ],
)
def test_training_is_that_of_numpy(
    gpu: str, case: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that uses an array function cannot be launched in these modes."""
    host = trained("numpy", *CASES[case])
    monkeypatch.setattr(get_backend(gpu), "launch_mode", mode)
    for expected, found in zip(host, trained(gpu, *CASES[case]), strict=True):
        np.testing.assert_allclose(found, expected, 1e-9, 1e-11)


@pytest.mark.filterwarnings("ignore:overflow encountered in matmul:RuntimeWarning")
@pytest.mark.all_backends
def test_nothing_of_an_ignored_row_matters(backend: str) -> None:
    """Not even predictions that are no numbers: its sum is infinite in each class."""
    x = np.abs(NUMBERS.reshape(ROWS, -1).astype(np.float64))
    y = np.where(np.arange(ROWS) % 3 == 0, -1, LABELS)
    results = []
    for ignored in (1.0, 1e308):
        gpunn.utils.set_random_seed(3)
        outputs = layers.Dense(CLASSES, activation="softmax", kernel_initializer="ones")
        model = gpunn.Sequential(
            [layers.Input(x.shape[1:]), outputs], backend=backend, dtype="float64"
        )
        model.compile("sgd", SPARSE(ignore_class=-1))
        kept = np.where(y[:, np.newaxis] == -1, ignored, x)
        history = model.fit(kept, y, batch_size=8, epochs=2, verbose=0).history
        results.append([np.array(history["loss"]), *model.get_weights()])
    for expected, found in zip(*results, strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(found, expected, 1e-12)
