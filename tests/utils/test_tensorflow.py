"""`gpunn.tensorflow`: names of TensorFlow with other arguments than Keras's, and its version."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
import gpunn.tensorflow as tf

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from PyTorch, about NumPy


def test_programs_that_ask_for_its_version_find_it() -> None:
    code = (
        "import gpunn.tensorflow as tf, gpunn\n"
        "from gpunn.tensorflow.keras.layers import Dense\n"
        "from gpunn.tensorflow import image, random, clip_by_value, data\n"
        "assert tf.__version__.startswith('2.') and tf.version.VERSION == tf.__version__\n"
        "assert tf.keras is gpunn and tf.data is data and gpunn.image is image\n"
        "print(tf.reduce_sum([1, 2]).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
    with pytest.raises(AttributeError, match=r"gpunn has no 'nothing'"):
        getattr(tf, "nothing")  # noqa: B009  type checkers know that there is none
    with pytest.raises(AttributeError, match=r"gpunn has no 'train\.Checkpoint'"):
        _ = tf.train.Checkpoint


def test_tensors_of_strings_are_arrays() -> None:
    for made in (tf.constant(["a", "b"]), tf.convert_to_tensor(["a", "b"])):
        assert isinstance(made, np.ndarray) and made.tolist() == ["a", "b"]
    assert tf.convert_to_tensor([1, 2], dtype="float32").tolist() == [1.0, 2.0]


def test_resized_images_are_those_of_keras(keras: Any) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 7, 5, 3)).astype(np.uint8)
    for size, antialias in [((4, 9), False), ((3, 2), True)]:
        found = tf.image.resize(pictures, size, antialias=antialias)
        given = pictures.astype("float32")
        expected = keras.ops.image.resize(given, size, antialias=antialias)
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), rtol=1e-4)
    nearest = tf.image.resize(pictures, (7, 10), method="nearest")
    np.testing.assert_array_equal(nearest, pictures.repeat(2, axis=2))
    with pytest.raises(ValueError, match="bicubic"):
        tf.image.resize(pictures, (4, 4), method="bicubic")


def test_boxes_of_images_and_their_errors() -> None:
    x = np.arange(24.0).reshape(1, 4, 3, 2)
    part = tf.image.crop_to_bounding_box(x, tf.constant(1), 0, 2, tf.constant(2))
    np.testing.assert_array_equal(part, x[:, 1:3, :2])
    back = tf.image.pad_to_bounding_box(part, 1, 0, 4, 3)
    expected = np.zeros_like(x)
    expected[:, 1:3, :2] = x[:, 1:3, :2]
    np.testing.assert_array_equal(back, expected)
    for cut in (tf.image.crop_to_bounding_box, tf.image.pad_to_bounding_box):
        with pytest.raises(ValueError, match="do not fit images of height 4"):
            cut(x, 3, 0, 2, 2)
    with pytest.raises(ValueError, match=r"makes floats; got dtype='uint8'"):
        tf.image.convert_image_dtype(x, "uint8")
    with pytest.raises(TypeError, match="may have had 8 bits: divide by 255"):
        tf.image.convert_image_dtype(tf.constant([0, 255]), "float32")


def test_pictures_are_decoded(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    made = io.BytesIO()
    image.fromarray(pixels).save(made, "PNG")
    np.testing.assert_array_equal(tf.image.decode_png(made.getvalue()), pixels)
    with_alpha = tf.image.decode_image(made.getvalue(), channels=4)
    np.testing.assert_array_equal(with_alpha[..., 3], 255 * np.ones((3, 4)))
    with pytest.raises(ValueError, match="channels must be 1, 3 or 4"):
        tf.image.decode_png(made.getvalue(), channels=2)
    with pytest.raises(ValueError, match="not an image"):
        tf.image.decode_png(b"text")


@pytest.mark.parametrize("alpha", [0.3, 1.0, 7.5])
def test_gamma_has_the_moments_of_the_distribution(every_backend: str, alpha: float) -> None:
    gpunn.use_backend(every_backend)
    x = tf.random.gamma([20000, 2], [alpha], beta=2.0, seed=3)
    assert x.shape == (20000, 2, 1)
    drawn = np.asarray(x, np.float64)
    assert drawn.min() >= 0
    for power in (1, 2, 3):
        exact = np.prod([(alpha + k) / 2 for k in range(power)])
        spread = (drawn**power).std() / drawn.size**0.5
        assert abs((drawn**power).mean() - exact) < 5 * spread
    with pytest.raises(ValueError, match="must be positive"):
        gpunn.random.gamma((2,), [1.0, 0.0])


def test_gamma_is_new_in_each_step() -> None:
    class Noise(gpunn.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + gpunn.random.gamma(x.shape, 2.0)

    layer, x = Noise(), np.zeros((4, 3), np.float32)
    assert not np.array_equal(layer(x), layer(x))


def test_factors_and_unique_elements_are_in_the_order_of_tensorflow() -> None:
    """As its documentation says: s first, v not transposed; elements as they come."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    s, u, v = tf.linalg.svd(x)
    assert (s.shape, u.shape, v.shape) == ((2, 3), (2, 4, 3), (2, 3, 3))
    product = np.asarray(u) * np.asarray(s)[:, None] @ np.swapaxes(v, -1, -2)
    np.testing.assert_allclose(product, x, 1e-5, 1e-5)
    np.testing.assert_array_equal(tf.linalg.svd(x, compute_uv=False), s)
    values, places = tf.unique([1, 1, 2, 4, 4, 4, 7, 8, 8])
    assert values.tolist() == [1, 2, 4, 7, 8]
    assert places.tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4]
    values, places = tf.unique([5, 2, 5, 9, 2])
    assert values.tolist() == [5, 2, 9] and places.tolist() == [0, 1, 0, 2, 1]
    assert tf.math.cumprod([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 8]]
    a, b = x[0, :3] + 3 * np.eye(3, dtype="float32"), x[1, :3]
    np.testing.assert_allclose(tf.linalg.solve(matrix=a, rhs=b), np.linalg.solve(a, b), 1e-4)
    np.testing.assert_allclose(tf.linalg.lstsq(a, b), np.linalg.solve(a, b), 1e-4)
    with pytest.raises(ValueError, match=r"l2_regularizer must be 0; got 0\.1"):
        tf.linalg.lstsq(a, b, 0.1)


def test_figures_and_pictures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert not tf.summary.scalar("loss", 1.0, step=0)  # there is no writer
    writer = tf.summary.create_file_writer(tmp_path)
    with writer.as_default(step=4):
        assert tf.summary.scalar("loss", tf.constant(0.5))
        assert tf.summary.image("pictures", np.full((5, 2, 2, 1), 0.5), step=1)
    with writer.as_default(), pytest.raises(ValueError, match="loss: pass step"):
        tf.summary.scalar("loss", 0.5)
    writer.close()
    found = reading.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(4, 0.5)]
    assert found.Tags()["images"] == ["pictures", "pictures/1", "pictures/2"]


def test_the_latest_checkpoint_is_the_one_written_last(tmp_path: Path) -> None:
    assert tf.train.latest_checkpoint(tmp_path) is None
    for age, name in enumerate(["b", "c", "a"]):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (100 - age, 100 - age))
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "b")
