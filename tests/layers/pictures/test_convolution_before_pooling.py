"""Convolutions whose results only a pooling reads: on a GPU nothing of these is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
from digit_networks import program

import gpunn
from gpunn import layers, ops
from gpunn.apps.roofline import step_profile
from gpunn.backends import get_backend, used_within
from gpunn.backends.cupy import convolution as cupy_convolution
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import known_gpu
from gpunn.utils import set_random_seed

if sys.version_info[:2] == (3, 11):
    import torch


pytestmark = pytest.mark.traced


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without regard to the time that is predicted, which small networks do not save."""
    monkeypatch.setattr(cupy_convolution, "RATE", np.inf)
    monkeypatch.setattr(roofline, "ROW_CYCLES", (-np.inf, -np.inf))


def device_of(gpu: str) -> Any:
    return emulated.make_backend("fused") if gpu == "emulated" else get_backend(gpu)


def two_layers() -> list[Any]:
    """Of 11 x 11 and 3 x 3 results, which 2 x 2 does not divide."""
    return [
        layers.Input((13, 13, 2)), layers.Conv2D(5, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(35, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(3, activation="softmax"),
    ]  # fmt: skip


def one_frozen() -> list[Any]:
    made = two_layers()
    made[1].trainable = False
    return made


def model_of(backend: Any, make: Callable[[], list[Any]], **options: Any) -> Any:
    set_random_seed(3)
    model = gpunn.Sequential(make(), backend=backend)
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


def data(rows: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.standard_normal((rows, *shape), np.float32), random.integers(0, 3, rows)


def tasks_of(model: Any, rows: int = 4) -> list[str]:
    """The names of what a training step launches, of products none."""
    x, y = data(rows, model.input_shape[1:])
    made = program(model, x, y, rows)
    made.run(1)
    return [task.name for launch in made.launches for task in launch.tasks if task.name]


@pytest.mark.parametrize("rows", [1, 8, 19])
def test_a_training_is_the_same(gpu: str, rows: int) -> None:
    """In batches of 8, of which the last one is smaller, or of a single row."""
    device, found = device_of(gpu), []
    for backend in ("numpy", device):
        model = model_of(backend, two_layers)
        x, y = data(rows, (13, 13, 2))
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
        found.append([*model.get_weights(), model.predict(x, verbose=0)])
    for a, b in zip(*found, strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)
    if gpu == "emulated":
        names = tasks_of(model)
        assert names.count("pooled_convolution") == 2
        assert not {"max_pooling", "max_pooling_gradient"} & {*names}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="PyTorch is installed for 3.11")
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_the_gradients_are_those_of_pytorch(gpu: str, activation: str) -> None:
    """Of whole numbers, so that many pixels of a window are equal; one filter's are not numbers."""
    random = np.random.default_rng(1)
    x = random.integers(-1, 2, (6, 9, 8, 2)).astype(np.float32)
    model = gpunn.Sequential(
        [
            layers.Input(x.shape[1:]), layers.Conv2D(4, 2, strides=(2, 1), activation=activation),
            layers.MaxPooling2D((2, 3)), layers.Flatten(), layers.Dense(1),
        ],
        backend=device_of(gpu),
    )  # fmt: skip
    model.compile(gpunn.optimizers.SGD(1.0), "mse")
    kernel, bias, *dense = (random.integers(-1, 2, w.shape) for w in model.get_weights())
    model.set_weights([kernel, bias, *dense])
    y = random.integers(-2, 3, (6, 1)).astype(np.float32)
    model.fit(x, y, batch_size=6, verbose=0, shuffle=False)

    given = [
        torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in (kernel, bias, *dense)
    ]
    images = torch.tensor(x).permute(0, 3, 1, 2)
    z = torch.nn.functional.conv2d(images, given[0].permute(3, 2, 0, 1), given[1], stride=(2, 1))
    z = torch.relu(z) if activation == "relu" else z
    pooled = torch.nn.functional.max_pool2d(z, (2, 3)).permute(0, 2, 3, 1).reshape(6, -1)
    ((pooled @ given[2] + given[3] - torch.tensor(y)) ** 2).mean().backward()
    for weights, before in zip(model.get_weights(), given, strict=True):
        assert before.grad is not None
        expected = (before - before.grad).detach().numpy()
        np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-5)


def two_readers(x: Any) -> Any:
    y = layers.Conv2D(4, 3, activation="relu")(x)
    return layers.Concatenate()([layers.MaxPooling2D()(y), layers.AveragePooling2D()(y)])


def shown(x: Any) -> Any:
    """The activation is an output, too."""
    y = layers.Conv2D(4, 3, activation="relu", name="shown")(x)
    return [layers.MaxPooling2D()(y), y]


def convolution(**how: Any) -> Any:
    return layers.Conv2D(4, 3, **{"activation": "relu", **how})


def pooling(*sizes: Any, **how: Any) -> Any:
    return layers.MaxPooling2D(*sizes, **how)


APART: dict[str, Callable[[Any], Any]] = {
    "overlapping windows": lambda x: pooling(3, 2)(convolution()(x)),
    "gaps between windows": lambda x: pooling(2, 3)(convolution()(x)),
    "windows beyond the border": lambda x: pooling(2, padding="same")(convolution()(x)),
    "windows of 5 cells": lambda x: pooling((5, 1))(convolution()(x)),
    "channels first": lambda x: pooling(data_format="channels_first")(
        convolution(data_format="channels_first")(layers.Permute((3, 1, 2))(x))
    ),
    "another activation": lambda x: pooling()(convolution(activation="tanh")(x)),
    "groups": lambda x: pooling()(convolution(groups=2)(x)),
    "pixels": lambda x: pooling()(layers.Conv2D(4, 1, activation="relu")(x)),
    "a mean": lambda x: layers.AveragePooling2D()(convolution()(x)),
    "a penalty": lambda x: pooling()(convolution(activity_regularizer="l2")(x)),
    "two readers": two_readers,
}


@pytest.mark.parametrize("name", APART)
def test_what_cannot_be_joined_trains_as_before(name: str) -> None:
    found = []
    for backend in ("numpy", emulated.make_backend("fused")):
        set_random_seed(3)
        inputs = layers.Input((9, 9, 2))
        y = layers.Dense(3, activation="softmax")(layers.Flatten()(APART[name](inputs)))
        model = gpunn.Model(inputs, y, backend=backend)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(*data(9, (9, 9, 2)), batch_size=4, epochs=2, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)
    assert "pooled_convolution" not in tasks_of(model)


def test_an_output_of_the_model_is_written() -> None:
    found = []
    x, _ = data(3, (9, 9, 2))
    for backend in ("numpy", emulated.make_backend("fused")):
        set_random_seed(3)
        inputs = layers.Input((9, 9, 2))
        found.append(gpunn.Model(inputs, shown(inputs), backend=backend).predict(x, verbose=0))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["tf32", None])
