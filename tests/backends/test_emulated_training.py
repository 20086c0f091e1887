"""Whole trainings on each backend, compared with the same trainings on NumPy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


# Engine tests, repeated on each backend: fit, its logs and callbacks, saving, resuming.
ENGINE = (
    "callbacks/test_callbacks.py", "callbacks/test_tensorboard.py",
    "training/test_fit.py", "training/test_validation_splits.py",
    "training/test_weighted_rows.py",
    "saving/test_saving.py", "saving/test_resume.py", "layers/test_shared_layers.py",
    "references/keras3",
)  # fmt: skip
PROBE = "backends/test_emulated_training.py::test_the_environment_chooses_the_backend"


@pytest.fixture(autouse=True)
def _restore(no_backend_yet: None) -> Iterator[None]:
    yield
    gpunn.config.set_floatx("float32")


def _data(dtype: str, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, rows).astype(np.uint8)
    x = rng.integers(0, 200, (rows, 28, 28)).astype(np.uint8)
    x[np.arange(rows), y] += 50  # so that there is something to learn
    return x, y


def _train(backend: str, dtype: str, optimizer: str, loss: str, how: str) -> dict[str, Any]:
    gpunn.config.set_floatx(dtype)
    gpunn.use_backend(backend)
    gpunn.utils.set_random_seed(3)
    x, y = _data(dtype)
    targets = y if loss.startswith("sparse") else gpunn.utils.to_categorical(y, 10)
    model = gpunn.Sequential(
        [
            layers.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(20, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(12, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    options = {"adam": gpunn.optimizers.Adam(), "sgd": gpunn.optimizers.SGD(0.1, 0.9, True)}
    model.compile(optimizer=options[optimizer], loss=loss, metrics=["accuracy"])
    weights = np.linspace(0.5, 1.5, len(x)) if how == "weighted" else None
    if how == "batches":
        history = model.fit(
            [(x[i : i + 48], targets[i : i + 48]) for i in range(0, 500, 48)], epochs=2, verbose=0
        )
    else:
        history = model.fit(
            x, targets, batch_size=48, epochs=2, verbose=0, sample_weight=weights,
            validation_data=(x[:70], targets[:70]),
        )  # fmt: skip
    return {
        "weights": model.get_weights(),
        "logs": [np.array(v) for v in history.history.values()],
        "evaluated": [np.array(model.evaluate(x, targets, batch_size=48, verbose=0))],
        "predicted": [model.predict(x[:101], batch_size=40, verbose=0)],
    }


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("optimizer", "loss", "how"),
    [
        ("adam", "sparse_categorical_crossentropy", "plain"),
        ("sgd", "categorical_crossentropy", "weighted"),
        ("sgd", "mean_squared_error", "plain"),
        ("adam", "sparse_categorical_crossentropy", "batches"),
    ],
)
def test_training_is_that_of_numpy(
    other: str, dtype: str, optimizer: str, loss: str, how: str
) -> None:
    """20 steps with a ragged batch at the end of each epoch, then evaluate and predict."""
    host, device = (_train(b, dtype, optimizer, loss, how) for b in ("numpy", other))
    for what in host:
        for a, b in zip(host[what], device[what], strict=True):
            assert a.dtype == b.dtype
            difference = np.linalg.norm(np.subtract(a, b, dtype=np.float64))
            assert difference <= TOLERANCE[dtype] * np.linalg.norm(a), what


class _OwnCounts(gpunn.metrics.AUC):
    """A metric without a kernel, since it assigns the bins itself; the last row gets none."""

    def place(self, backend: Any, y_true: Any, y_pred: Any, bins: Any) -> None:
        super().place(backend, y_true, y_pred, bins)
        backend.xp.copyto(bins[-1:], -1)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_metric_that_counts_into_bins_of_its_own(other: str, weighted: bool) -> None:
    """In captured steps, which cannot read values of the device."""
    random = np.random.default_rng(0)
    x, y = random.random((200, 4)).astype(np.float32), random.integers(0, 2, 200)
    weights = np.linspace(0.5, 1, 200) if weighted else None
    results = []
    for backend in ("numpy", other):
        gpunn.utils.set_random_seed(1)
        model = gpunn.Sequential(
            [layers.Input((4,)), layers.Dense(1, activation="sigmoid")], backend=backend
        )
        model.compile("sgd", "binary_crossentropy", weighted_metrics=[_OwnCounts(20, name="own")])
        history = model.fit(x, y, batch_size=16, epochs=2, verbose=0, sample_weight=weights)
        results.append(history.history["own"])
    np.testing.assert_allclose(results[1], results[0], 1e-6)


def test_a_user_may_choose_it_by_name() -> None:
    gpunn.use_backend("emulated")
    assert gpunn.backends.get_backend().name == "emulated"


def test_the_environment_chooses_the_backend() -> None:
    asked = os.environ.get("GPUNN_BACKEND") or "auto"
    used = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)]).backend.name
    assert used == asked or asked == "auto"


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("numpy", marks=pytest.mark.more(2)),
        "compiled",
        pytest.param("emulated", marks=pytest.mark.more(2)),
    ],
)
def test_the_engines_own_tests_pass_on_it(backend: str) -> None:
    if backend == gpunn.get_backend().name:
        pytest.skip("the ordinary run of these tests is on this backend")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if backend == "emulated":  # tests that kill a process start one without this backend
        command += ["-k", "not killed"]
    done = subprocess.run(
        [*command, *ENGINE, PROBE],  # PROBE checks that no earlier test changed the backend
        cwd=Path(__file__).parents[1],
        env={**os.environ, "GPUNN_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 700, done.stdout[-4000:]
