"""`image_dataset_from_directory`: files of all kinds, damaged ones, and training from a folder."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gpunn
from gpunn import layers
from gpunn.loaders import pictures
from gpunn.loaders.resizing import fitted, resized
from gpunn.utils import image_dataset_from_directory

RNG = np.random.default_rng(5)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def folder_of(path: Path, number: int = 5, size: int = 8) -> Path:
    """Write pictures of two classes, dark and light."""
    for name, low in (("dark", 0), ("light", 128)):
        (path / name).mkdir(parents=True)
        for i in range(number):
            pixels = RNG.integers(low, low + 128, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "data")


def read(folder: Path, **given: Any) -> Any:
    arguments = {"image_size": (8, 8), "seed": 1, "verbose": False}
    return image_dataset_from_directory(folder, **(arguments | given))


def rows(data: Any) -> tuple[np.ndarray, np.ndarray]:
    batches = [(np.asarray(x), np.asarray(y)) for x, y in data]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def model() -> gpunn.Sequential:
    gpunn.utils.set_random_seed(2)
    network = gpunn.Sequential([layers.Flatten(), layers.Dense(2, activation="softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def test_pictures_come_in_the_order_of_their_paths(folder: Path) -> None:
    data = read(folder, shuffle=False, batch_size=4)
    x, y = rows(data)
    assert x.dtype == np.float32 and y.dtype == np.int32 and len(data) == data.cardinality() == 3
    assert data.class_names == ["dark", "light"] and y.tolist() == [0] * 5 + [1] * 5
    assert data.file_paths == sorted(map(str, folder.rglob("*.png")))
    expected = [np.asarray(Image.open(path), np.float32) for path in data.file_paths]
    assert np.array_equal(x, expected) and np.array_equal(rows(data)[0], expected)
    assert np.array_equal(rows(read(folder, shuffle=False, batch_size=None).batch(4))[0], expected)


def test_orders_differ_by_pass_and_repeat_by_seed(folder: Path) -> None:
    first, again = read(folder, batch_size=3), read(folder, batch_size=3)
    passes = [rows(first)[0], rows(first)[0]]
    assert not np.array_equal(*passes) and np.array_equal(
        *map(np.sort, [p[:, 0, 0, 0] for p in passes])
    )
    assert all(np.array_equal(rows(again)[0], x) for x in passes)
    both = read(folder, validation_split=0.3, subset="both")
    assert [len(part.file_paths) for part in both] == [7, 3]
    assert np.array_equal(rows(both[1])[0], rows(both[1])[0])  # the validation part keeps its order


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", **options)
    return file.getvalue()


KINDS: dict[str, tuple[Callable[[Path], None], np.ndarray | None]] = {}
GREY, RGB = noise(8, 8), noise(8, 8, 3)


def kind(name: str, expected: np.ndarray | None) -> Any:
    def register(write: Callable[[Path], None]) -> Any:
        KINDS[name] = write, expected
        return write

    return register


kind("grey.png", np.stack([GREY] * 3, -1))(lambda path: Image.fromarray(GREY).save(path))
kind("colour.bmp", RGB)(lambda path: Image.fromarray(RGB).save(path))
kind("alpha.png", RGB)(
    lambda path: Image.fromarray(np.dstack([RGB, noise(8, 8)]), "RGBA").save(path)
)
kind("palette.gif", None)(lambda path: Image.fromarray(RGB).quantize(16).save(path))
kind("photo.JPEG", None)(lambda path: Image.fromarray(RGB).save(path, "jpeg"))
kind("16bit.png", np.stack([GREY] * 3, -1))(
    lambda path: Image.fromarray(GREY.astype(np.uint16) * 256 + 77).save(path)
)


def write_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated
    Image.fromarray(RGB).save(path, exif=exif)


kind("rotated.png", RGB)(write_rotated)


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_files(tmp_path: Path, name: str) -> None:
    write, expected = KINDS[name]
    write(tmp_path / name)
    (x,) = list(read(tmp_path, labels=None))
    if expected is None:
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(np.asarray(x), expected[np.newaxis].astype(np.float32))


@pytest.mark.parametrize("mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_modes_and_axes(folder: Path, mode: str, data_format: str) -> None:
    (x,) = list(read(folder, labels=None, color_mode=mode, data_format=data_format, shuffle=False))
    pillow = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}[mode]
    path = folder / "dark" / "0.png"
    expected = np.atleast_3d(np.asarray(Image.open(path).convert(pillow), np.float32))
    if data_format == "channels_first":
        expected = expected.transpose(2, 0, 1)
    assert np.array_equal(np.asarray(x)[0], expected)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "text": lambda good: b"this is no picture",
    "truncated": lambda good: good[: len(good) // 2],
    "only its header": lambda good: good[:40],
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp"])
def test_damaged_files_are_named_and_left_out(
    folder: Path, case: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = folder / "dark" / f"bad.{ending}"
    Image.fromarray(noise(40, 40, 3)).save(bad)
    bad.write_bytes(BROKEN[case](bad.read_bytes()))
    data = read(folder, shuffle=False)
    assert f"left out: {bad}" in capsys.readouterr().out
    assert len(data.file_paths) == 10 and rows(data)[1].tolist() == [0] * 5 + [1] * 5


@pytest.mark.parametrize("small", [True, False])
def test_a_file_damaged_inside_is_left_out_when_it_is_read(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    small: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not small:  # small ones are decoded at once
        monkeypatch.setattr(pictures, "SMALL", 0)
    bad = folder / "dark" / "1.png"
    content = bytearray(bad.read_bytes())
    at = content.index(b"IDAT") + 8
    content[at : at + 40] = bytes(40)
    bad.write_bytes(content)
    data = read(folder, shuffle=False, batch_size=2)
    assert len(data.file_paths) == 9 + (not small)
    for _ in range(2):
        assert rows(data)[1].tolist() == [0] * 4 + [1] * 5
    assert capsys.readouterr().out.count(f"left out: {bad}") == 1
    model().fit(data, epochs=2, verbose=0)
    assert (
        rows(read(folder, shuffle=False, batch_size=None).batch(2))[1].tolist() == [0] * 4 + [1] * 5
    )


def test_unusable_folders_and_arguments_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one" / "cats").mkdir(parents=True)
    Image.fromarray(RGB).save(tmp_path / "one" / "cats" / "1.png")
    with pytest.raises(ValueError, match="pictures in only one subfolder, 'cats'"):
        read(tmp_path / "one")
    (tmp_path / "one" / "cats" / "1.png").write_text("")
    with pytest.raises(ValueError, match="has no pictures that can be read"):
        read(tmp_path / "one", labels=None)
    (tmp_path / "none" / "cats").mkdir(parents=True)
    with pytest.raises(ValueError, match="no subfolders with pictures"):
        read(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        read(tmp_path / "missing")
    for given in (
        {"color_mode": "hsv"}, {"interpolation": "sharp"}, {"image_size": (8,)},
        {"image_size": (0, 8)}, {"batch_size": 0}, {"format": "grain"}, {"data_format": "last"},
        {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(given))):
            read(folder, **given)


def test_a_picture_beyond_pillows_limit_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ValueError, match="exceeds limit"):
        read(folder)


def test_pictures_that_do_not_fit_in_memory_are_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(30, 20, 3)).save(folder / "dark" / "large.png")
    kept = read(folder, data_format="channels_first")
    monkeypatch.setattr(pictures, "KEPT_BYTES", 0)
    streamed = read(folder, data_format="channels_first")
    for _ in range(2):
        for a, b in zip(rows(kept), rows(streamed), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("small", [True, False])
def test_training_equals_that_on_the_arrays(
    every_backend: str, folder: Path, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(every_backend)
    if not small:  # otherwise `fit` reads the arrays that the data set holds
        monkeypatch.setattr(pictures, "SMALL", 0)
    data = read(folder, shuffle=False, batch_size=4)
    x, y = rows(data)
    losses = []
    for given in ((data,), (x, y, 4)):
        network = model()
        losses.append(network.fit(*given, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    evaluated = network.evaluate(data, verbose=0), network.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(*evaluated, rtol=1e-5)
    predicted = network.predict(data.map(lambda x, y: x), verbose=0)
    np.testing.assert_allclose(predicted, network.predict(x, verbose=0), rtol=1e-5)


def test_a_data_set_brings_its_targets_and_its_batch_size(folder: Path) -> None:
    data, network = read(folder, batch_size=5), model()
    seen: list[int] = []
    count = gpunn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    network.fit(data, epochs=1, verbose=0, callbacks=[count], validation_data=data)
    assert seen == [0, 1]
    network.fit(data, epochs=1, steps_per_epoch=1, verbose=0, callbacks=[count])
    assert seen == [0, 1, 0]
    with pytest.raises(ValueError, match="bring their own y"):
        network.fit(data, np.zeros(10), verbose=0)
    with pytest.raises(ValueError, match="validation_split needs arrays"):
        network.fit(data, validation_split=0.5, verbose=0)
    with pytest.raises(ValueError, match="y is missing"):
        network.fit(read(folder, labels=None), verbose=0)


def test_methods_of_tf_data(folder: Path) -> None:
    data = read(folder, batch_size=2)
    piped = data.unbatch().shuffle(20).batch(5).map(lambda x, y: (x / 255, y)).cache().prefetch(2)
    x, y = rows(piped.take(1).concatenate(piped.skip(1)).repeat(2))
    assert x.shape == (20, 8, 8, 3) and x.max() <= 1 and y.sum() == 10
    network = model()
    network.fit(piped, validation_data=piped, epochs=2, verbose=0)
    network.fit(data.repeat(), steps_per_epoch=3, verbose=0)


def test_a_resumed_run_continues_with_the_same_batches(folder: Path, tmp_path: Path) -> None:
    def trained(stop: int | None) -> gpunn.Sequential:
        network = model()
        backup = gpunn.callbacks.BackupAndRestore(str(tmp_path / f"backup{stop}"))
        for epochs in (stop, 4):
            if epochs:
                data = read(folder, batch_size=3)
                network = model()
                network.fit(data, epochs=epochs, verbose=0, callbacks=[backup], shuffle=True)
        return network

    # Stopping deletes the backup, so the interrupted run is one that raises.
    class Stop(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    whole = trained(None)
    backup = gpunn.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    network = model()
    with pytest.raises(KeyboardInterrupt):
        network.fit(read(folder, batch_size=3), epochs=4, verbose=0, callbacks=[backup, Stop()])
    network = model()
    network.fit(read(folder, batch_size=3), epochs=4, verbose=0, callbacks=[backup])
    for a, b in zip(whole.get_weights(), network.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_two_threads_read_one_data_set(folder: Path) -> None:
    data = read(folder, shuffle=False, batch_size=3)
    expected = rows(read(folder, shuffle=False))[0]
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(rows(data)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(x, expected) for x in found)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything can be read")
def test_an_unreadable_file_is_left_out(folder: Path) -> None:
    (folder / "dark" / "1.png").chmod(0)
    assert len(read(folder).file_paths) == 9


# -- resizing, beside PyTorch and Pillow


@pytest.mark.parametrize(
    ("kind", "size"),
    [("bilinear", size) for size in ((5, 7), (12, 9), (30, 40), (1, 1))] + [("area", (6, 5))],
)
def test_resizing_as_pytorch(kind: str, size: tuple[int, int]) -> None:
    x = noise(12, 15, 3)
    given = torch.tensor(x.transpose(2, 0, 1)[np.newaxis], dtype=torch.float32)
    theirs = torch.nn.functional.interpolate(given, size=size, mode=kind)[0].numpy()
    found = resized(x, size, kind).transpose(2, 0, 1)
    np.testing.assert_allclose(found, theirs, atol=1e-3)


@pytest.mark.parametrize(("kind", "theirs"), [("bicubic", "BICUBIC"), ("lanczos3", "LANCZOS")])
def test_enlarging_as_pillow(kind: str, theirs: str) -> None:
    """Pillow smooths when it scales down; when it scales up, the kernels are the same."""
    x = RNG.normal(size=(9, 7)).astype(np.float32)
    expected = np.asarray(Image.fromarray(x).resize((20, 31), Image.Resampling[theirs]))
    found = resized(x[..., np.newaxis], (31, 20), kind)[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "mitchellcubic", "lanczos5", "nearest", "area"])
@pytest.mark.parametrize("size", [(3, 4), (11, 23), (6, 9)])
def test_a_plain_picture_stays_plain(kind: str, size: tuple[int, int]) -> None:
    np.testing.assert_allclose(resized(np.full((6, 9, 2), 77), size, kind), 77, rtol=1e-6)


def test_nearest() -> None:
    x = noise(12, 15, 3).astype(np.float32)
    for size in ((5, 7), (30, 40), (12, 4)):
        found = resized(x, size, "nearest")
        at = [
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, (12, 15), strict=True)
        ]
        assert np.array_equal(found, x[np.ix_(*at)])


@pytest.mark.parametrize("size", [(6, 6), (8, 4), (5, 20)])
def test_cropping_as_keras(keras: Any, size: tuple[int, int]) -> None:
    x = noise(12, 15, 3).astype(np.float32)
    smart = keras.preprocessing.image.smart_resize(torch.tensor(x), size).cpu().numpy()
    np.testing.assert_allclose(fitted(x, size, "bilinear", True, False), smart, atol=1e-3)


def test_padding_keeps_the_proportions() -> None:
    found = fitted(np.full((10, 20, 1), 9), (8, 8), "bilinear", False, True)[..., 0]
    assert found.tolist() == [[0] * 8] * 2 + [[9] * 8] * 4 + [[0] * 8] * 2
