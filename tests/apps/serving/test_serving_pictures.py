"""Pictures over HTTP: what `gpunn predict` says of them, and bodies that are none."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import Client, serving

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.serving import Limits
from gpunn.saving import load_model


def picture(kind: str = "PNG", **options: Any) -> bytes:
    """A file of a grey picture with a dark stroke on light paper."""
    pixels = np.full((60, 40), 230, np.uint8)
    pixels[10:50, 18:24] = 20
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def photos() -> Any:
    """A model of colour pictures, with names of classes, that was trained on scaled values."""
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(
        [gpunn.Input((12, 10, 3)), gpunn.layers.Conv2D(2, 3), gpunn.layers.Flatten(),
         gpunn.layers.Dense(3, "softmax")]
    )  # fmt: skip
    model.trained_on = {"classes": ["cat", "dog", "elk"], "scale": [1 / 255, 0.0]}
    return model


@pytest.fixture(scope="module")
def running() -> Iterator[Client]:
    with serving(photos()) as client:
        yield client


def said(path: Path, file: Path, capsys: Any) -> dict[str, Any]:
    """Return what `gpunn predict --json` prints of a file, without its name."""
    capsys.readouterr()
    assert main(["predict", str(path), str(file), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    del entry["image"]
    return dict(entry)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_picture_gets_what_predict_says(kind: str, tmp_path: Path, capsys: Any) -> None:
    model, content = photos(), picture(kind)
    model.save(tmp_path / "model.gpunn")
    (tmp_path / "one").write_bytes(content)
    expected = said(tmp_path / "model.gpunn", tmp_path / "one", capsys)
    with serving(model) as client:
        answers = [client.ask("POST", "/predict", content, f"image/{kind.lower()}")[:2]]
        text = base64.b64encode(content).decode()
        for sent in (text, f"data:image/{kind.lower()};base64,{text}"):
            answers.append(client.predict({"pictures": [sent]}))
    for status, found in answers:
        assert status == 200 and found["predictions"] == [expected]
        assert max(found["outputs"][0]) == expected["probability"]


def test_digits_of_gpunn_train_are_prepared_as_mnists(
    trained: Any, tmp_path: Path, capsys: Any
) -> None:
    path = trained[0] / "model.gpunn"
    (tmp_path / "one.png").write_bytes(picture())
    expected = said(path, tmp_path / "one.png", capsys)
    blank = io.BytesIO()
    Image.new("L", (30, 30), 255).save(blank, "PNG")
    sent = [base64.b64encode(one).decode() for one in (picture(), blank.getvalue())]
    model = load_model(path)
    with serving(model) as client:
        one, two = client.predict({"pictures": sent})[1]["predictions"]
        alone = client.ask("POST", "/predict", picture(), "image/png")[1]
        digits = np.zeros((2, 28, 28), int).tolist()
        outputs = client.predict({"inputs": digits})[1]["outputs"]
    assert alone["predictions"] == [expected]
    assert one["class"] == expected["class"] and one["top"][0][1] == pytest.approx(
        expected["probability"], rel=1e-5
    )
    assert (two["class"], two["probability"]) == (None, None)
    assert outputs == model.predict(np.zeros((2, 28, 28)), verbose=0).tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF8", "damaged"),
        (picture()[:-40], "damaged"),
        (picture("JPEG")[:300], "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no PNG, JPEG"),
        (b"<svg/>", "no PNG, JPEG"),
        (b"{}", "no PNG, JPEG"),
    ],
)
def test_bodies_that_are_no_pictures(running: Client, content: bytes, reason: str) -> None:
    status, found, _ = running.ask("POST", "/predict", content, "image/png")
    assert status == 400 and "the picture" in found["error"]
    assert reason in found["error"] or "not an image" in found["error"]
    status, found = running.predict({"pictures": [base64.b64encode(content).decode()]})
    assert status == 400 and "pictures[0]" in found["error"]


def test_a_picture_of_very_many_pixels_is_not_decoded(running: Client) -> None:
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    status, found, _ = running.ask("POST", "/predict", file.getvalue(), "image/png")
    assert status == 413 and "8,000 x 8,000 pixels" in found["error"]


@pytest.mark.parametrize(("side", "fitting"), [(20, 10), (1, 33)])
def test_pictures_of_many_pixels_together_are_not_decoded(side: int, fitting: int) -> None:
    """Of 20 x 20 pixels, or of one that becomes the 120 which the model takes."""
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    sent = [base64.b64encode(file.getvalue()).decode()] * (fitting + 1)
    broken = base64.b64encode(file.getvalue()[:-20]).decode()
    with serving(photos(), limits=Limits(pixels=4000)) as client:
        assert client.predict({"pictures": sent[1:]})[0] == 200
        status, found = client.predict({"pictures": [broken, *sent[1:]]})
    assert status == 413
    assert "--max-pixels is 4,000 for a request" in found["error"]


def test_reasons_name_options_of_the_command(capsys: Any) -> None:
    assert main(["serve", "--help"]) == 0
    assert {"--max-pixels", "--max-bytes"} <= {*capsys.readouterr().out.split()}


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ([], "at least one picture"),
        ("iVBORw0KGgo=", "a list"),
        ([3], "pictures[0] is a whole number; a text in base64 is expected"),
        (["not base64!"], "pictures[0] is not base64"),
        (["é"], "pictures[0] is not base64"),
        ([""], "no PNG, JPEG"),
    ],
)
def test_wrong_lists_of_pictures(running: Client, pictures: Any, reason: str) -> None:
    status, found = running.predict({"pictures": pictures})
    assert status == 400 and reason in found["error"]


def test_a_picture_without_its_type_is_told_to_have_one(running: Client) -> None:
    """As curl sends it without a header."""
    status, found, _ = running.ask(
        "POST", "/predict", picture(), "application/x-www-form-urlencoded"
    )
    assert status == 400 and "Content-Type, such as image/png" in found["error"]
    assert running.ask("POST", "/predict", picture(), "image/png")[0] == 200
