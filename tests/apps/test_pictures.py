"""Folders of pictures on the command line: training, evaluation and prediction."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import gpunn
from gpunn.apps import learning
from gpunn.apps.cli import main

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

CLASSES = ("bars", "dots", "rings")


def picture(kind, random, mode):
    """A shape of random size and position, light or coloured on dark."""
    height, width = random.integers(20, 29, 2)
    y, x = np.mgrid[:height, :width]
    across, down = random.uniform(0.4, 0.6, 2)
    far = np.hypot(y - down * height, x - across * width)
    shapes = {"bars": abs(x - across * width) < 2, "dots": far < 6, "rings": abs(far - 8) < 1.5}
    ink = (shapes[kind] * random.integers(120, 256)).astype(np.uint8)
    image = Image.fromarray(ink)
    return image if mode == "L" else Image.merge("RGB", [image, image, Image.new("L", image.size)])


def fill(folder, each=16, mode="L", seed=0, kinds=CLASSES):
    random = np.random.default_rng(seed)
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            picture(kind, random, mode).save(folder / kind / f"{i:02}.png")
    return folder


def header(width, height):
    """A PNG file that claims a size, without pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = head, b"IDAT" + zlib.compress(bytes(1000))
    chunks = (struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_in_folders_are_learnt(tmp_path, capsys, mode):
    folder = fill(tmp_path / "shapes", mode=mode)
    (folder / "dots" / "broken.png").write_bytes((folder / "dots" / "00.png").read_bytes()[:60])
    options = ["--out", str(tmp_path / "out"), "--epochs", "12", "--batch-size", "4"]
    assert main(["train", str(folder), *options]) == 0
    out = capsys.readouterr().out
    colour = "in colour" if mode == "RGB" else "grey"
    assert f"48 pictures, {colour}, scaled to 28x28\n3 classes: bars 16, dots 16, rings 16" in out
    assert f"left out: {folder / 'dots' / 'broken.png'} is damaged" in out
    assert "rows: 33 train, 6 validation, 9 test, stratified by class" in out
    names = ("majority class", "linear model", "network")
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert [row for row in rows if row in names] == list(names)
    model = str(tmp_path / "out" / "model.gpunn")
    loaded = gpunn.saving.load_model(model)
    assert loaded.trained_on["classes"] == list(CLASSES)
    assert loaded.input_shape == (None, 28, 28, 3 if mode == "RGB" else 1)
    # New pictures of two of the classes, and one by one.
    new = fill(tmp_path / "new", 8, mode, seed=1, kinds=CLASSES[1:])
    assert main(["evaluate", model, "--data", str(new), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert main(["predict", model, str(new), "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)
    right = [entry["class"] in entry["image"].split("/") for entry in predicted]
    assert evaluated["images"] == len(right) == 16
    assert evaluated["accuracy"] == pytest.approx(np.mean(right))
    assert np.mean(right) > 0.6  # 1 in 3 by chance


@pytest.mark.parametrize(
    ("kinds", "options", "message"),
    [
        ((), [], "has no subfolders with pictures"),
        (("bars",), [], "pictures in only one subfolder, 'bars'"),
        (("bars", "empty", "dots"), [], "no pictures in empty"),
        (("bars", "huge"), [], "100,000 x 100,000 pixels, but --max-pixels is 25,000,000"),
        (("bars", "texts"), [], "no picture of 'texts' can be read"),
        (("bars", "one"), ["--split", "order"], "There are 3 rows to learn from"),
        (("bars", "dots"), ["--target", "x"], "--target does not apply to a folder of pictures"),
    ],
)
def test_folders_that_cannot_be_learnt_from(tmp_path, capsys, kinds, options, message):
    folder = fill(tmp_path / "a", 2, kinds=[kind for kind in kinds if kind in CLASSES])
    folder.mkdir(exist_ok=True)
    for kind in set(kinds) - set(CLASSES):
        (folder / kind).mkdir()
    if "huge" in kinds:
        (folder / "huge" / "a.png").write_bytes(header(100_000, 100_000))
    if "texts" in kinds:
        (folder / "texts" / "a.png").write_text("no picture")
    if "one" in kinds:
        Image.new("L", (9, 9)).save(folder / "one" / "a.png")
    assert main(["train", str(folder), *options, "--out", str(tmp_path / "out")]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("gpunn: error: ") and complaint.count("\n") == 1
    assert message in complaint
    assert not (tmp_path / "out").exists()  # before any work


def test_an_interrupted_training_is_saved_and_goes_on(tmp_path, capsys, monkeypatch):
    folder = str(fill(tmp_path / "a", 16))
    common = ["train", folder, "--size", "8", "--epochs", "6"]
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    count = 0

    def stops(self, epoch, logs=None):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt

    parted = str(tmp_path / "parted")
    with monkeypatch.context() as patch:
        patch.setattr(learning._Lines, "on_epoch_end", stops)
        capsys.readouterr()
        assert main([*common, "--out", parted]) == 130
    printed = capsys.readouterr().out
    assert f"To go on: gpunn {' '.join(common)} --out {parted} --resume\n" in printed
    assert "Saved" in printed
    evaluated = main(["evaluate", f"{parted}/model.gpunn", "--data", folder])
    assert evaluated == 0
    assert main([*common, "--out", parted, "--seed", "1", "--resume"]) == 1
    assert "it differs in --seed" in capsys.readouterr().err
    assert main([*common, "--out", parted, "--resume"]) == 0
    weights = [
        gpunn.saving.load_model(tmp_path / name / "model.gpunn").get_weights()
        for name in ("whole", "parted")
    ]
    for expected, found in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert main([*common, "--out", parted, "--resume"]) == 1
    assert "There is nothing to resume" in capsys.readouterr().err
