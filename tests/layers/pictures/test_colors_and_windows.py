"""Layers that change colors, blur, shear, erase and mix pictures at random, beside Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore")


def pictures(count: int = 3, seed: int = 0, size: tuple[int, ...] = (9, 8, 3)) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, *size)) * 255).astype(np.float32)


def first(x: np.ndarray) -> np.ndarray:
    """The same pictures with channels first."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


# Of a range without width there is nothing to draw: then Keras's result is the same.
CERTAIN: list[tuple[str, dict[str, Any]]] = [
    ("RandomSaturation", {"factor": (0.3, 0.3)}),
    ("RandomSaturation", {"factor": (0.0, 0.0)}),
    ("RandomColorDegeneration", {"factor": (0.4, 0.4), "value_range": (20, 200)}),
    ("RandomGrayscale", {"factor": 1.0}),
    ("RandomGrayscale", {"factor": 0.0}),
    ("RandomHue", {"factor": (1.0, 1.0)}),  # half a turn to either side
    ("RandomHue", {"factor": (0.0, 0.0)}),
    ("RandomInvert", {"factor": (1.0, 1.0)}),
    ("RandomInvert", {"factor": (0.0, 0.0)}),
    ("RandomPosterization", {"factor": (3, 3)}),
    ("RandomPosterization", {"factor": (8, 8), "value_range": (0, 300)}),
    ("Solarization", {}),
    ("RandomColorJitter", {"brightness_factor": (0.1, 0.1), "contrast_factor": (0.0, 0.0),
                           "saturation_factor": (0.4, 0.4), "hue_factor": (0.0, 0.0)}),
    ("RandomSharpness", {"factor": (0.2, 0.2)}),
    ("RandomSharpness", {"factor": (0.9, 0.9), "value_range": (20, 200)}),
    ("RandomGaussianBlur", {"factor": (1.0, 1.0), "kernel_size": 5, "sigma": (0.7, 0.7)}),
    ("RandomGaussianBlur", {"factor": (0.0, 0.0), "value_range": (20, 200)}),
    ("RandomErasing", {"factor": (1.0, 1.0), "scale": (1.0, 1.0), "fill_value": 9.0}),
    ("RandomErasing", {"factor": (0.0, 0.0)}),
    ("RandomShear", {}),
    ("AutoContrast", {"value_range": (0, 300)}),
]  # fmt: skip


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(("name", "options"), CERTAIN, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_result_is_keras_s(
    keras: Any, name: str, options: dict[str, Any], data_format: str
) -> None:
    options = {"value_range": (0, 255), **options}
    if name in ("RandomGrayscale", "RandomShear"):
        del options["value_range"]
    ours = getattr(layers, name)(**options, data_format=data_format)
    theirs = getattr(keras.layers, name)(**options)  # with channels first, Keras has defects
    for x in (pictures(), pictures()[0]):  # also of one picture
        expected = keras.ops.convert_to_numpy(theirs(x.copy(), training=True))
        given = np.moveaxis(x, -1, -3) if data_format == "channels_first" else x
        found = np.asarray(ours(given, training=True))
        found = np.moveaxis(found, -3, -1) if data_format == "channels_first" else found
        assert_allclose(found, expected, 1e-4, 5e-3)


@pytest.mark.parametrize(("name", "options"), [
    ("RandomHue", {"factor": (0.3, 0.3)}),
    *(("RandomShear", {"x_factor": (0.4, 0.4), "y_factor": (0.2, 0.2), "fill_mode": mode,
                       "interpolation": kind, "fill_value": 7.0})
      for mode in ("reflect", "constant", "wrap", "nearest") for kind in ("bilinear", "nearest")),
], ids=str)  # fmt: skip
def test_to_either_side(keras: Any, name: str, options: dict[str, Any]) -> None:
    x = np.repeat(pictures(1), 12, axis=0)
    found = np.asarray(getattr(layers, name)(**options, seed=1)(x))
    theirs = getattr(keras.layers, name)(**options, seed=1)
    wanted = keras.ops.convert_to_numpy(theirs(x.copy(), training=True))
    sides = [np.unique(y.round(1), axis=0) for y in (found, wanted)]
    assert len(np.unique(sides[0].round(0), axis=0)) == 2
    for one, others in ((found, wanted), (wanted, found)):
        for y in one:
            assert min(np.abs(y - other).max() for other in others) < 0.02


def test_pixels_of_each_value(keras: Any) -> None:
    """As Pillow changes pictures of bytes."""
    images, ops = (pytest.importorskip(f"PIL.{name}") for name in ("Image", "ImageOps"))
    x = np.arange(256, dtype=np.uint8).reshape(16, 16)
    given = x[None, :, :, None].astype(np.float32)
    picture = images.fromarray(x)
    for n in range(1, 9):
        found = layers.RandomPosterization((n, n))(given)
        assert_array_equal(np.asarray(found)[0, :, :, 0], np.asarray(ops.posterize(picture, n)))
    for limit in (0.0, 0.3, 1.0):
        found = layers.Solarization(threshold_factor=(limit, limit))(given)
        expected = np.asarray(ops.solarize(picture, limit * 255))
        assert_array_equal(np.asarray(found)[0, :, :, 0], expected)
    more = layers.Solarization((0.2, 0.2), (1.0, 1.0))(given)
    expected = np.minimum(x + 51.0, 255.0)
    assert_allclose(np.asarray(more)[0, :, :, 0], np.where(expected < 255, expected, 0))


@pytest.mark.parametrize("value_range", [(0, 255), (-1, 1)])
@pytest.mark.parametrize("bins", [256, 16])
def test_each_picture_is_equalized(
    keras: Any, every_backend: str, bins: int, value_range: tuple[int, int]
) -> None:
    gpunn.use_backend(every_backend)
    low, high = value_range
    x = (pictures(3) ** 2 / 255**2 * (high - low) + low).astype(np.float32)
    x[1, :, :, 1] = x[1, 0, 0, 1]  # a channel of one value stays
    found = np.asarray(layers.Equalization(value_range, bins)(x))
    theirs = keras.layers.Equalization(value_range, bins)
    for own, y in zip(x, found, strict=True):
        wanted = keras.ops.convert_to_numpy(theirs(own[None], training=True))[0]
        assert np.abs(y - wanted).max() < 1e-4 * (high - low)
    assert_allclose(found[1, :, :, 1], x[1, :, :, 1])
    assert np.ptp(found[0]) > 0.99 * (high - low)


NAMES: dict[str, dict[str, Any]] = {
    "RandomHue": {"factor": 0.5},
    "RandomSaturation": {"factor": 0.9},
    "RandomColorDegeneration": {"factor": 0.8},
    "RandomGrayscale": {},
    "RandomInvert": {},
    "RandomPosterization": {"factor": 5},
    "Solarization": {"addition_factor": 0.3, "threshold_factor": 0.8},
    "RandomColorJitter": {"brightness_factor": 0.2, "contrast_factor": 0.3,
                          "saturation_factor": 0.9, "hue_factor": 0.5},
    "RandomSharpness": {"factor": 1.0},
    "RandomGaussianBlur": {"kernel_size": 3, "sigma": (0.4, 1.0)},
    "RandomErasing": {},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.2},
    "MixUp": {"alpha": 0.6},
    "CutMix": {},
}  # fmt: skip


