"""Pictures in MNIST's form are recognized by their pixels, however they were scaled; no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from gpunn.apps.pictures import as_mnist
from gpunn.datasets import fashion_mnist
from gpunn.feeding.mnist_form import scale_of

WAYS: dict[str, tuple[Any, float, float]] = {
    "bytes": (lambda x: x, 1, 0),
    "flat": (lambda x: x.reshape(len(x), 784), 1, 0),
    "channel": (lambda x: x[..., None], 1, 0),
    "integers": (lambda x: x.astype(np.int64), 1, 0),
    "0 to 1": (lambda x: x / 255, 1 / 255, 0),
    "float32": (lambda x: x.astype(np.float32) / 255, 1 / 255, 0),
    "float16": (lambda x: (x / 255).astype(np.float16), 1 / 255, 0),
    "256": (lambda x: x / 256, 1 / 256, 0),
    "-1 to 1": (lambda x: x / 127.5 - 1, 2 / 255, -1),
    "standardized": (lambda x: (x / 255 - 0.1307) / 0.3081, 1 / 255 / 0.3081, -0.1307 / 0.3081),
    "inverted": (lambda x: 255 - x, -1, 255),
    "inverted, 0 to 1": (lambda x: 1 - x / 255, -1 / 255, 1),
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("way", WAYS)
def test_mnist_is_recognized_however_it_was_scaled(mnist: Any, way: str) -> None:
    change, factor, offset = WAYS[way]
    for x in (mnist[0][0], mnist[1][0], mnist[0][0][777:797]):
        assert scale_of(change(x)) == pytest.approx([factor, offset], abs=1e-6)


def test_every_class_and_every_part_of_mnist_has_the_form(mnist: Any) -> None:
    (x, y), _ = mnist
    assert all(scale_of(x[y == label]) == [1, 0] for label in range(10))
    assert all(scale_of(x[at : at + 50]) == [1, 0] for at in range(0, 60000, 500))
    random = np.random.default_rng(0)
    assert all(scale_of(random.permutation(x[:2000])[:16]) == [1, 0] for _ in range(100))


def test_any_picture_that_was_prepared_like_mnist_has_the_form(digits_drawn: np.ndarray) -> None:
    prepared = [as_mnist(Image.fromarray(digit)) for digit in digits_drawn]
    assert scale_of(np.stack(prepared)) == [1, 0]
    assert scale_of(digits_drawn) is None


@pytest.fixture
def digits_drawn() -> np.ndarray:
    """Digits of several fonts' sizes in the middle of 28 x 28, as one would write them with PIL."""
    pictures = []
    for size in (20, 24, 26, 28):
        font = ImageFont.load_default(size)
        for digit in "0123456789":
            page = Image.new("L", (28, 28))
            ImageDraw.Draw(page).text((14, 14), digit, fill=255, font=font, anchor="mm")
            pictures.append(np.asarray(page))
    return np.stack(pictures)


def boxed(x: np.ndarray) -> np.ndarray:
    """Move each digit so that the middle of its box, not its mass, is in the middle."""
    moved = []
    for digit in x:
        rows, columns = (np.flatnonzero(digit.any(axis=axis)) for axis in (1, 0))
        by = [14 - (at[0] + at[-1] + 1) // 2 for at in (rows, columns)]
        moved.append(np.roll(digit, by, axis=(0, 1)))
    return np.stack(moved)


@pytest.mark.parametrize("change", [
    lambda x: np.roll(x, 2, axis=1),
    lambda x: x[:, 2:-2, 2:-2].repeat(2, axis=1)[:, 10:38].repeat(2, axis=2)[:, :, 10:38],
    lambda x: x.reshape(-1, 784)[:, np.random.default_rng(0).permutation(784)],
    lambda x: (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-3),
    lambda x: x + np.random.default_rng(0).normal(0, 20, x.shape),
    lambda x: x[:10],
    lambda x: x[:, :27],
    lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2))),
    lambda x: np.where(x > 0, np.nan, 0.0),
    lambda x: np.zeros_like(x),
    boxed,
])  # fmt: skip
def test_changed_digits_are_not_recognized(mnist: Any, change: Any) -> None:
    assert scale_of(change(mnist[0][0][:200])) is None


def test_other_data_are_not_recognized() -> None:
    random = np.random.default_rng(0)
    pixels = load_digits().images.astype(np.uint8)
    large = [np.asarray(Image.fromarray(p * 16).resize((20, 20))) for p in pixels[:300]]
    shapes = [np.hypot(*(np.mgrid[:28, :28] - c)) < 10 for c in random.uniform(13, 15, 100)]
    for x in (
        fashion_mnist.load_data()[0][0],
        np.pad(large, ((0, 0), (4, 4), (4, 4))),
        np.array(shapes) * 255,
        random.integers(0, 256, (300, 28, 28)).astype(np.uint8),
        random.normal(size=(300, 784)),
        random.integers(0, 2, (300, 784)),
    ):
        assert scale_of(x) is None
