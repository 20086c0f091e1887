"""Folders with files that are none, links that lead nowhere, and pictures beyond any memory."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpunn.loaders import pictures
from gpunn.loaders.opening import opened
from gpunn.utils import image_dataset_from_directory, text_dataset_from_directory


def bomb(path: Path) -> None:
    """Write a PNG whose header announces 1.6 billion pixels."""
    parts = [(b"IHDR", struct.pack(">2I5B", 40_000, 40_000, 8, 2, 0, 0, 0)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pipe": (os.mkfifo, "no regular file"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
    "link to itself": (lambda path: path.symlink_to(path.name), "a link that leads nowhere"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    "bomb": (bomb, "exceeds limit"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_named_and_left_out(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, reason = HOSTILE[name]
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(tmp_path / kind / "1.png")
    bad = tmp_path / "a" / "0.png"
    write(bad)
    data = image_dataset_from_directory(tmp_path, image_size=(4, 4), shuffle=False)
    out = capsys.readouterr().out
    assert f"left out: {bad}" in out and reason in out
    ((x, y),) = data
    assert x.shape == (2, 4, 4, 3) and y.tolist() == [0, 1]
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "b" / "1.png").unlink()
    with pytest.raises(ValueError, match="no pictures that can be read.*" + reason):
        image_dataset_from_directory(tmp_path, labels=None)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe", "dangling link", "link to a device"])
def test_a_hostile_text_is_named_and_left_out(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, reason = HOSTILE[name]
    (tmp_path / "1.txt").write_text("fine")
    write(tmp_path / "0.txt")
    (found,) = text_dataset_from_directory(tmp_path, labels=None, shuffle=False)
    out = capsys.readouterr().out
    assert f"left out: {tmp_path / '0.txt'}" in out and reason in out
    assert found.tolist() == ["fine"]


def test_a_picture_that_vanishes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "KEPT_BYTES", 0)
    for k in range(3):
        Image.fromarray(np.full((4, 4, 3), k, np.uint8)).save(tmp_path / f"{k}.png")
    data = image_dataset_from_directory(tmp_path, labels=None, image_size=(4, 4), shuffle=False)
    (tmp_path / "1.png").unlink()
    for _ in range(2):
        (x,) = data
        assert np.asarray(x)[:, 0, 0, 0].tolist() == [0, 2]
    lines = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(lines) == 1 and str(tmp_path / "1.png") in lines[0]


def test_the_limit_of_pillow_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "1.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    before = Image.MAX_IMAGE_PIXELS
    assert before is not None
    first, second = ExitStack(), ExitStack()
    first.enter_context(opened(path, 20))
    assert before == Image.MAX_IMAGE_PIXELS  # what others open meanwhile is limited
    second.enter_context(opened(path, 20))
    first.close()
    second.close()
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe", "dangling link", "link to a device"])
def test_the_command_line_leaves_it_out_too(tmp_path: Path, name: str) -> None:
    from gpunn.apps.pictures import folder

    write, reason = HOSTILE[name]
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / kind / "1.png")
    write(tmp_path / "a" / "0.png")
    found = folder.find(str(tmp_path))
    assert folder.shape_for(found.paths, 4) == (4, 4)
    folder.load(found, (4, 4))
    assert found.labels.tolist() == [0, 1] and len(found.unreadable) == 1
    assert reason in found.unreadable[0]
