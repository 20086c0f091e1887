"""Devices by name: which GPU computes, its memory, and two GPUs in one process."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import emulated
import numpy as np
import pretended_cuda
import pytest

import gpunn
from gpunn import layers
from gpunn.backends.cupy.driver import gpus
from gpunn.compat import devices

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
config: Any = gpunn.config


@pytest.fixture(autouse=True)
def _(no_backend_yet: None) -> None:
    """Limit the choice of a backend to its test."""


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pretended machine with two GPUs, which take only what is sent while they are current."""
    for module in (devices, gpus, gpunn.backends.gpu):
        monkeypatch.setattr(module, "why_not", lambda: None)
    monkeypatch.setattr(gpunn.backends.gpu, "is_usable", lambda: True)
    pretended_cuda.pretend(monkeypatch, pretended_cuda.Libraries(), "86")
    yield
    pretended_cuda.STREAMS.clear()


def network(device: str) -> Any:
    gpunn.utils.set_random_seed(3)
    with gpunn.device(device):
        model = gpunn.Sequential(
            [layers.Input((6,)), layers.Dense(5, "tanh"), layers.Dropout(0.2), layers.Dense(2)]
        )
    model.compile("adam", "mse")
    return model


def fit(model: Any) -> None:
    model.fit(X, X[:, :2], batch_size=16, epochs=2, verbose=0)


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


def test_models_train_on_two_gpus_of_one_process(two_gpus: None) -> None:
    first, second = map(network, ("gpu:0", "/device:GPU:1"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, (first, second)))
    assert same(first, second)
    assert [m.backend.name for m in (first, second)] == ["cupy:0", "cupy:1"]
    assert [m.backend.zeros((1,), "float32").device.id for m in (first, second)] == [0, 1]
    fit(first)
    assert not same(first, second)
    for again in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert again.backend is gpunn.get_backend("cupy:0")
        assert same(again, first)
    np.testing.assert_allclose(second(X), second.predict(X, verbose=0), rtol=1e-5)


def test_steps_by_hand_run_on_the_gpu_of_their_block(two_gpus: None) -> None:
    found = []
    for device in ("gpu:0", "gpu:1"):
        with gpunn.device(device):
            w = gpunn.Variable(np.ones((6, 2), "float32"))
            optimizer = gpunn.optimizers.SGD(0.1)
            for _ in range(3):
                with gpunn.GradientTape() as tape:
                    loss = gpunn.ops.mean(gpunn.ops.square(gpunn.ops.matmul(X, w)))
                optimizer.apply(tape.gradient(loss, [w]), [w])
            found.append(w.numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("name", "backend"),
    [("cpu", None), ("/CPU:0", None), ("gpu", "cupy"), ("cuda:1", "cupy:1"), ("GPU:0", "cupy:0")],
)
def test_names_of_devices(name: str, backend: str | None, two_gpus: None) -> None:
    before = gpunn.get_backend()
    with gpunn.device(name):
        assert gpunn.get_backend().name == (backend or gpunn.get_backend("compiled").name)
        with ThreadPoolExecutor(1) as pool:  # a thread has a choice of its own
            assert pool.submit(gpunn.get_backend).result() is before
    assert gpunn.get_backend() is before


def test_devices_that_are_not_there_are_refused(two_gpus: None) -> None:
    with pytest.raises(RuntimeError, match=r"'cupy:7' cannot be used.*there are 2: see nvidia-smi"):
        gpunn.device("gpu:7").__enter__()
    with pytest.raises(RuntimeError, match="'cupy:2' cannot be used"):
        gpunn.use_backend("cupy:2")
    for name in ("tpu:0", "gpu:-1", "", "gpu:one"):
        with pytest.raises(ValueError, match="device_name must be a name such as 'cpu' or 'gpu:0'"):
            gpunn.device(name)
    for name in ("numpy:1", "cupy:one", "cupy:"):
        with pytest.raises(ValueError, match="must be one of auto, numpy"):
            gpunn.use_backend(name)
    with pytest.raises(ValueError, match="There is no device 'GPU:5'"):
        config.experimental.get_memory_info("GPU:5")


def test_without_a_gpu_its_name_says_what_is_missing() -> None:
    if gpunn.backends.gpu.is_usable():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="The CuPy backend cannot be used"):
        gpunn.device("gpu:1").__enter__()
    with pytest.raises(ValueError, match=r"There is no device 'GPU:0'. CuPy is not installed"):
        config.experimental.get_memory_info("GPU:0")
    assert not config.list_physical_devices("GPU")
    config.set_visible_devices([], "GPU")
    assert gpunn.get_backend().name in ("numpy", "compiled")


def test_scripts_choose_among_gpus(two_gpus: None) -> None:
    """As TensorFlow's guide to GPUs does."""
    both = config.list_physical_devices("GPU")
    assert [gpu.name for gpu in both] == ["/physical_device:GPU:0", "/physical_device:GPU:1"]
    for gpu in both:
        config.experimental.set_memory_growth(gpu, True)
    assert config.get_visible_devices("GPU") == both
    config.set_visible_devices(both[1], "GPU")
    assert config.get_visible_devices("GPU") == both[1:] and len(config.get_visible_devices()) == 2
    assert gpunn.Sequential([layers.Input((2,)), layers.Dense(1)]).backend.name == "cupy:1"
    config.set_visible_devices([], "GPU")
    assert config.get_visible_devices() == config.list_physical_devices("CPU")
    assert gpunn.get_backend().name == "compiled"
    config.set_visible_devices(both, "GPU")
    assert gpunn.get_backend().name == "cupy"
    with pytest.raises(ValueError, match="devices must be of the type 'CPU'"):
        config.set_visible_devices(both[0], "CPU")


def test_a_limit_of_memory_is_kept(two_gpus: None) -> None:
    (gpu, _) = config.list_physical_devices("GPU")
    gpunn.get_backend("cupy:0")  # which gives cuBLAS its memory
    gc.collect()  # what earlier tests have left may be in parts of blocks, which count whole
    emulated.MEMORY.free_all_blocks()
    used = config.experimental.get_memory_info("GPU:0")
    try:
        limit = (emulated.MEMORY.total_bytes() >> 20) + 3
        config.set_logical_device_configuration(
            gpu, [config.LogicalDeviceConfiguration(memory_limit=limit)]
        )
        model = network("gpu:0")
        fit(model)
        assert config.experimental.get_memory_info(gpu)["current"] > used["current"]
        with pytest.raises(gpunn.models.OutOfMemoryError, match=r"does not fit .* are free"):
            model.predict(np.zeros((200_000, 6), "float32"), batch_size=200_000, verbose=0)
    finally:
        emulated.MEMORY.set_limit(0)
    with pytest.raises(ValueError, match="does not divide a GPU; got 2"):
        config.set_logical_device_configuration(gpu, [config.LogicalDeviceConfiguration(1)] * 2)


def test_names_about_several_devices_say_which_name_is_ours() -> None:
    with pytest.raises(AttributeError, match=r"gpunn\.distribution\.DataParallel"):
        gpunn.distribute  # noqa: B018
    config.experimental.enable_op_determinism()
