"""Test convolution, pooling and padding: against PyTorch, on both backends, in pieces, trained."""

from __future__ import annotations

import itertools
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import emulated
import hypothesis
import hypothesis.strategies as st
import numpy as np
import products
import pytest
from numpy.testing import assert_allclose
from pytorch_layers import LAYERS, against_pytorch
from threadpoolctl import threadpool_limits

import gpunn
from gpunn import layers
from gpunn.apps.roofline import step_profile
from gpunn.backends import get_backend
from gpunn.backends.cupy import convolution as cupy_convolution
from gpunn.backends.numpy import convolution as numpy_convolution
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.backends.shared.geometry import Geometry
from gpunn.core.plan import Call
from gpunn.core.storage import ParameterStorage
from gpunn.layers.parameters import ensure_built
from gpunn.testing import check_gradients

if sys.version_info[:2] == (3, 11):
    import torch

FORMATS = ("channels_last", "channels_first")


def both_ways(
    layer: Any, x: np.ndarray, dy: Any = None, backend: Any = "numpy", threads: bool = False
) -> tuple[np.ndarray, ...]:
    """Return y, and for a random gradient dy the gradients of x and of the weights."""
    backend = get_backend(backend)
    ensure_built(layer, x.shape[1:])
    if layer.weights and not layer.weights[0].storage:
        ParameterStorage(backend, x.dtype.name, layer.weights)
        random = np.random.default_rng(1)
        layer.set_weights([random.standard_normal(w.shape) for w in layer.weights])
    call = Call(backend, layer, len(x), x.dtype.name, True)
    shape = layer.compute_output_shape(x.shape)
    if dy is None:
        dy = np.random.default_rng(2).standard_normal(shape).astype(x.dtype)
    call.reads(0, backend.upload(x))
    call.writes(0, backend.empty(x.shape, x.dtype), False)
    call.y, call.dy = backend.empty(shape, x.dtype), backend.upload(dy.copy())
    call.trains = bool(layer.weights)
    forward, backward = layer._passes(call)
    with backend.parallel_region() if threads else nullcontext():
        forward(call)
        backward(call)
    found = call.y, call.dx, *(p.gradient for p in layer.weights)
    return tuple(backend.read(array) for array in found)


def assert_near(ours: tuple[np.ndarray, ...], theirs: Any, tolerance: float = 1e-10) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(b), 1e-30)


