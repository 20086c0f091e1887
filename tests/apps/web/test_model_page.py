"""A trained model's page: its size, the data that it contains, and which models have no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.cli import main
from gpunn.apps.web.model_page import described, model_page


def model_of(shape: tuple[int, ...], *chain: Any, **about: Any) -> Any:
    flat = [layers.Flatten()] if len(shape) > 1 else []
    model = gpunn.Sequential([layers.Input(shape), *flat, *chain])
    model.trained_on = about
    return model


def deep() -> Any:
    chain: list[Any] = [layers.Input((28, 28, 1))]
    for filters in (8, 16, 32):
        chain += [layers.Conv2D(filters, 3, padding="same"), layers.BatchNormalization()]
        chain += [layers.Activation("gelu"), layers.MaxPooling2D(2), layers.Dropout(0.3)]
    chain += [layers.Flatten(), layers.Dense(200, "relu"), layers.Dense(47, "softmax")]
    return gpunn.Sequential(chain)


@pytest.mark.parametrize(
    "model",
    [
        model_of((28, 28), layers.Dense(10, "relu"), layers.Dense(10, "softmax")),
        model_of((28, 28), layers.Dense(400, "relu"), layers.Dense(10, "softmax")),
        deep(),
    ],
)
def test_a_page_is_the_weights_and_300_kilobytes(model: Any) -> None:
    weights = 4 * model.count_params() * 4 / 3
    assert len(model_page(model).encode()) <= weights + 300_000


def test_the_command_says_what_the_page_holds_of_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaled = layers.Normalization(mean=30.0, variance=4.0)
    about = {"range": [0.0, 1.0], "classes": ["a</script>", "b"]}
    model = model_of((9, 9, 1), scaled, layers.Dense(1, "sigmoid"), **about)
    model.save(tmp_path / "m.gpunn", announce=False)
    page = tmp_path / "m.html"
    assert main(["export", str(tmp_path / "m.gpunn"), str(page)]) == 0
    output = capsys.readouterr().out
    assert "the names of 2 classes ('a</script>', 'b')" in output
    assert "normalization" in output and "mean" in output and "(0 to 1)" in output
    assert f"({len(page.read_bytes()) / 1000:,.0f} kB)" in output
    assert "a</script>" not in page.read_text(encoding="utf-8")


def test_a_picture_is_prepared_as_the_command_predict_does() -> None:
    model = model_of((28, 28, 1), layers.Dense(3, "softmax"), range=[0.0, 255.0])
    found = described(model)
    assert (found["scale"], found["centred"], found["classes"]) == ([1.0, 0.0], False, [*"012"])
    model.trained_on = {"range": [-1.0, 1.0], "prepared": "mnist"}
    found = described(model)
    assert found["centred"] and np.allclose(found["scale"], [2 / 255, -1.0])
    assert described(model_of((5, 5), layers.Dense(1, "sigmoid")), "mnist")["centred"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (model_of((8, 8, 4), layers.Dense(2, "softmax")), r"in colour .*\(8, 8, 4\)"),
        (model_of((8, 8, 3), layers.Dense(2, "softmax"), prepared="mnist"), "digits are grey"),
        (model_of((784,), layers.Dense(2, "softmax")), r"\(784,\)"),
        (model_of((8, 8), layers.Dense(3)), "class probabilities"),
        (model_of((8, 8), layers.Dense(1)), "class probabilities"),
        (model_of((2,), layers.Dense(3)), "class probabilities"),
        (model_of((2,), layers.Dense(9, "softmax")), "up to 6 classes"),
        (model_of((2,), layers.Dense(3, "softmax"), classes=["a"]), "1 class names"),
        (model_of((2,), layers.SimpleImputer(statistics=0.0), layers.Dense(1)), "strings"),
        (gpunn.Sequential([layers.Dense(2)]), "not built"),
    ],
)
def test_a_model_without_a_page_raises(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_page(model)


def test_a_model_of_two_inputs_has_no_page() -> None:
    a, b = layers.Input((2,)), layers.Input((2,))
    with pytest.raises(ValueError, match="one input and one output; this one has 2 and 1"):
        model_page(gpunn.Model([a, b], layers.Dense(1)(layers.Add()([a, b]))))


def test_no_page_is_written_of_a_wrong_name_or_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "m.gpunn", tmp_path / "m.html"
    model_of((8, 8, 4), layers.Dense(2, "softmax")).save(file)
    before = file.read_bytes()
    assert main(["export", str(file), str(file)]) == 1
    assert "must end in .html" in capsys.readouterr().err
    assert main(["export", str(file), str(page)]) == 1
    assert "colour" in capsys.readouterr().err
    assert file.read_bytes() == before and not page.exists()


def test_a_model_is_exported_as_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    file, out = tmp_path / "m.gpunn", tmp_path / "m.onnx"
    model = model_of((4,), layers.Dense(2, "softmax"))
    model.save(file)
    for _ in range(2):  # gpunn wrote the first one
        assert main(["export", str(file), str(out)]) == 0
    assert "for programs that run ONNX" in capsys.readouterr().out
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(y, model.predict(x, verbose=0), atol=1e-6)
    out.write_bytes(b"mine")
    assert main(["export", str(file), str(out)]) == 1
    assert "gpunn did not write it" in capsys.readouterr().err
    assert main(["export", str(file), str(out), "--like", "mnist", "--force"]) == 1
    assert out.read_bytes() == b"mine"


def test_an_export_as_onnx_says_units_and_how_to_leave_out_a_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    rows = [f"{n % 7}.5 kg,2024-01-{1 + n % 28:02},{3 * (n % 7) + n % 5}.1" for n in range(60)]
    table, out = tmp_path / "t.csv", tmp_path / "m.onnx"
    table.write_text("\n".join(["mass,sent on,price", *rows]))
    train = ["train", str(table), "--target", "price", "--fast", "--hidden", "2", "--epochs", "1"]
    export = ["export", str(tmp_path / "run" / "model.gpunn"), str(out)]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(export) == 1
    assert "pass --leave-out 'sent on'." in capsys.readouterr().err and not out.exists()
    assert main([*train, "--leave-out", "sent on", "--out", str(tmp_path / "run"), "--force"]) == 0
    capsys.readouterr()
    assert main(export) == 0
    assert "without their units: 'mass' in kg." in capsys.readouterr().out
