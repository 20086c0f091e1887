"""Products with rounded factors: the formats, and which products use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from benchmarks import RESULTS
from benchmarks.studies import precision
from gpunn import layers
from gpunn.backends.shared.precision import PRECISIONS, rounded


@pytest.fixture(autouse=True)
def _restore(no_backend_yet: None) -> Iterator[None]:
    yield
    gpunn.config.set_floatx("float32")


def numbers() -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 100_000, dtype=np.uint32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4028235e38, 1e-45, 1.5], np.float32)
    halves = np.arange(4096, dtype=np.uint32) << np.uint32(12)  # ties of TF32 and of bfloat16
    return np.concatenate([bits, halves, special.view(np.uint32)]).view(np.float32)


def test_bfloat16_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="its wheel is for Python 3.11")
    x = numbers()
    expected = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(rounded(x, "bfloat16"), expected)


@pytest.mark.parametrize(("name", "bits"), PRECISIONS.items())
def test_the_nearest_number_of_so_many_bits(name: str, bits: int) -> None:
    x = numbers()
    x = x[np.isfinite(x) & (abs(x) > 1e-30) & (abs(x) < 1e38)]
    mantissa, exponent = np.frexp(x.astype(np.float64))
    expected = np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)
    np.testing.assert_array_equal(rounded(x, name), expected)


def test_no_other_dtype_is_rounded() -> None:
    with pytest.raises(TypeError, match="tf32 rounds float32; got float64"):
        rounded(np.zeros(3), "tf32")


def make_model(matmul_precision: str | None, **how: Any) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(
        [layers.Input((20,)), layers.Dense(16, activation="relu"), layers.Dense(5)]
    )
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, matmul_precision=matmul_precision, **how)
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 20)).astype(np.float32), rng.integers(0, 5, 40)


def trained(model: gpunn.Sequential, epochs: int = 2) -> list[np.ndarray]:
    model.fit(*data(), batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def distance(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True))


def test_each_model_has_its_own_precision_on_one_backend() -> None:
    gpunn.use_backend("emulated")
    alone = {name: trained(make_model(name)) for name in (None, *PRECISIONS)}
    assert 1e-6 < distance(alone["tf32"], alone[None]) < 1e-2
    assert 2 * distance(alone["tf32"], alone[None]) < distance(alone["bfloat16"], alone[None]) < 0.1
    together = {name: make_model(name) for name in alone}
    for _ in range(2):
        for model in together.values():
            trained(model, epochs=1)
    for name, model in together.items():
        assert distance(model.get_weights(), alone[name]) == 0


def test_predictions_stay_float32() -> None:
    gpunn.use_backend("emulated")
    model, (x, y) = make_model("bfloat16"), data()
    logits = model.predict(x, verbose=0)
    first, bias, second, last = model.get_weights()
    expected = np.maximum(x @ first + bias, 0) @ second + last
    np.testing.assert_allclose(logits, expected, 1e-4, 1e-5)
    wanted = make_model(None).evaluate(x, y, verbose=0)
    assert abs(model.evaluate(x, y, verbose=0) - wanted) > 1e-5  # evaluation is rounded


def test_products_within_one_kernel_stay_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    gpunn.use_backend("emulated")
    monkeypatch.setattr(gpunn.backends.get_backend(), "launch_mode", "persistent")
    assert distance(trained(make_model("tf32")), trained(make_model(None))) == 0


def test_recompiling_changes_the_captured_steps() -> None:
    gpunn.use_backend("emulated")
    model = make_model("tf32")
    trained(model)
    start = model.get_weights()
    results = []
    for name in ("tf32", None):
        model.set_weights(start)
        model.compile("sgd", model.loss, matmul_precision=name)
        results.append(trained(model))
    assert distance(*results) > 1e-6


def test_numpy_says_once_that_it_has_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    gpunn.use_backend("numpy")
    plain = trained(make_model(None))
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert distance(trained(make_model("tf32")), plain) == 0
    line = "gpunn: matmul_precision='tf32' has no effect on the numpy backend.\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("wrong", ["tf23", "float16", 16, ["tf32"], ""])
def test_an_unknown_name_is_refused(wrong: Any) -> None:
    message = r"matmul_precision must be None or one of tf32, bfloat16; got "
    with pytest.raises(ValueError, match=message):
        make_model(wrong)


def test_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpunn.use_backend("emulated")
    monkeypatch.setattr(gpunn.backends.get_backend(), "precisions", ())
    with pytest.raises(
        ValueError, match=r"'tf32' needs a GPU of compute capability 8\.0 or newer"
    ):
        make_model("tf32")


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_float64_model_is_refused(backend: str) -> None:
    gpunn.use_backend(backend)
    gpunn.config.set_floatx("float64")
    with pytest.raises(ValueError, match="'tf32' rounds float32, but the model is float64"):
        make_model("tf32")


def test_it_is_saved_with_the_model(tmp_path: Any) -> None:
    gpunn.use_backend("emulated")
    model = make_model("bfloat16")
    assert model.get_compile_config()["matmul_precision"] == "bfloat16"
    model.save(tmp_path / "model.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert loaded.matmul_precision == "bfloat16"
    assert distance(trained(loaded), trained(model)) == 0


def test_the_page_says_what_the_figures_say() -> None:
    figures = json.loads((RESULTS / "precision.json").read_text())
    assert (RESULTS / "precision.md").read_text() == precision.table(figures)
    assert all(len(values) == len(figures["seeds"]) for values in figures["accuracy"].values())
