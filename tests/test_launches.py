"""The launch list of a step: what is launched on a card, and what `gpunn doctor --step` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
import registered
import test_parity

import gpunn
from gpunn import layers
from gpunn.backends import dry
from gpunn.backends.recorder import Launch
from gpunn.cli import main, steps

CARD = test_parity.CARD
CLASSIC = 17  # launches in a step of 784-128-dropout-10 with Adam


def classic(backend: Any) -> Any:
    model = gpunn.Sequential.from_config({**steps.example().get_config(), "backend": backend})
    model.compile_from_config(steps.example().get_compile_config())
    return model


def program(model: Any, x: np.ndarray, y: Any, batch: int) -> Any:
    """The program that `fit` uses, past its first step."""
    rows = gpunn.models.data.to_rows(model.trainer.spec, x, y)
    made = model.trainer.program(batch, True, rows, rows.order(model.trainer.seed))
    made.run(1)
    return made


def recorded(model: Any, x: np.ndarray, y: Any, batch: int) -> list[Launch]:
    made = program(model, x, y, batch)
    with model.backend.recording() as launches:
        made._step()
    return launches


def streamed(model: Any, x: np.ndarray, y: Any, batch: int) -> int:
    """How many things the stream is asked for while a step is recorded."""
    made = program(model, x, y, batch)
    emulated.RECORDER.recording = asked = []
    try:
        made._step()
    finally:
        emulated.RECORDER.recording = None
    return len(asked)


def digits(rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((rows, 28, 28), np.uint8), np.zeros(rows, np.uint8)


def test_the_classic_step_is_seventeen_launches() -> None:
    assert streamed(classic(CARD), *digits(), 32) == CLASSIC
    launches = recorded(classic(CARD), *digits(), 32)
    assert [launch.kernels for launch in launches] == [1] * CLASSIC
    assert launches == steps.launches(classic("numpy"))


def test_more_rows_are_no_more_launches() -> None:
    assert streamed(classic(CARD), *digits(3000), 1000) == CLASSIC


def test_a_product_and_an_update_move_and_compute_what_is_written_here() -> None:
    launches = {
        launch.operation: launch for launch in reversed(recorded(classic("numpy"), *digits(), 32))
    }
    assert launches["matmul"].flops == 2 * 32 * 784 * 128
    assert launches["matmul"].bytes == 4 * (32 * 784 + 784 * 128 + 32 * 128)
    size = 784 * 128 + 128 + 128 * 10 + 10 + 6  # the last bias ends on a cache line
    assert launches["update"].shapes["m"] == (size,)
    assert launches["update"].bytes == 4 * 4 * size


@pytest.mark.parametrize("rows", [64, 1000])
def test_a_gather_moves_its_rows_and_not_the_data_set(rows: int) -> None:
    images, labels = recorded(classic("numpy"), *digits(rows), 32)[:2]
    assert images.shapes == {"source": (32, 28, 28), "out": (32, 28, 28)}
    assert images.bytes == 32 * 28 * 28 * (1 + 4)
    assert images.flops == 32 * 28 * 28
    assert labels.bytes == 32 * (4 + 4)


def test_clipping_touches_the_gradients_alone() -> None:
    model = classic("numpy")
    model.compile(gpunn.optimizers.Adam(global_clipnorm=1.0), model.loss)
    launches = recorded(model, *digits(), 32)
    clip = next(launch for launch in launches if launch.operation == "clip_gradients")
    assert list(clip.shapes) == ["gradients"]
    assert next(x for x in steps.launches(model) if x.operation == "clip_gradients").kernels == 2


@test_parity.every_case
def test_the_list_without_a_card_is_that_of_the_step(kind: str, name: str, arguments: dict) -> None:
    case = ("float32", kind, name, arguments)
    host, card = (test_parity.network(backend, *case) for backend in ("numpy", CARD))
    x, y = test_parity.data(host)
    listed = steps.launches(host, test_parity.BATCH)
    assert listed == recorded(card, x, y, test_parity.BATCH)

    def told(launches: list[Launch]) -> list[tuple]:
        return [(x.operation, x.formula, x.shapes, x.bytes, x.flops) for x in launches]

    assert told(listed) == told(recorded(host, x, y, test_parity.BATCH))
    asked, kernels = streamed(card, x, y, test_parity.BATCH), sum(x.kernels for x in listed)
    assert asked == kernels if all(x.kernels for x in listed) else asked > kernels


def test_finding_out_computes_nothing() -> None:
    model = classic(dry.make_backend())
    x, y = digits(steps.BATCH * 3)
    before = model.get_weights()
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert history["loss"] == [0.0, 0.0]
    assert all(map(np.array_equal, model.get_weights(), before))


# -- gpunn doctor --step


@pytest.fixture(autouse=True)
def _backend_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpunn.backends, "_chosen", None)


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["doctor", "--step", *arguments]) == 0
    printed, complained = capsys.readouterr()
    assert complained == ""
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_doctor_prints_the_launches(capsys: pytest.CaptureFixture[str]) -> None:
    lines = doctor(capsys)
    title = " ".join(lines[:2])
    assert title == (
        "A training step of 784-128-dropout-10, batch 32, float32, Adam: "
        f"{CLASSIC} operations, {CLASSIC} launches on a card"
    )
    figures = [line.split() for line in lines[3:] if line[:2].strip().isdigit()]
    assert [int(line[0]) for line in figures] == list(range(1, CLASSIC + 1))
    product = ["3", "matmul", "518,144", f"{2 * 32 * 784 * 128:,}", "1"]
    assert product in figures
    assert lines[lines.index(next(x for x in lines if "matmul" in x)) + 1].split(", ") == [
        "     a 32x784", "b 784x128", "out 32x128",
    ]  # fmt: skip
    together = [int(n.replace(",", "")) for n in lines[-1].split()[1:]]
    columns = zip(*(line[-3:] for line in figures), strict=True)
    assert together == [sum(int(n.replace(",", "")) for n in column) for column in columns]


def test_doctor_lists_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaky = gpunn.activations.Relu(negative_slope=0.2)
    chain = [layers.Input((5,)), layers.Dense(3, activation=leaky), layers.Dense(2)]
    model = gpunn.Sequential(chain, name="small", dtype="float64", backend="numpy")
    model.save(tmp_path / "model.gpunn")
    assert main(["doctor", "--step", str(tmp_path / "model.gpunn")]) == 1
    assert "The model 'small' has no training step" in capsys.readouterr().err

    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.save(tmp_path / "model.gpunn")
    lines = doctor(capsys, str(tmp_path / "model.gpunn"))
    assert lines[0].startswith(
        "A training step of small, batch 32, float64, SGD: 15 operations, 13"
    )
    slow = [line.split() for line in lines if " xp" in line[-3:]]
    assert [line[1:3] for line in slow] == [
        ["bias_activation", "Relu"],
        ["activation_gradient", "Relu"],
    ]
    assert "32x5" in lines[5]  # not bytes: nothing says that its inputs are pixels


def test_every_kind_of_layer_keeps_to_the_width() -> None:
    for name, arguments in registered.cases("layer"):
        model = test_parity.network("numpy", "float32", "layer", name, arguments)
        text = steps.table(model, steps.launches(model))
        assert max(map(len, text.splitlines())) <= steps.WIDTH
