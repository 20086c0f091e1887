"""`load_img`, `img_to_array`, `array_to_img`, `save_img`: Keras's results."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gpunn
from gpunn.utils import array_to_img, img_to_array, load_img, save_img

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (13, 9, 3), np.uint8)
FILES = {
    "colour.png": Image.fromarray(COLOUR),
    "grey.png": Image.fromarray(COLOUR[..., 0]),
    "alpha.png": Image.fromarray(np.dstack([COLOUR, COLOUR[..., :1]])),
    "palette.gif": Image.fromarray(COLOUR).quantize(8),
    "photo.jpg": Image.fromarray(COLOUR),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", ["rgb", "grayscale", "rgba"])
def test_loading_as_keras(keras: Any, tmp_path: Path, name: str, mode: str) -> None:
    FILES[name].save(tmp_path / name)
    for given in (
        {}, {"target_size": (5, 6)}, {"target_size": (20, 30), "interpolation": "bicubic"},
        {"target_size": (6, 6), "interpolation": "bilinear", "keep_aspect_ratio": True},
    ):  # fmt: skip
        ours = load_img(tmp_path / name, mode, **given)
        theirs = keras.utils.load_img(tmp_path / name, mode, **given)
        assert ours.mode == theirs.mode and np.array_equal(np.asarray(ours), np.asarray(theirs))
        for first in ("channels_last", "channels_first"):
            arrays = [module.utils.img_to_array(ours, first) for module in (gpunn, keras)]
            assert arrays[0].dtype == arrays[1].dtype and np.array_equal(*arrays)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scale", [True, False])
def test_arrays_to_images_as_keras(keras: Any, channels: int, scale: bool) -> None:
    x = RNG.uniform(0, 255, (5, 4, channels))
    for given in (x, x * 0, x - 100 if scale else x.astype(np.uint8)):
        for form in ("channels_last", "channels_first"):
            array = given if form == "channels_last" else given.transpose(2, 0, 1)
            ours = array_to_img(array, form, scale)
            theirs = keras.utils.array_to_img(array, form, scale)
            assert ours.mode == theirs.mode and np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_sixteen_bits(tmp_path: Path) -> None:
    values = np.array([[0, 256, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(load_img(tmp_path / "deep.png", "grayscale")), values)
    # Pillow makes all above 255 white.
    assert np.asarray(load_img(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 255]
    large = array_to_img(np.array([[[0.0], [70000.0]]]), scale=False)
    assert large.mode == "I" and np.asarray(large).tolist() == [[0, 70000]]


def test_saving_and_loading(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        save_img(tmp_path / name, COLOUR, scale=False)
        assert np.array_equal(img_to_array(load_img(tmp_path / name), dtype="uint8"), COLOUR)
    save_img(str(tmp_path / "a.jpg"), np.dstack([COLOUR, COLOUR[..., :1]]), quality=95)
    assert load_img(str(tmp_path / "a.jpg")).size == (9, 13)
    file = io.BytesIO()
    save_img(file, COLOUR, file_format="jpg")
    assert np.array_equal(np.asarray(load_img(file)), np.asarray(Image.open(file)))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for shape in ((3, 3), (3, 3, 2), (0, 3, 3), (1, 3, 3, 3)):
        with pytest.raises(ValueError, match="one image"):
            array_to_img(np.zeros(shape))
    for x, message in (
        (np.full((2, 2, 3), 256), "from 0 to 255"),
        (np.full((2, 2, 1), -1), "from 0"),
        (np.full((2, 2, 1), np.nan), "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            array_to_img(x, scale=False)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match="not an image"):
        load_img(tmp_path / "text.png")
    FILES["colour.png"].save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(ValueError, match="is damaged"):
        load_img(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError):
        load_img(tmp_path / "none.png")
    with pytest.raises(TypeError, match="path must be"):
        load_img(7)
    for given in ({"color_mode": "hsv"}, {"target_size": (2, 2), "interpolation": "sharp"}):
        with pytest.raises(ValueError, match="must be one of"):
            load_img(io.BytesIO(b""), **given)


def test_without_pillow_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "PIL":
            raise ImportError("No module named 'PIL'")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (lambda: array_to_img(COLOUR), lambda: load_img(tmp_path / "a.png")):
        with pytest.raises(ImportError, match=r'pip install "gpunn\[image\]"'):
            call()


@pytest.mark.parametrize("module", ["preprocessing.image", "keras.preprocessing.image", "utils"])
def test_names_that_scripts_use(module: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from gpunn.{module} import load_img, img_to_array, save_img, array_to_img", namespace)
    assert namespace["load_img"] is load_img
    assert gpunn.keras.preprocessing.image_dataset_from_directory is (
        gpunn.utils.image_dataset_from_directory
    )
    assert gpunn.preprocessing.image.load_img is load_img
