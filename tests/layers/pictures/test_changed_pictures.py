"""Test layers and operations that resize, crop and change pictures, beside Keras."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore")

MODES = ("reflect", "constant", "wrap", "nearest")
INTERPOLATIONS = ("bilinear", "nearest")


def pictures(count: int = 3, seed: int = 0, size: tuple[int, ...] = (9, 8, 3)) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, *size)) * 255).astype(np.float32)


# Of a range without width there is nothing to draw: then Keras's result is the same.
CERTAIN: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {**options, "fill_mode": mode, "interpolation": interpolation, "fill_value": 17.0})
        for (name, options), mode, interpolation in itertools.product(
            [
                ("RandomRotation", {"factor": (0.1, 0.1)}),
                ("RandomRotation", {"factor": (-0.3, -0.3)}),
                ("RandomZoom", {"height_factor": (0.3, 0.3)}),
                ("RandomZoom", {"height_factor": (-0.4, -0.4), "width_factor": (0.2, 0.2)}),
                ("RandomTranslation", {"height_factor": (0.3, 0.3), "width_factor": (-0.1, -0.1)}),
            ],
            MODES,
            INTERPOLATIONS,
        )
    ),
    ("RandomBrightness", {"factor": (0.3, 0.3)}),
    ("RandomBrightness", {"factor": (-0.2, -0.2), "value_range": (0, 200)}),
    ("RandomContrast", {"factor": (0.0, 0.0), "value_range": (20, 200)}),
    *(("CenterCrop", {"height": h, "width": w}) for h, w in [(4, 4), (8, 3), (12, 5), (20, 30)]),
    *(
        ("Resizing", {"height": h, "width": w, **more})  # type: ignore[dict-item]
        for (h, w), more in itertools.product(
            [(4, 4), (12, 5), (9, 8), (7, 20)],
            [
                {},
                {"interpolation": "nearest", "crop_to_aspect_ratio": True},
                {"interpolation": "bicubic", "pad_to_aspect_ratio": True, "fill_value": 3.0},
                {"interpolation": "bicubic", "antialias": True},
                {"antialias": True},
            ],
        )
    ),
]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("name", "options"), CERTAIN, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_result_is_keras_s(
    keras: Any, name: str, options: dict[str, Any], data_format: str
) -> None:
    ours = getattr(layers, name)(**options, data_format=data_format)
    theirs = getattr(keras.layers, name)(**options, data_format=data_format)
    x = pictures()
    x = x.transpose(0, 3, 1, 2) if data_format == "channels_first" else x
    for given in (x, x[0]):  # also of one picture
        expected = keras.ops.convert_to_numpy(theirs(given.copy(), training=True))
        assert_allclose(ours(given, training=True), expected, 1e-5, 2e-3)


NAMES = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation",
         "RandomContrast", "RandomBrightness", "RandomCrop")  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2, "fill_mode": "constant", "fill_value": 9.0},
    "RandomZoom": {"height_factor": 0.3, "width_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.2},
    "RandomContrast": {"factor": 0.5},
    "RandomBrightness": {"factor": 0.3},
    "RandomCrop": {"height": 5, "width": 6},
}


def make(name: str, **more: Any) -> Any:
    return getattr(layers, name)(**OPTIONS[name], **more)


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_draws_the_same(name: str, every_backend: str) -> None:
    x, found = pictures(6), []
    for backend in ("numpy", every_backend):
        gpunn.use_backend(backend)
        found.append(np.asarray(make(name, seed=5)(x, training=True)))
    if name in ("RandomFlip", "RandomCrop"):
        assert_array_equal(found[0], found[1])
    assert_allclose(found[0], found[1], 1e-5, 2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_change_in_training_only_and_each_by_itself(name: str, backend: str) -> None:
    x = np.repeat(pictures(1), 32, axis=0)  # two draws are never equal
    model = gpunn.Sequential([gpunn.Input(x.shape[1:]), make(name)], backend=backend)
    one, two = (np.asarray(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(one, two)
    assert len({picture.tobytes() for picture in one}) > 1
    calm = model.predict(x, verbose=0)
    if name != "RandomCrop":
        assert_array_equal(calm, x)
        assert_array_equal(model(x, training=False), x)
    assert_array_equal(calm, model.predict(x, verbose=0))
    assert not np.array_equal(model(x), model(x))  # as in Keras: called, it is in training


def augmented(backend: Any = None, seed: Any = None, **compiled: Any) -> Any:
    gpunn.utils.set_random_seed(3)
    inputs = gpunn.Input((9, 8, 3))
    x = gpunn.Sequential([make(name, seed=seed) for name in NAMES[:-1]])(inputs)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(layers.RandomCrop(5, 6)(x)))
    model = gpunn.Model(inputs, layers.Dense(2)(x), backend=backend)
    model.compile("sgd", "mse", **compiled)
    return model


def losses(model: Any, epochs: int, **options: Any) -> list[float]:
    y = np.random.default_rng(1).random((10, 2)).astype(np.float32)
    fitted = model.fit(pictures(10).astype(np.uint8), y, 4, epochs, verbose=0, **options)
    return fitted.history["loss"]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("seed", [None, 7])
def test_a_nested_chain_trains_alike_everywhere_and_when_resumed(
    seed: Any, every_backend: str, tmp_path: Path
) -> None:
    whole = losses(augmented(every_backend, seed), 4)
    assert_allclose(whole, losses(augmented("numpy", seed), 4), 1e-4)
    assert len(set(whole)) == 4
    first = augmented(every_backend, seed)
    losses(first, 2)
    first.save(tmp_path / "model.gpunn")
    gpunn.use_backend(every_backend)
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert losses(again, 2) == whole[2:]


def test_eager_steps_draw_the_same() -> None:
    whole = losses(augmented(), 2)
    assert_allclose(losses(augmented(run_eagerly=True), 2), whole, 1e-4)


def test_flips_are_fair_and_exact() -> None:
    x = pictures(1, size=(2, 3, 1))
    both = np.asarray(layers.RandomFlip(seed=1)(np.repeat(x, 4000, axis=0)))
    kinds = [x[0, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    counts = [sum(np.array_equal(y, kind) for y in both) for kind in kinds]
    assert sum(counts) == 4000 and min(counts) > 900
    across = np.asarray(layers.RandomFlip("horizontal", seed=1)(np.repeat(x, 100, axis=0)))
    assert {y.tobytes() for y in across} == {x[0].tobytes(), x[0, :, ::-1].tobytes()}


def test_each_place_of_a_crop_is_equally_likely() -> None:
    x = np.repeat(np.arange(12.0, dtype=np.float32).reshape(1, 3, 4, 1), 3000, axis=0)
    y = np.asarray(layers.RandomCrop(2, 2, seed=4)(x))
    places, counts = np.unique(y[:, 0, 0, 0], return_counts=True)
    assert places.tolist() == [0, 1, 2, 4, 5, 6] and counts.min() > 400
    assert_array_equal(y[:, 1, 1, 0], y[:, 0, 0, 0] + 5)


def test_the_ends_of_ranges() -> None:
    x = np.repeat(pictures(1), 2000, axis=0)
    spread = np.asarray(layers.RandomContrast(0.5, (-1000, 1000), seed=2)(x)).std((1, 2))
    ratio = spread[:, 0] / x[0].std((0, 1))[0]
    assert 0.5 <= ratio.min() < 0.51 and 1.49 < ratio.max() <= 1.5
    shift = np.asarray(layers.RandomBrightness(0.2, (-1000, 1000), seed=2)(x) - x)[:, 0, 0, 0]
    assert -400 <= shift.min() < -390 and 390 < shift.max() <= 400


def test_a_factor_of_zero_leaves_its_axis_alone(keras: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype("float32")
    rows, columns = x[:, :, :1].repeat(6, 2), x[:, :1].repeat(5, 1)  # equal along one axis
    for name, factor in (("RandomZoom", (0.4, 0.4)), ("RandomTranslation", (0.4, 0.4))):
        for first, second, still in ((factor, 0.0, columns), (0.0, factor, rows)):
            layer = getattr(layers, name)(first, second, fill_mode="nearest", seed=1)
            theirs = getattr(keras.layers, name)(first, second, fill_mode="nearest", seed=1)
            found = np.asarray(layer(x, training=True))
            # What is equal along the other axis stays as it is; anything else does not.
            assert_allclose(np.asarray(layer(still, training=True)), still, atol=1e-5)
            assert_allclose(np.asarray(theirs(still, training=True)), still, atol=1e-5)
            assert abs(found - x).max() > 0.1
            wanted = np.asarray(theirs(x, training=True))  # factors of one value: no chance
            assert_allclose(found, wanted, atol=1e-4)
        both = getattr(layers, name)(0.0, 0.0)
        assert_allclose(np.asarray(both(x, training=True)), x, atol=1e-6)


def test_gradients_by_the_pictures(backend: str) -> None:
    for name in NAMES:
        gpunn.testing.check_gradients(make(name, seed=2), (3, 6, 7, 2), backend=backend)


def test_a_data_set_is_changed_by_a_layer_in_map() -> None:
    x, y = pictures(8), np.arange(8)
    change = gpunn.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    data = gpunn.data.Dataset.from_tensor_slices((x, y)).batch(4)
    found = [np.asarray(a) for a, _ in data.map(lambda a, b: (change(a, training=True), b))]
    assert [a.shape for a in found] == [(4, 9, 8, 3)] * 2
    assert not np.array_equal(np.concatenate(found), x)


@pytest.mark.parametrize("fill_mode", [*MODES, "mirror"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_affine_transform(
    keras: Any, fill_mode: str, interpolation: str, every_backend: str
) -> None:
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(2)
    matrix = np.array([1.0, 0.2, -1.3, -0.3, 0.9, 0.7, 0.0, 0.0], np.float32)
    several = matrix + np.append(random.standard_normal((3, 6)) * 3, np.zeros((3, 2)), axis=1)
    for transform in (matrix, several.astype(np.float32)):
        options = interpolation, fill_mode, 2.5
        repeated = np.broadcast_to(transform, (3, 8)).copy()  # Keras writes to it
        expected = keras.ops.image.affine_transform(pictures(), repeated, *options)
        found = ops.image.affine_transform(pictures(), transform, *options)
        assert_allclose(found, keras.ops.convert_to_numpy(expected), 1e-5, 2e-3)
        graph = gpunn.Input((9, 8, 3))
        if transform is matrix:
            y = ops.image.affine_transform(graph, transform, *options)
            assert_allclose(gpunn.Model(graph, y).predict(pictures(), verbose=0), found, 1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_perspective_transform(keras: Any, interpolation: str, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    start = np.array([[0, 0], [7, 0], [0, 8], [7, 8]], np.float32)
    shifts = np.random.default_rng(3).uniform(-1.5, 1.5, (3, 4, 2)).astype("float32")
    options = interpolation, 2.5
    for first, last in ((start, start + shifts[0]), (start + shifts, start - shifts)):
        expected = keras.ops.image.perspective_transform(pictures(), first, last, *options)
        found = ops.image.perspective_transform(pictures(), first, last, *options)
        assert_allclose(found, keras.ops.convert_to_numpy(expected), 1e-4, 5e-3)
    one = ops.image.perspective_transform(pictures()[0], start, start + shifts[0], *options)
    x = gpunn.Input((9, 8, 3))
    y = ops.image.perspective_transform(x, start, start + shifts[0], *options)
    assert_allclose(gpunn.Model(x, y).predict(pictures(), verbose=0)[0], one, 1e-5)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill_mode", [*MODES, "mirror"])
def test_map_coordinates(keras: Any, fill_mode: str, order: int) -> None:
    """Beside Keras: the values, and the gradients with respect to both, by PyTorch there."""
    random = np.random.default_rng(4)
    for shape in ((7,), (5, 4), (3, 4, 2)):
        x = random.normal(size=shape).astype("float32")
        at = random.uniform(-3, 8, (len(shape), 2, 6)).astype("float32")
        given = [keras.ops.convert_to_tensor(a).requires_grad_() for a in (x, at)]
        expected = keras.ops.image.map_coordinates(*given, order, fill_mode, 0.5)
        (expected**2).sum().backward()
        variables = [gpunn.Variable(a) for a in (x, at)]
        with gpunn.GradientTape() as tape:
            image, places = variables
            found = ops.image.map_coordinates(image, places, order, fill_mode, 0.5)
            loss = ops.sum(found**2)
        assert_allclose(found, expected.detach().numpy(), 1e-4, 1e-5)
        for gradient, tensor in zip(tape.gradient(loss, variables), given, strict=True):
            if tensor.grad is not None:
                assert_allclose(gradient, tensor.grad.numpy(), 1e-3, 1e-4)
    whole = random.integers(0, 9, (5, 4))
    found = ops.image.map_coordinates(whole, at[:2], order, fill_mode)
    expected = keras.ops.image.map_coordinates(whole.astype("int32"), at[:2], order, fill_mode)
    assert found.dtype == "int32"
    assert_allclose(found, keras.ops.convert_to_numpy(expected))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
def test_map_coordinates_far_away(fill_mode: str, order: int) -> None:
    """Beside SciPy, where the next whole number is no float32."""
    x = np.arange(1.0, 6.0)
    at = np.array([[2.0**24, 2.0**24 + 2, -(2.0**24) - 6, 3e9, -3e9]])
    mode = {"constant": "grid-constant", "wrap": "grid-wrap"}.get(fill_mode, fill_mode)
    expected = ndimage.map_coordinates(x, at, order=order, mode=mode, cval=7.0)
    found = ops.image.map_coordinates(x, at, order, fill_mode, 7.0)
    assert_allclose(found, expected)


def test_integers_stay_integers(keras: Any) -> None:
    x = pictures().astype(np.uint8)
    found = ops.image.resize(x, (5, 13))
    expected = keras.ops.convert_to_numpy(keras.ops.image.resize(x, (5, 13))).astype(int)
    assert np.abs(np.asarray(found) - expected).max() <= 1  # halves are rounded
    assert (np.asarray(found) != expected).mean() < 0.02 and found.dtype == "int32"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.RandomFlip("left"), "mode must be one of horizontal"),
        (lambda: layers.RandomRotation(2), "factor must be a number, or two .* from -1 to 1"),
        (lambda: layers.RandomRotation(0.1, fill_mode="mirror"), "fill_mode must be one of"),
        (lambda: layers.RandomContrast(-0.1), "factor must be a number, or two .* from 0 to 1"),
        (lambda: layers.RandomBrightness(0.1, 255), "value_range must hold the lowest"),
        (lambda: layers.Resizing(0, 3), "height must be a positive integer"),
        (lambda: layers.Resizing(2, 3, "lanczos4"), "interpolation must be one of"),
        (
            lambda: layers.Resizing(2, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
            "exclude each other",
        ),
        (lambda: layers.RandomFlip()(np.zeros((2, 4))), "inputs of 4 axes"),
        (lambda: ops.image.affine_transform(pictures(), [1.0, 0]), "transform must hold 8"),
        (lambda: ops.image.affine_transform(pictures(), [1.0] * 8), "of a projection"),
        (lambda: ops.image.resize(np.zeros((2, 2)), (3, 3)), "images .* are expected"),
        (
            lambda: ops.image.perspective_transform(pictures(), np.ones((4, 2)), np.ones((3, 2))),
            r"end_points must be \(4, 2\), or \(batch, 4, 2\) for 3 images",
        ),
        (lambda: ops.image.map_coordinates(np.ones((2, 2)), [[1.0]], 1), r"shape \(2, \.\.\.\)"),
        (lambda: ops.image.map_coordinates(np.ones(2), [[1.0]], 3), "order must be 0 or 1; got 3"),
    ],
)
def test_errors_say_what_is_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
