"""The sizes of a step are constants of its kernels: these are right, and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparisons.samples import make_gpu
from digit_networks import program

import gpunn
from gpunn import layers
from gpunn.backends.cupy.driver import dry, nvrtc
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.known_gpus import GPUS
from gpunn.backends.cupy.launch.modes import LaunchModeError
from gpunn.common.cache import cache_folder


def dense(backend: Any) -> Any:
    return gpunn.Sequential(
        [layers.Input((6,)), layers.Dense(4, activation="tanh"), layers.Dense(3)],
        backend=backend, dtype="float64",
    )  # fmt: skip


def windows(backend: Any) -> Any:
    """Its windows have strides, padding and, in each layer, another geometry."""
    return gpunn.Sequential(
        [
            layers.Input((6,)),
            layers.Reshape((3, 2, 1)),
            layers.Conv2D(2, (2, 2), padding="same", activation="tanh"),
            layers.AveragePooling2D((3, 1), strides=(2, 1), padding="same"),
            layers.Flatten(),
            layers.Dense(3),
        ],
        backend=backend, dtype="float64",
    )  # fmt: skip


def trained(make: Callable[[Any], Any], backend: Any, *fits: tuple[int, int, float]) -> list[Any]:
    """Return the weights and losses of training on these numbers of rows, by batches of these
    sizes, at these learning rates."""
    gpunn.utils.set_random_seed(2)
    model = make(backend)
    model.compile(gpunn.optimizers.SGD(), "mean_squared_error")
    random = np.random.default_rng(1)
    found: list[Any] = []
    for rows, batch, rate in fits:
        x, y = random.normal(size=(rows, 6)), random.normal(size=(rows, 3))
        model.optimizer.learning_rate = rate
        history = model.fit(x, y, batch_size=batch, epochs=2, verbose=0).history
        found += [*model.get_weights(), history["loss"], model.predict(x, 5, verbose=0)]
    return found


@pytest.mark.parametrize(
    ("make", "mode", "fits"),
    [
        # The last batch is smaller; then come more rows, a higher rate, and another batch size.
        pytest.param(dense, "fused", [(11, 8, 0.1), (19, 8, 0.2), (9, 5, 0.1)], id="fused"),
        pytest.param(
            dense, "persistent", [(11, 8, 0.1), (19, 8, 0.2), (9, 5, 0.1)], id="persistent"
        ),
        pytest.param(windows, "fused", [(7, 4, 0.1)], id="windows"),
    ],
)
def test_a_step_with_constants_is_that_of_numpy(
    make: Callable[[Any], Any], mode: str, fits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    gpu = make_gpu(orders=(2,), constants=True)
    for expected, mine in zip(
        trained(make, "numpy", *fits), trained(make, gpu, *fits), strict=True
    ):
        np.testing.assert_allclose(mine, expected, 1e-10, 1e-12)


class Compiling:
    """A kernel set that compiles its kernels for a GPU, and launches nothing."""

    gpu = GPUS[-1]
    blocks = resident = 2 * gpu.multiprocessors

    def prepare(self, kernel: Kernel) -> Callable[..., None]:
        nvrtc.load_code(kernel.text, 61)
        return lambda grid, block, arguments: None


def files() -> set[Path]:
    return {path for path in cache_folder().rglob("*") if path.is_file()}


def compiled(rows: int, batch: int, rate: float = 0.1, seed: int = 0) -> set[Path]:
    """Train on a new backend; return the files of the cache."""
    gpunn.utils.set_random_seed(seed)
    gpu = dry.make_backend()
    gpu.kernels = Compiling()
    model = dense(gpu)
    model.compile(gpunn.optimizers.SGD(rate), "mean_squared_error")
    model.fit(np.zeros((rows, 6)), np.zeros((rows, 3)), batch_size=batch, verbose=0)
    return files()


@pytest.mark.in_turn(2)
def test_a_kernel_is_compiled_once_for_each_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path))
    cold = compiled(8, 4)
    assert cold
    assert compiled(8, 4) == cold
    assert compiled(12, 4, rate=0.2, seed=1) == cold
    ragged = compiled(9, 4)
    assert ragged > cold
    warm = compiled(8, 2)
    assert warm > ragged

    def refuse(*given: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(nvrtc, "compile_source", refuse)
    assert compiled(9, 4) == compiled(8, 2) == warm
    with pytest.raises(AssertionError, match="compiled again"):
        compiled(8, 3)


@pytest.mark.in_turn(2)
def test_predictions_of_all_sizes_share_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path))
    gpu = dry.make_backend()
    gpu.kernels = Compiling()
    model = dense(gpu)
    found = []
    for rows in (1, 2, 7):
        model.predict_on_batch(np.zeros((rows, 6)))
        found.append(files())
    assert found[0] and found[0] == found[1] == found[2]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("metrics", [[], ["r2_score"]])
def test_a_step_with_too_much_shared_memory_for_one_kernel_is_several(
    metrics: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of float64, sums of batch normalization and of targets: each has its own."""
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path))
    gpu = dry.make_backend(GPUS[-1])
    gpu.kernels = Compiling()

    def fit() -> str:
        model = gpunn.Sequential(
            [layers.Input((3,)), layers.Dense(5), layers.BatchNormalization(), layers.Dense(4)],
            backend=gpu, dtype="float64",
        )  # fmt: skip
        model.compile("sgd", "mean_squared_error", metrics=metrics)
        x, y = np.zeros((10, 3)), np.zeros((10, 4))
        model.fit(x, y, batch_size=5, verbose=0)
        return str(program(model, x, y, 5).mode)

    if not metrics:
        assert fit() == "persistent"
        return
    assert fit() == "fused"
    gpu.launch_mode = "persistent"
    with pytest.raises(LaunchModeError, match=r"needs \d\d,\d+ bytes of shared memory; .* 49,152"):
        fit()