def of_pytorch(layer: Any, arguments: dict, x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    x_torch = torch.tensor(x, requires_grad=True)
    name = type(layer).__name__
    y = LAYERS[name](x_torch, arguments, layer, None)
    y.backward(torch.tensor(dy))
    weights = getattr(layer, "torch_weights", [])
    return [y.detach().numpy(), x_torch.grad.numpy(), *(w.grad.numpy() for w in weights)]


def image(data_format: str, n: int, height: int, width: int, channels: int) -> tuple[int, ...]:
    last = data_format == "channels_last"
    return (n, height, width, channels) if last else (n, channels, height, width)


@against_pytorch
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("backend", ["numpy", "emulated"])
def test_convolution_is_that_of_pytorch(
    backend: str, padding: str, data_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even and odd windows and images, strides larger than the window, dilations, few and many
    channels, images of one pixel; on a GPU without writing the patches."""
    monkeypatch.setattr(cupy_convolution, "RATE", np.inf)
    monkeypatch.setattr(cupy_convolution, "BYTE", 0)
    device = emulated.make_backend() if backend == "emulated" else backend
    windows, steps_ = ((1, 1), (2, 3), (3, 3), (4, 1)), ((1, 1), (2, 2), (3, 1), (1, 5))
    sizes = ((7, 9, 2), (8, 8, 1), (9, 10, 20), (1, 1, 3))
    for (height, width, channels), window, step in itertools.product(sizes, windows, steps_):
        for dilation in ((1, 1), (2, 3), (1, 2)) if step == (1, 1) else ((1, 1),):
            span = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
            if padding == "valid" and (span[0] > height or span[1] > width):
                continue
            arguments = {
                "filters": 3, "kernel_size": window, "strides": step, "padding": padding,
                "data_format": data_format, "dilation_rate": dilation,
                "activation": "relu" if channels == 2 else "tanh",
            }  # fmt: skip
            layer = layers.Conv2D(**arguments, dtype="float64")
            x = np.random.default_rng(0).standard_normal(
                image(data_format, 3, height, width, channels)
            )
            dy = np.random.default_rng(2).standard_normal(layer.compute_output_shape(x.shape))
            ours = both_ways(layer, x, dy, device)
            assert_near(ours, of_pytorch(layer, arguments, x, dy))


@against_pytorch
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_images_of_one_size_leave_nothing_in_the_border_of_another(backend: str) -> None:
    """Two images, with other windows, may be padded to arrays of one size."""
    device = emulated.make_backend() if backend == "emulated" else backend
    steps = {1: (1,), 2: (1, 2), 3: (1, 2, 3)}
    for height, width in itertools.product(range(9, 3, -1), (5, 4)):
        x = np.random.default_rng(0).standard_normal((2, height, width, 2))
        for window, across in itertools.product(steps, (1, 2)):
            for step in steps[window]:
                arguments = {
                    "filters": 2, "kernel_size": (window, across), "strides": (step, 1),
                    "padding": "same",
                }  # fmt: skip
                layer = layers.Conv2D(**arguments, dtype="float64")
                dy = np.random.default_rng(2).standard_normal(layer.compute_output_shape(x.shape))
                ours = both_ways(layer, x, dy, device)
                assert_near(ours, of_pytorch(layer, arguments, x, dy))


@against_pytorch
@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("data_format", FORMATS)
def test_pooling_is_that_of_pytorch(name: str, padding: str, data_format: str) -> None:
    """With many equal pixels: the gradient of a maximum goes to its first occurrence."""
    windows = ((1, 1), (2, 2), (3, 2), (3, 3), (2, 5))
    strides = (None, (1, 1), (2, 2), (3, 1), (1, 4))
    random = np.random.default_rng(0)
    for (height, width), window, step in itertools.product(((6, 7), (9, 5)), windows, strides):
        arguments = {
            "pool_size": window, "strides": step, "padding": padding, "data_format": data_format
        }  # fmt: skip
        layer = getattr(layers, name)(**arguments)
        x = random.integers(0, 3, image(data_format, 4, height, width, 3)).astype(np.float64)
        dy = random.standard_normal(layer.compute_output_shape(x.shape))
        assert_near(both_ways(layer, x, dy), of_pytorch(layer, arguments, x, dy))


@pytest.mark.parametrize(("pixels", "size", "step"), [(4, 3, 2), (5, 4, 2), (6, 4, 3), (5, 3, 2)])
def test_averages_leave_missing_pixels_out(pixels: int, size: int, step: int) -> None:
    """As in TensorFlow and JAX, also if their number is odd: the extra one is on the right."""
    x = np.random.default_rng(0).standard_normal((2, pixels, 3))
    count = -(-pixels // step)
    missing = (count - 1) * step + size - pixels
    padding = ((0, 0), (missing // 2, missing - missing // 2), (0, 0))
    padded = np.pad(x, padding, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::step]
    found = layers.AveragePooling1D(size, step, "same", dtype="float64")(x).numpy()
    assert_allclose(found, np.nanmean(windows, axis=-1), rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3, 40])
def test_a_maximum_that_is_nan_passes_no_gradient_on(channels: int, backend: str) -> None:
    """Of its windows, the first three have a NaN: in the first cell, in the last one, in both."""
    gpunn.use_backend(backend)
    row = np.array([np.nan, 1, 1, np.nan, np.nan, np.nan, 3, 2])
    x = gpunn.Variable(np.tile(row[:, np.newaxis], (2, 1, channels)).astype("float32"))
    with gpunn.GradientTape() as tape:
        y = layers.MaxPooling1D(2)(x)
        total = gpunn.ops.sum(y)
    assert y.numpy()[0, :, -1].tolist() == pytest.approx([np.nan] * 3 + [3], nan_ok=True)
    found = np.asarray(tape.gradient(total, x))
    assert found[1, :, 0].tolist() == found[0, :, -1].tolist() == [0] * 6 + [1, 0]


@against_pytorch
@pytest.mark.parametrize("name", ["GlobalMaxPooling2D", "GlobalAveragePooling2D"])
@pytest.mark.parametrize("data_format", FORMATS)
def test_global_pooling_is_that_of_pytorch(name: str, data_format: str) -> None:
    arguments = {"data_format": data_format, "keepdims": True}
    layer = getattr(layers, name)(**arguments)
    x = np.random.default_rng(0).standard_normal(image(data_format, 3, 5, 4, 6))
    dy = np.random.default_rng(2).standard_normal(layer.compute_output_shape(x.shape))
    assert_near(both_ways(layer, x, dy), of_pytorch(layer, arguments, x, dy))


def test_both_formats_are_the_same_images() -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 5, 4))
    for name, arguments in (
        ("Conv2D", {"filters": 2, "kernel_size": 3, "padding": "same"}),
        ("MaxPooling2D", {}), ("AveragePooling2D", {"padding": "same"}),
        ("ZeroPadding2D", {"padding": ((1, 0), (0, 2))}),
    ):  # fmt: skip
        last, first = (getattr(layers, name)(**arguments, data_format=f) for f in FORMATS)
        y, dx, *gradients = both_ways(last, x)
        dy = np.random.default_rng(2).standard_normal(y.shape)
        turned = both_ways(first, x.transpose(0, 3, 1, 2).copy(), dy.transpose(0, 3, 1, 2).copy())
        y_turned, dx_turned, *others = turned
        assert_near(
            (y_turned.transpose(0, 2, 3, 1), dx_turned.transpose(0, 2, 3, 1), *others),
            (y, dx, *gradients), 1e-12,
        )  # fmt: skip


# -- windows


axes = st.tuples(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


@hypothesis.given(axes, st.sampled_from(["valid", "same"]))
@hypothesis.settings(max_examples=200, derandomize=True, database=None)
def test_windows_on_an_axis(axis: tuple[int, int, int, int], padding: str) -> None:
    """Compare with the definition, window by window."""
    n, window, step, dilation = axis
    span = dilation * (window - 1) + 1
    if padding == "valid" and span > n:
        with pytest.raises(ValueError, match="larger than the image"):
            Geometry.fit((n, 9), (window, 1), (step, 1), padding, (dilation, 1))
        return
    g = Geometry.fit((n, 9), (window, 1), (step, 1), padding, (dilation, 1))
    count, before = g.windows[0], g.padding[0]
    assert count == (-(-n // step) if padding == "same" else len(range(0, n - span + 1, step)))
    after = (count - 1) * step + span - n - before
    assert before == 0 or 0 <= after - before <= 1  # an odd number puts the extra one after
    lies = [[i * step - before + r * dilation for r in range(window)] for i in range(count)]
    found: list[list[int]] = [[] for _ in range(count)]
    for windows, pixels in g.along(0):
        places = range(n)[pixels]
        assert len(range(count)[windows]) == len(places)
        for i, place in zip(range(count)[windows], places, strict=True):
            found[i].append(place)
    assert found == [[place for place in row if 0 <= place < n] for row in lies]
    assert g.counts(0) == [len(row) for row in found]
    assert g.extent[0] == (count - 1) * step + span


# -- a few samples at a time


CASES = {
    "few channels": (layers.Conv2D, {"filters": 5, "kernel_size": 3, "activation": "relu"}, 1),
    "many channels": (
        layers.Conv2D, {"filters": 7, "kernel_size": (3, 2), "padding": "same"}, 16
    ),
    "one pixel": (layers.Conv2D, {"filters": 3, "kernel_size": 1, "use_bias": False}, 6),
    "leaky": (
        layers.Conv2D,
        {"filters": 3, "kernel_size": 2, "activation": gpunn.activations.Relu(0.2)},
        3,
    ),
    "largest": (layers.MaxPooling2D, {"pool_size": 3, "strides": 2}, 4),
    "average": (layers.AveragePooling2D, {"padding": "same"}, 4),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pieces_are_the_whole(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample, some, or all at a time, by one thread or by several."""
    cls, arguments, channels = CASES[case]
    layer = cls(**arguments, dtype="float64")
    x = np.random.default_rng(0).standard_normal((19, 12, 11, channels))
    monkeypatch.setattr(numpy_convolution, "PIECE_BYTES", 1 << 40)
    monkeypatch.setattr(numpy_convolution, "PARTS", 1)
    expected = both_ways(layer, x)
    monkeypatch.setattr(numpy_convolution, "PARTS", 4)
    monkeypatch.setattr(numpy_convolution, "SIZE_WORTH_THREADS", 1)
    for size in (1, 20_000, 1 << 40):
        monkeypatch.setattr(numpy_convolution, "PIECE_BYTES", size)
        with threadpool_limits(1, "blas"):  # as when several threads do the work
            one = both_ways(layer, x)
        assert_near(one, expected, 1e-13)
        for a, b in zip(one, both_ways(layer, x, threads=True), strict=True):
            np.testing.assert_array_equal(a, b)  # whichever thread does the work
    gpu = emulated.make_backend()
    monkeypatch.setattr(cupy_convolution, "PATCH_BYTES", 20_000)
    other = cls(**arguments, dtype="float64")
    assert_near(both_ways(other, x, backend=gpu), expected, 1e-13)


def test_no_work_array_grows_with_the_batch() -> None:
    """The patches of the whole batch would be nine times the size of its images."""
    gpunn.utils.set_random_seed(0)
    backend: Any = NumpyBackend()
    lend, sizes = backend.scratch, []

    def recorded(*asked: Any) -> np.ndarray:
        sizes.append(lend(*asked).nbytes)
        return lend(*asked)

    backend.scratch = recorded
    largest = []
    for n in (64, 256):
        both_ways(layers.Conv2D(16, 3), np.ones((n, 24, 24, 8), np.float32), backend=backend)
        largest.append(max(sizes))
        sizes.clear()
    assert largest[0] == largest[1] < 2**20


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_frozen_and_shared(backend: str) -> None:
    frozen = layers.Conv2D(2, 2, padding="same", activation="tanh", trainable=False)
    chain = [layers.Conv2D(3, 2), frozen, layers.Conv2D(1, (1, 2))]
    check_gradients(chain, (2, 4, 5, 2), backend=backend)
    shared = layers.Conv2D(2, 3, padding="same", activation="tanh", bias_initializer="normal")
    check_gradients([shared, layers.Activation("relu"), shared], (2, 3, 4, 2), backend=backend)


# -- a model


def network(backend: Any = "numpy", side: int = 8) -> gpunn.Sequential:
    """A smaller version of Keras's small convolutional network."""
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [
            layers.Input((side, side, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ],
        backend=backend,
    )
    adam = gpunn.optimizers.Adam(0.005)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def digits() -> tuple[np.ndarray, np.ndarray]:
    found = pytest.importorskip("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return (found.images[order, ..., None] / 16).astype(np.float32), found.target[order]


def test_it_learns_digits(tmp_path: Path) -> None:
    """At least 95% of unseen digits are right, also after saving and loading."""
    x, y = digits()
    model = network(None)
    model.fit(x[:1500], y[:1500], batch_size=32, epochs=5, verbose=0)
    _, accuracy = model.evaluate(x[1500:], y[1500:], verbose=0)
    assert accuracy >= 0.95
    model.save(tmp_path / "digits.gpunn")
    again = gpunn.models.load_model(tmp_path / "digits.gpunn")
    np.testing.assert_array_equal(
        again.predict(x[1500:], verbose=0), model.predict(x[1500:], verbose=0)
    )


@pytest.mark.parametrize("side", [8, 18])
@pytest.mark.parametrize("mode", [None, "plain", "persistent"])
def test_a_gpu_learns_the_same(
    gpu: str, mode: Any, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a ragged last batch, in each launch mode, also where a sample is larger than a slice."""
    if mode:
        monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    device = emulated.make_backend() if gpu == "emulated" else get_backend(gpu)
    assert_learns_the_same(device, side)


@pytest.mark.parametrize("backend", ["compiled"])
def test_compiled_kernels_learn_the_same(backend: str) -> None:
    assert_learns_the_same(backend)


def assert_learns_the_same(device: Any, side: int = 8) -> None:
    random = np.random.default_rng(0)
    x, y = random.random((19, side, side, 1), np.float32), random.integers(0, 10, 19)
    weights = []
    for backend in ("numpy", device):
        model = network(backend, side)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        weights.append(model.get_weights())
    assert_near(tuple(weights[1]), weights[0], 1e-5)


@pytest.mark.traced
def test_products_take_epilogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias and ReLU of a convolution, and the gradient of its bias."""
    monkeypatch.setattr(cupy_convolution, "RATE", 1e-30)  # the library computes it

    def hidden() -> list[Any]:
        first = gpunn.initializers.GlorotUniform(seed=1)
        convolution = layers.Conv2D(40, 2, activation="relu", kernel_initializer=first)
        return [layers.Reshape((4, 5, 1)), convolution, layers.Flatten()]

    device, spy = products.spied_backend(*products.KINDS)
    weights = products.trained(device, hidden)
    assert products.shares(spy) == {
        "relu": 2 / 8, "bias": 1 / 8, "bias_gradient": 3 / 8, "": 2 / 8
    }  # fmt: skip
    assert_near(tuple(weights), products.trained(get_backend("numpy"), hidden), 1e-5)


def test_every_number_of_blocks_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a convolution whose patches are not written."""
    monkeypatch.setattr(cupy_convolution, "RATE", np.inf)
    x = np.random.default_rng(0).standard_normal((40, 7, 6, 5)).astype(np.float32)
    found = []
    for blocks in (1, 3, 8):
        gpu = emulated.make_backend()
        gpu.kernels.blocks = blocks
        layer = layers.Conv2D(40, (2, 3), padding="same", activation="relu")
        found.append(both_ways(layer, x, backend=gpu))
    for one in zip(*found, strict=True):
        for other in one[1:]:
            np.testing.assert_array_equal(other, one[0])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_convolution_is_one_launch_and_writes_no_patches(activation: str) -> None:
    """Where that is predicted to be faster, on a GPU."""
    stack = [layers.Input((28, 28, 8)), layers.Conv2D(16, 3, activation=activation)]
    model = gpunn.Sequential([*stack, layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    operations = step_profile.profile_step(model, 64)
    (forward,) = (x for x in operations if x.name == "convolution")
    assert forward.launches == {"relu": 1, "tanh": 2}[activation]


def test_the_profile_of_a_step() -> None:
    model = network()
    operations = step_profile.profile_step(model, 32)
    products = [operation for operation in operations if operation.name.startswith("convolution")]
    assert [operation.flops for operation in products] == [
        2 * 32 * 64 * 9 * 16,
        2 * 32 * 16 * 9 * 16 * 32,
        2 * 2 * 32 * 16 * 9 * 16 * 32,  # the kernel's gradient, and the input's
        2 * 32 * 64 * 9 * 16,  # the first layer's input does not need a gradient
    ]
    assert [operation.formula for operation in products] == ["Relu"] * 4
    lines = step_profile.table(model, operations, 32).splitlines()
    assert any("max_pooling_gradient" in line for line in lines)
    assert max(map(len, lines)) <= step_profile.WIDTH


# -- rejected arguments


def test_shapes_that_are_no_images() -> None:
    for layer in (layers.Conv2D(2, 2), layers.MaxPooling2D(), layers.GlobalMaxPooling2D(),
                  layers.ZeroPadding2D()):  # fmt: skip
        with pytest.raises(ValueError, match=r"\(batch, height, width, channels\).*got \(.*28"):
            _ = gpunn.Sequential([layers.Input((28, 28)), layer]).output_shape
    with pytest.raises(ValueError, match=r"\(batch, channels, height, width\).*channels_first"):
        layers.MaxPooling2D(data_format="channels_first")(np.ones((2, 3, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "causal"}, "padding must be one of valid, same; got 'causal'"),
        ({"padding": "smae"}, "did you mean 'same'|'same'"),
        ({"data_format": "last"}, "data_format must be one of channels_last"),
        ({"strides": (1, 2, 3)}, "strides must be an integer or two"),
        ({"strides": 1.5}, "strides must be an integer"),
    ],
)
def test_arguments_that_are_none(arguments: dict, message: str) -> None:
    for make in (lambda **a: layers.Conv2D(2, 2, **a), layers.MaxPooling2D):
        with pytest.raises(ValueError, match=message):
            make(**arguments)


def test_a_window_larger_than_the_image_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"3 x 2 pixels .* 2 x 2.*padding='same'"):
        layers.AveragePooling2D((3, 2))(np.ones((1, 2, 2, 1)))


def test_another_number_of_channels() -> None:
    layer = layers.Conv2D(2, 2)
    layer(np.ones((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"(?i)built for inputs of shape \(4, 4, 3\)"):
        layer(np.ones((1, 4, 4, 2)))
