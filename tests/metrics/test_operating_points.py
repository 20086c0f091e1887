"""Test metrics at one operating point beside Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
RANDOM = np.random.default_rng(0)
Y = (RANDOM.uniform(size=(60, 2)) > 0.6).astype(np.float32)
P = np.clip(Y * 0.2 + RANDOM.uniform(size=Y.shape) * 0.8, 0, 1).astype(np.float32)
NAMES = [
    "SensitivityAtSpecificity", "SpecificityAtSensitivity", "PrecisionAtRecall",
    "RecallAtPrecision",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 7, 200])
def test_values_are_kerass(keras: Any, name: str, count: int) -> None:
    weight = RANDOM.uniform(size=60)
    for asked in (0.0, 0.3, 0.8, 0.95):
        for options in ({}, {"class_id": 1}):
            ours, theirs = (
                getattr(k.metrics, name)(asked, count, **options) for k in (gpunn, keras)
            )
            for metric in (ours, theirs):
                metric.update_state(Y, P, weight[:, None] if not options else weight)
                metric.update_state(Y[:9], P[:9])
            assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_fit_and_files_are_kerass(keras: Any, name: str, backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(backend)
    found = []
    for k in (gpunn, keras):
        model = k.Sequential(
            [k.Input((2,)), k.layers.Dense(2, "sigmoid", kernel_initializer="ones")]
        )
        metric = getattr(k.metrics, name)(0.4, name="m")
        model.compile(k.optimizers.SGD(0.1), "binary_crossentropy", metrics=[metric])
        found.append(model.fit(P, Y, epochs=2, shuffle=False, verbose=0).history["m"])
        if k is gpunn:
            model.save(tmp_path / "model.keras")
            again = k.saving.load_model(tmp_path / "model.keras")
            assert again.evaluate(P, Y, verbose=0) == model.evaluate(P, Y, verbose=0)
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_other_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="`recall` must be in the range"):
        gpunn.metrics.PrecisionAtRecall(1.5)
    with pytest.raises(ValueError, match="Argument `num_thresholds` must be an integer > 0"):
        gpunn.metrics.RecallAtPrecision(0.5, num_thresholds=0)
