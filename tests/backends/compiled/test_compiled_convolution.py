"""The compiled image operations, compared with their definitions for every instruction set, size
and number of threads."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import gpunn
from gpunn.backends.compiled import convolution as compiled_convolution
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.shared.geometry import Geometry

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))
LINEAR, RELU = gpunn.activations.get("linear"), gpunn.activations.get("relu")


@pytest.fixture(params=cpu_kernels.INSTRUCTIONS)
def backend(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from gpunn.backends.compiled.backend import CompiledBackend

    monkeypatch.setenv("GPUNN_INSTRUCTIONS", request.param)
    try:
        return CompiledBackend()
    except RuntimeError as error:
        pytest.skip(str(error))


@st.composite
def geometries(draw: Any, dilated: bool = True) -> Geometry:
    window = draw(st.tuples(*[st.integers(1, 4)] * 2))
    strides, dilation = (draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(2))
    padding = draw(st.sampled_from(["valid", "same"]))
    if not dilated or max(strides) > 1:
        dilation = (1, 1)
    span = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    image = tuple(draw(st.integers(n, n + 6)) for n in span)
    return Geometry.fit(image, window, strides, padding, dilation)


def whole_numbers(random: Any, *shape: int) -> np.ndarray:
    """Return integers so small that each sum of products is exact."""
    return random.integers(-4, 5, shape).astype(np.float64)


def patches(x: np.ndarray, g: Geometry, beside: float = 0.0) -> np.ndarray:
    """Return each cell of each window, (samples, windows, cells, channels), by definition."""
    cells = np.full((len(x), *g.windows, *g.window, x.shape[-1]), beside)
    for i, j, r, s in np.ndindex(*g.windows, *g.window):
        y = i * g.strides[0] - g.padding[0] + r * g.dilation[0]
        column = j * g.strides[1] - g.padding[1] + s * g.dilation[1]
        if 0 <= y < g.image[0] and 0 <= column < g.image[1]:
            cells[:, i, j, r, s] = x[:, y, column]
    return cells.reshape(len(x), g.windows[0] * g.windows[1], g.cells, -1)


def to_pixels(cells: np.ndarray, g: Geometry) -> np.ndarray:
    """Add cells back to the pixels they came from: the transpose of `patches`."""
    n, channels = len(cells), cells.shape[-1]
    size = g.image[0] * g.image[1]
    places = patches(np.arange(1.0, size + 1).reshape(1, *g.image, 1), g).astype(int).ravel()
    sums = np.zeros((size + 1, n, channels))
    np.add.at(sums, places, cells.reshape(n, -1, channels).swapaxes(0, 1))
    return sums[1:].swapaxes(0, 1).reshape(n, *g.image, channels)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    geometry=geometries(), n=st.integers(1, 5), channels=st.sampled_from([1, 2, 3, 7, 16, 19]),
    filters=st.sampled_from([1, 3, 8, 16, 17, 32, 37]), groups=st.sampled_from([1, 1, 2, 5, 33]),
    dtype=st.sampled_from(["f4", "f8"]),
    adds=st.booleans(), seed=st.integers(0, 9), small=st.booleans(),
)  # fmt: skip
def test_convolution_is_what_it_is_defined_as(
    geometry: Geometry, n: int, channels: int, filters: int, groups: int, dtype: str, adds: bool,
    seed: int, small: bool,
) -> None:  # fmt: skip
    """Integers make this exact; in one piece, and in several pieces of one sample each. Channels
    and filters are those of each of the groups."""
    if cpu_kernels.why_not():
        return
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(compiled_convolution, "FLOPS", 0)
            patch.setattr(compiled_convolution, "GROUP", 1)
        if groups == 33:  # more than a vector has elements: one filter for each channel
            channels = filters = 1
        sizes = n, channels * groups, filters * groups
        check_convolution(geometry, *sizes, dtype, adds, seed, groups=groups)


def check_convolution(
    g: Geometry, n: int, channels: int, filters: int, dtype: str, adds: bool, seed: int,
    backend: Any = None, groups: int = 1,
) -> None:  # fmt: skip
    from gpunn.backends.compiled.backend import CompiledBackend

    backend = backend or CompiledBackend()
    random = np.random.default_rng(seed)
    x = whole_numbers(random, n, *g.image, channels)
    deep = channels // groups
    kernel = whole_numbers(random, *g.window, deep, filters)
    bias, dy = whole_numbers(random, filters), whole_numbers(random, n, *g.windows, filters)
    before = [whole_numbers(random, *shape) for shape in (kernel.shape, bias.shape, x.shape)]
    own = np.arange(channels)[:, None] // deep == np.arange(filters) // (filters // groups)
    whole = np.tile(kernel, (1, 1, groups, 1)) * own  # 0 between groups
    rows, matrix = patches(x, g).reshape(-1, g.cells * channels), whole.reshape(-1, filters)
    y = np.maximum(rows @ matrix + bias, 0).reshape(dy.shape)
    dz = np.where(y > 0, dy, 0).reshape(-1, filters)
    shape = n, g.windows[0] * g.windows[1], g.cells, channels
    wanted = [
        ((rows.T @ dz).reshape(whole.shape) * own).reshape(*g.window, groups, *kernel.shape[2:])
        .sum(2), dz.sum(0),
        to_pixels((dz @ matrix.T).reshape(shape), g),
    ]  # fmt: skip
    if adds:
        wanted = [a + b for a, b in zip(wanted, before, strict=True)]
    x, kernel, bias, dy, *before = (a.astype(dtype) for a in (x, kernel, bias, dy, *before))
    out = np.empty_like(dy)
    backend.convolution(x, kernel, bias, RELU, g, out, out)
    backend.convolution_gradient(x, kernel, RELU, g, out, dy, *before, adds, adds)
    np.testing.assert_array_equal(out, y)
    np.testing.assert_array_equal(dy, dz.reshape(dy.shape))
    for ours, expected in zip(before, wanted, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_convolution_with_each_instruction_set(backend: Any) -> None:
    for sizes in ((3, 2, 33), (2, 17, 5), (150, 1, 8)):
        for padding in ("valid", "same"):
            geometry = Geometry.fit((6, 5), (3, 2), (1, 1), padding)
            for dtype in ("f4", "f8"):
                check_convolution(geometry, *sizes, dtype, True, 0, backend)
                n, _, filters = sizes
                check_convolution(
                    geometry, n, filters, filters, dtype, True, 0, backend, groups=filters
                )


@pytest.mark.parametrize("name", ["tanh", "swish", "softmax", "no functor"])
def test_each_kind_of_activation(backend: Any, name: str) -> None:
    """Activations that save their output or input, one over whole rows, and one only NumPy has."""
    activation = gpunn.activations.get("tanh" if name == "no functor" else name)
    if name == "no functor":
        activation.functor = None
    numpy: Any = gpunn.backends.get_backend("numpy")
    geometry = Geometry.fit((4, 5), (2, 2), (1, 1), "same")
    random = np.random.default_rng(0)
    x, kernel, bias = random.normal(size=(3, 4, 5, 6)), random.normal(size=(2, 2, 6, 9)), np.ones(9)
    found = []
    for one in (numpy, backend):
        z, dy = np.empty((3, 4, 5, 9)), np.linspace(-1, 1, 540).reshape(3, 4, 5, 9)
        out = np.empty_like(z) if activation.saves == "input" else z
        one.convolution(x, kernel, bias, activation, geometry, z, out)
        gradients = [np.empty_like(a) for a in (kernel, bias, x)]
        one.convolution_gradient(x, kernel, activation, geometry, z, dy, *gradients)
        found.append((z, out, dy, *gradients))
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-13 * np.linalg.norm(theirs)


def test_threads_change_no_bit(backend: Any) -> None:
    geometry = Geometry.fit((14, 14), (3, 3), (1, 1), "same")
    pooled = Geometry.fit((14, 14), (3, 3), (2, 2), "same")
    random = np.random.default_rng(0)
    x = random.normal(size=(128, 14, 14, 24)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 24, 40)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        backend.library.set_threads(threads)
        y, dx = np.empty((128, 14, 14, 40), np.float32), np.empty_like(x)
        dkernel, dbias = np.empty_like(kernel), np.empty(40, np.float32)
        backend.convolution(x, kernel, None, RELU, geometry, y, y)
        largest, d_pixels = np.empty((128, 7, 7, 24), np.float32), np.empty_like(x)
        backend.max_pooling(x, pooled, largest)
        backend.max_pooling_gradient(x, largest, largest, pooled, d_pixels)
        dy = y.copy()
        backend.convolution_gradient(x, kernel, RELU, geometry, y, dy, dkernel, dbias, dx)
        found.append((y, largest, d_pixels, dy, dkernel, dbias, dx))
    backend.library.set_threads(1)
    for others in found[1:]:
        for ours, first in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(ours, first)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    geometry=geometries(dilated=False), channels=st.integers(1, 40), seed=st.integers(0, 9),
    dtype=st.sampled_from(["f4", "f8"]), adds=st.booleans(),
)  # fmt: skip
def test_pooling_is_what_it_is_defined_as(
    geometry: Geometry, channels: int, seed: int, dtype: str, adds: bool
) -> None:
    """Many pixels are equal: the first of the largest gets the gradient."""
    if cpu_kernels.why_not():
        return
    from gpunn.backends.compiled.backend import CompiledBackend

    check_pooling(CompiledBackend(), geometry, channels, seed, dtype, adds)


def check_pooling(
    backend: Any, g: Geometry, channels: int, seed: int, dtype: str, adds: bool
) -> None:
    random = np.random.default_rng(seed)
    x, n = random.integers(0, 3, (2, *g.image, channels)).astype(dtype), 2
    shape = n, *g.windows, channels
    cells = patches(x, g, -np.inf)  # (samples, windows, cells, channels)
    inside = np.isfinite(cells)
    dy, before = whole_numbers(random, *shape), whole_numbers(random, *x.shape)
    flat = dy.reshape(n, -1, 1, channels)
    first = cells.argmax(axis=2)[:, :, None] == np.arange(g.cells)[:, None]
    shares = inside / inside.sum(axis=2, keepdims=True)
    mean = (np.where(inside, cells, 0) * shares).sum(axis=2)
    out, dx = np.empty(shape, dtype), before.astype(dtype)
    backend.max_pooling(x, g, out)
    np.testing.assert_array_equal(out.reshape(n, -1, channels), cells.max(axis=2))
    backend.max_pooling_gradient(x, out, dy.astype(dtype), g, dx, adds)
    np.testing.assert_array_equal(dx, to_pixels(first * flat, g) + adds * before)
    backend.average_pooling(x, g, out)
    np.testing.assert_allclose(out.reshape(n, -1, channels), mean, 1e-6)
    dx = before.astype(dtype)
    backend.average_pooling_gradient(dy.astype(dtype), g, dx, adds)
    np.testing.assert_allclose(dx, to_pixels(shares * flat, g) + adds * before, 1e-5, 1e-5)


def test_pooling_with_each_instruction_set(backend: Any) -> None:
    for strides, padding in (((2, 2), "valid"), ((1, 2), "same")):
        for size, channels in (((6, 8), 19), ((5, 5), 32)):
            geometry = Geometry.fit(size, (2, 2), strides, padding)
            check_pooling(backend, geometry, channels, 0, "f4", padding == "same")


def test_pooling_of_long_rows(backend: Any) -> None:
    """With few channels, several windows of a row are pooled at a time."""
    for strides, channels in (((1, 1), 1), ((1, 1), 3), ((2, 2), 1), ((2, 3), 1)):
        geometry = Geometry.fit((3, 1100), (2, 3), strides, "same")
        check_pooling(backend, geometry, channels, 0, "f8", True)


def test_what_is_not_a_number_is_the_largest(backend: Any) -> None:
    x, out = np.zeros((1, 2, 2, 17), np.float32), np.empty((1, 1, 1, 17), np.float32)
    for channel in range(17):
        x[0].reshape(4, 17)[channel % 4, channel] = np.nan
    backend.max_pooling(x, Geometry.fit((2, 2), (2, 2), (2, 2), "valid"), out)
    assert np.isnan(out).all()


@pytest.mark.parametrize("offset", [(0, 0), (-2, -1), (1, 2), (-9, 0), (0, 9), (3, -2)])
def test_crop_or_pad(backend: Any, offset: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3))
    wide = np.pad(x, ((0, 0), (20, 20), (20, 20), (0, 0)))
    top, left = (20 + n for n in offset)
    wanted, out = wide[:, top : top + 4, left : left + 7], np.full((2, 4, 7, 3), np.nan)
    backend.crop_or_pad(x, offset, out)
    np.testing.assert_array_equal(out, wanted)
    backend.crop_or_pad(x, offset, out, accumulate=True)
    np.testing.assert_array_equal(out, 2 * wanted)


@pytest.mark.parametrize("shape", [(3, 1, 5), (2, 16, 16), (2, 37, 19), (1, 33, 64)])
def test_swap_axes(backend: Any, shape: tuple[int, ...]) -> None:
    for dtype in ("f4", "f8"):
        x = np.random.default_rng(0).normal(size=shape).astype(dtype)
        out = np.empty((shape[0], shape[2], shape[1]), dtype)
        backend.swap_axes(x, out)
        np.testing.assert_array_equal(out, x.swapaxes(1, 2))
        backend.swap_axes(x, out, accumulate=True)
        np.testing.assert_array_equal(out, 2 * x.swapaxes(1, 2))


def test_a_step_needs_no_python(backend: Any) -> None:
    """Each operation is one call of a program."""
    geometry = Geometry.fit((6, 6), (3, 3), (1, 1), "same")
    x, kernel, bias = np.ones((4, 6, 6, 3)), np.ones((3, 3, 3, 5)), np.ones(5)
    y, dy, dx = np.ones((4, 6, 6, 5)), np.ones((4, 6, 6, 5)), np.ones_like(x)
    dkernel, dbias, most = np.ones_like(kernel), np.ones_like(bias), np.ones_like(y)
    own = backend.isolated()

    def step() -> None:
        own.convolution(x, kernel, bias, RELU, geometry, y, y)
        own.max_pooling(y, geometry, most)
        own.max_pooling_gradient(y, most, dy, geometry, np.ones_like(y))
        own.average_pooling(y, geometry, dy)
        own.average_pooling_gradient(dy, geometry, y)
        own.convolution_gradient(x, kernel, RELU, geometry, y, dy, dkernel, dbias, dx)
        own.crop_or_pad(x, (1, 1), dx, True)
        own.swap_axes(x.reshape(4, 36, 3), dx.reshape(4, 3, 36))

    calls = own.trace(step).calls
    assert len(calls) == 8
    assert all(isinstance(call, own.library.Bound) for call in calls)