def test_rounded_products_are_the_librarys(precision: Any) -> None:
    model = model_of(emulated.make_backend("fused"), two_layers, matmul_precision=precision)
    assert ("pooled_convolution" in tasks_of(model)) is (precision is None)


def test_an_untrained_convolution(gpu: str) -> None:
    found = []
    for backend in ("numpy", device_of(gpu)):
        model = model_of(backend, one_frozen)
        model.fit(*data(9, (13, 13, 2)), batch_size=4, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)


def test_the_outputs_of_layers_are_there_for_who_asks(gpu: str) -> None:
    """Of a prediction always; of training steps from the first question on."""
    model = model_of(device_of(gpu), two_layers)
    reference = model_of("numpy", two_layers)
    x, y = data(8, (13, 13, 2))
    first, second = (layer.name for layer in model.layers if isinstance(layer, layers.Conv2D))
    for each in (model, reference):
        each.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    found = model.last_activations()
    if gpu == "emulated":  # a card may launch so small a step in another mode
        assert first not in found
    for _ in range(2):
        outputs = (each.activations(x).values() for each in (model, reference))
        for a, b in zip(*outputs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        for each in (model, reference):
            each.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    found, expected = model.last_activations(), reference.last_activations()
    assert {first, second} <= found.keys()
    for a, b in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_dead_units_are_found(gpu: str) -> None:
    """The monitor reads the outputs of a training step."""
    found = []
    for backend in ("numpy", device_of(gpu)):
        model = model_of(backend, two_layers)
        kernel, bias, *rest = model.get_weights()
        bias[:2] = -100.0
        model.set_weights([kernel, bias, *rest])
        watch = gpunn.callbacks.GradientMonitor(frequency=1, verbose=0)
        model.fit(*data(8, (13, 13, 2)), batch_size=8, verbose=0, callbacks=[watch])
        found.append([record["dead"] for record in watch.records])
    assert found[0] == found[1] and found[0][0] == 2 / 5


CNNS = {
    "W4": lambda: [
        layers.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
    ],
    "32 x 32 in colour": lambda: [
        layers.Input((32, 32, 3)),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.Flatten(), layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ],
}  # fmt: skip


def traffic(model: Any, batch: int) -> tuple[int, int]:
    """Return the launches of a step, and the megabytes that they read and write: each array once a
    launch."""
    made: Any = step_profile.step_program(model, batch, 1)
    made.run(1)
    moved = 0
    for launch in made.launches:
        regions = {(r.start, r.stop, r.written) for task in launch.tasks for r in task.regions}
        moved += sum(stop - start for start, stop, _ in regions)
    return len(made.launches), round(moved / 1e6)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("W4", (17, 254), (13, 120)), ("32 x 32 in colour", (26, 478), (23, 325))],
)
def test_the_traffic_of_a_step(
    name: str, before: tuple[int, int], after: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an H200, with a batch of 128, where what is predicted to be faster is chosen."""
    monkeypatch.undo()
    model = model_of(dry.make_backend(known_gpu("H200")), CNNS[name])
    assert traffic(model, 128) == after
    model.last_activations()  # steps after it write all outputs
    assert traffic(model, 128) == before


def test_a_function_may_return_what_lies_between(gpu: str) -> None:
    x, _ = data(2, (7, 7, 2))
    w = np.random.default_rng(2).standard_normal((3, 3, 2, 4)).astype(np.float32)

    def both(x: Any) -> Any:
        y = ops.relu(ops.conv(x, w))
        return y, ops.max_pool(y, 2)

    expected = both(ops.convert_to_tensor(x))
    with used_within(device_of(gpu)):
        found = gpunn.function(both)(x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