def make(name: str, **more: Any) -> Any:
    return getattr(layers, name)(**NAMES[name], **more)


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("name", NAMES)
def test_every_backend_draws_the_same(name: str, every_backend: str) -> None:
    x, found = pictures(6), []
    for backend in ("numpy", every_backend):
        gpunn.use_backend(backend)
        found.append(np.asarray(make(name, seed=5)(x, training=True)))
    assert_allclose(found[0], found[1], 1e-5, 5e-3)
    turned = make(name, seed=5, data_format="channels_first")(first(x), training=True)
    assert_allclose(turned, first(found[1]), 1e-5, 5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_change_in_training_only_and_each_by_itself(name: str, backend: str) -> None:
    x = pictures(8) if "Mix" in name else np.repeat(pictures(1), 32, axis=0)
    model = gpunn.Sequential([gpunn.Input(x.shape[1:]), make(name)], backend=backend)
    one, two = (np.asarray(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(one, two)
    assert len({picture.tobytes() for picture in one}) > 1
    for calm in (model.predict(x, verbose=0), model(x, training=False)):
        assert_array_equal(calm, x)
    assert not np.array_equal(one, x) and one.min() >= 0 and one.max() <= 255


def test_the_whole_range_of_each_number() -> None:
    """A number f alone is a range from 0, and both ends of a range are drawn."""
    x = np.zeros((4000, 1, 1, 3), np.float32)
    x[..., 0] = 100
    gray = np.asarray(layers.RandomColorDegeneration(0.8, seed=1)(x))[:, 0, 0, 1]
    assert 0 <= gray.min() < 0.2 and 23.7 < gray.max() <= 0.8 * 29.89 + 1e-3
    assert gray.mean() == pytest.approx(0.4 * 29.89, rel=0.05)
    bits = np.asarray(layers.RandomPosterization((2, 4), seed=1)(x + 255 - x))[:, 0, 0, 0]
    values, counts = np.unique(bits, return_counts=True)
    assert values.tolist() == [192, 224, 240] and counts.min() > 1200
    for chance, wanted in ((0.3, 0.3), (1.0, 1.0)):
        found = np.asarray(layers.RandomGrayscale(chance, seed=2)(x))[:, 0, 0, 1] > 0
        assert found.mean() == pytest.approx(wanted, abs=0.03)
    inverted = np.asarray(layers.RandomInvert(1.0, seed=2)(x))[:, 0, 0, 1] > 0
    assert inverted.mean() == pytest.approx(0.5, abs=0.03)  # of a probability from 0 to 1
    sides = np.asarray(layers.RandomHue(0.5, seed=1)(x))[:, 0, 0]
    assert (sides[:, 1] > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert not np.logical_and(sides[:, 1] > 0, sides[:, 2] > 0).any()


def test_a_range_that_does_not_begin_at_0() -> None:
    """Pictures from -1 to 1 are changed as those from 0 to 255 are."""
    x = pictures()
    for name, options in {**NAMES, "AutoContrast": {}, "Equalization": {}}.items():
        if name in ("RandomGrayscale", "RandomShear", "MixUp", "CutMix", "RandomSharpness",
                    "RandomGaussianBlur", "RandomErasing"):  # fmt: skip
            continue  # which have no range, or take pixels outside for 0
        more = {} if name in ("AutoContrast", "Equalization") else {"seed": 4}
        make_it = getattr(layers, name)
        bytes_, ones = (make_it(**options, **more, value_range=r) for r in ((0, 255), (-1, 1)))
        found = (np.asarray(ones(x / 127.5 - 1, training=True)) + 1) * 127.5
        close = np.isclose(found, np.asarray(bytes_(x, training=True)), 1e-3, 0.05)
        assert close.mean() > 0.99, name  # some bins and bits differ by rounding


def test_each_picture_is_blurred_by_its_own_deviation() -> None:
    x = np.zeros((50, 5, 5, 1), np.float32)
    x[:, 2, 2] = 100
    y = np.asarray(layers.RandomGaussianBlur((1.0, 1.0), 3, (0.3, 1.0), seed=1)(x))
    assert len(np.unique(y[:, 2, 2].round(3))) > 40
    assert_allclose(y.sum((1, 2, 3)), 100, 1e-4)
    ratios = [np.log(y[:, 2, 2] / side) for side in (y[:, 2, 1], y[:, 1, 2])]  # 1 / (2 sigma^2)
    sigmas = [np.sqrt(0.5 / r) for r in ratios]
    assert min(s.min() for s in sigmas) > 0.299 and max(s.max() for s in sigmas) < 1.001
    assert abs(sigmas[0] - sigmas[1]).max() > 0.3  # each direction has its own


def test_a_box_is_as_large_as_asked_and_anywhere() -> None:
    x = np.full((3000, 10, 12, 1), 5, np.float32)
    y = np.asarray(layers.RandomErasing((1.0, 1.0), (0.25, 0.25), 0, seed=3)(x))[..., 0] == 0
    assert set(y.sum((1, 2))) == {30}  # 5 x 6
    assert_array_equal(y.any(2).sum(1), 5)
    assert_array_equal(y.any(1).sum(1), 6)
    tops = np.bincount(y.any(2).argmax(1), minlength=6)
    assert len(tops) == 6 and tops[1:5].min() > 500
    noise = np.asarray(layers.RandomErasing((1.0, 1.0), (1.0, 1.0), seed=3)(x[:20]))
    assert (noise == 0).mean() == pytest.approx(0.5, abs=0.05) and noise.max() <= 255
    three = np.asarray(layers.RandomErasing((1.0, 1.0), (1.0, 1.0), [1, 2, 300])(pictures()))
    assert_array_equal(three, np.broadcast_to([1.0, 2.0, 255.0], three.shape))


@pytest.mark.parametrize(("name", "options", "spread"), [
    ("MixUp", {"alpha": 1.0}, 1 / 12), ("MixUp", {"alpha": 0.2}, 1 / 5.6),
    ("CutMix", {"factor": (1.0, 1.0)}, 1 / 12),
])  # fmt: skip
def test_the_shares_of_mixed_pictures(name: str, options: dict[str, Any], spread: float) -> None:
    """Those of a beta distribution, whose variance is 1 / (8 alpha + 4)."""
    n = 1000
    labels = np.eye(n, dtype=np.float32)
    x = np.ones((n, 20, 20, 1), np.float32) * np.arange(n, dtype=np.float32)[:, None, None, None]
    y = getattr(layers, name)(**options, seed=1)({"images": x, "labels": labels})
    mixed, found = np.asarray(y["images"]), np.asarray(y["labels"])
    assert_allclose(found.sum(1), 1, 1e-5)
    own = np.diagonal(found)
    assert own.mean() == pytest.approx(0.5, abs=0.03)
    assert own.var() == pytest.approx(spread, rel=0.1)
    assert_allclose(found @ np.arange(n), mixed.mean((1, 2, 3)), 1e-3, 1e-2)
    partners = (found - np.diag(own)).argmax(1)
    assert len(set(partners[own < 0.999])) == (own < 0.999).sum()  # each has one of its own
    again = getattr(layers, name)(**options)
    few = {"images": x[:4], "labels": labels[:4, :4]}
    ahead = {np.asarray(again(few)["labels"])[0, 1:].argmax() for _ in range(40)}
    assert ahead == {0, 1, 2}  # drawn in each step, and never itself


def test_a_data_set_is_mixed_in_map() -> None:
    x, y = pictures(8), gpunn.utils.to_categorical(np.arange(8) % 3, 3)
    data = gpunn.data.Dataset.from_tensor_slices((x, y)).batch(4)
    for layer in (layers.MixUp(1.0), layers.CutMix()):

        def mix(a: Any, b: Any, layer: Any = layer) -> Any:
            mixed = layer({"images": a, "labels": b}, training=True)
            return mixed["images"], mixed["labels"]

        found = [[np.asarray(part) for part in pair] for pair in data.map(mix)]
        assert [a.shape for a, _ in found] == [(4, 9, 8, 3)] * 2
        assert not np.array_equal(np.concatenate([a for a, _ in found]), x)
        assert_allclose(np.concatenate([b for _, b in found]).sum(1), 1, 1e-5)
    calm = layers.MixUp()({"images": x, "labels": y}, training=False)
    assert_array_equal(calm["images"], x)
    assert_array_equal(calm["labels"], y)


def augmented(backend: Any, seed: Any) -> Any:
    gpunn.utils.set_random_seed(3)
    chain = [make(name, seed=seed) for name in NAMES]
    chain += [layers.AutoContrast(), layers.Equalization(bins=32), layers.Rescaling(1 / 255)]
    model = gpunn.Sequential(
        [gpunn.Input((9, 8, 3)), *chain, layers.Flatten(), layers.Dense(2)], backend=backend
    )
    model.compile("sgd", "mse")
    return model


def losses(model: Any, epochs: int) -> list[float]:
    y = np.random.default_rng(1).random((10, 2)).astype(np.float32)
    return model.fit(pictures(10), y, 4, epochs, verbose=0).history["loss"]


@pytest.mark.in_turn(6)
@pytest.mark.parametrize("seed", [None, 7])
def test_a_chain_trains_and_is_resumed(seed: Any, every_backend: str, tmp_path: Path) -> None:
    model = augmented(every_backend, seed)
    losses(model, 1)
    model.save(tmp_path / "model.gpunn")
    rest = losses(model, 2)
    gpunn.use_backend(every_backend)
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert losses(again, 2) == rest and len(set(rest)) == 2


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("name", [*NAMES, "AutoContrast", "Equalization"])
def test_a_pixel_that_is_no_number_stays_one(name: str, every_backend: str) -> None:
    if name in ("RandomShear", "RandomGaussianBlur", "RandomSharpness"):
        return  # whose pixels are sums over others
    gpunn.use_backend(every_backend)
    x = pictures(4)
    x[0, 2, 3, 0] = np.nan
    options = {**NAMES.get(name, {}), **({"seed": 4} if name in NAMES else {})}
    y = np.asarray(getattr(layers, name)(**options)(x, training=True))
    pixels = np.isnan(y).any(-1)
    if "Mix" in name or name == "RandomErasing":
        assert pixels.sum() <= 2
    else:  # the contrast of a color jitter is of the mean of all pixels
        assert pixels[0, 2, 3] and pixels.sum() == (72 if name == "RandomColorJitter" else 1)


def test_keras_reads_their_configurations_and_they_keras_s(keras: Any) -> None:
    for name, options in NAMES.items():
        layer = getattr(layers, name)(**options, seed=3)
        theirs = getattr(keras.layers, name)(**options, seed=3)
        own = {k: v for k, v in layer.get_config().items() if k not in ("name", "trainable")}
        assert set(own) <= {*theirs.get_config(), "data_format", "seed"}, name
        given = {k: v for k, v in theirs.get_config().items() if k != "dtype"}
        again = type(layer).from_config(given | {"name": "a", "seed": 3})
        if name not in ("RandomSaturation", "RandomColorDegeneration"):  # one number is (-f, f)
            assert_allclose(again(pictures()), layer(pictures()), 1e-5, 1e-3)
        type(theirs).from_config(own)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.RandomHue(0.5)(pictures(size=(4, 4, 2))), "three channels, red"),
        (lambda: layers.RandomGrayscale(0.5)(pictures(size=(4, 4, 2))), "three channels, red"),
        (lambda: layers.RandomSaturation(1.5), "factor must be a number, or two"),
        (lambda: layers.RandomPosterization(0), "factor must be a number, or two .* from 1 to 8"),
        (lambda: layers.RandomPosterization((1, 2.5)), "factor must be whole numbers of bits"),
        (lambda: layers.RandomGaussianBlur(1.0, 4), "kernel_size must be an odd number"),
        (lambda: layers.RandomErasing(fill_value=[1, 2]), "fill_value must be None, a number"),
        (
            lambda: layers.RandomErasing(fill_value=[1, 2, 3])(pictures(size=(4, 4, 2))),
            "fill_value has 3 numbers for pictures of 2 channels",
        ),
        (lambda: layers.Solarization(value_range=1), "value_range must hold the lowest"),
        (lambda: layers.Equalization(bins=0), "bins must be a positive integer"),
        (lambda: layers.RandomShear(2.0), "x_factor must be a number, or two"),
        (lambda: layers.MixUp(0.0), "alpha must be above 0"),
        (lambda: layers.MixUp(2.0), "alpha must be above 0, and at most 1"),
        (lambda: layers.CutMix(2.0), "factor must be a number, or two"),
        (
            lambda: layers.CutMix()({"images": pictures()[0], "labels": np.arange(3)}),
            "got shape .*Mix batches",
        ),
        (
            lambda: layers.MixUp()({"images": pictures(), "labels": np.arange(3)}),
            "labels must have the shape .batch, classes.",
        ),
        (lambda: layers.CutMix()({"images": pictures(), "boxes": np.ones((3, 4))}), "the keys"),
        (lambda: layers.CutMix()(np.zeros((2, 4))), "images .* are expected"),
    ],
)
def test_errors_say_what_is_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(0, 9, 8, 3), (2, 0, 8, 3)])
@pytest.mark.parametrize("name", ["CutMix", "MixUp", "RandomErasing", "RandomGaussianBlur"])
def test_no_pictures_and_no_pixels_stay_none(name: str, shape: Any) -> None:
    assert getattr(layers, name)()(np.zeros(shape, "float32"), training=True).shape == shape


def test_adaptive_pooling_of_no_pictures_is_of_none() -> None:
    for name in ("AdaptiveAveragePooling2D", "AdaptiveMaxPooling2D"):
        pooled = getattr(layers, name)((4, 3))(np.zeros((0, 9, 8, 3), "float32"))
        assert pooled.shape == (0, 4, 3, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RandomGaussianBlur", {"sigma": float("inf")}),
        ("RandomGaussianBlur", {"sigma": (1.0, float("inf"))}),
        ("RandomInvert", {"value_range": (0.0, float("nan"))}),
        ("RandomBrightness", {"factor": 0.1, "value_range": (float("-inf"), 0.0)}),
    ],
)
def test_ranges_without_an_end_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{list(options)[-1]} must"):
        getattr(layers, name)(**options)
