"""The profile of a step: what it launches on a card, and what `gpunn doctor --step` says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
import registered
import registered_networks as parity
from digit_networks import classic, digits, profiled, program

import gpunn
from gpunn import layers
from gpunn.apps.cli import main
from gpunn.apps.roofline import roofline
from gpunn.apps.roofline import step_profile as steps
from gpunn.apps.roofline.known_cards import CARDS
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import Kernel


class Idle(emulated.EmulatedKernels):
    """Kernels that are asked for, and not compiled; their blocks cannot wait for each other."""

    resident = 0

    def prepare(self, kernel: Kernel) -> Any:
        return lambda grid, block, arguments: emulated.STREAM.perform(lambda: None)


class Zeros(emulated.ArrayModule):
    """Array functions look things up by labels that nobody gathers."""

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        return self.zeros(shape, dtype)


OPERATIONS = 17  # in a step of 784-128-dropout-10 with Adam
CARD = CupyBackend(Zeros(), Idle(), emulated.Products(), emulated.STREAM, "emulated")
CLASSIC = 11  # its launches


def streamed(model: Any, x: np.ndarray, y: Any, batch: int) -> int:
    """How many things the stream is asked for while a step is captured."""
    made = program(model, x, y, batch)
    emulated.STREAM.asked = 0
    made.run(1)
    return emulated.STREAM.asked


def test_the_classic_step_is_eleven_launches() -> None:
    assert streamed(classic(CARD), *digits(80), 32) == CLASSIC
    operations = profiled(classic(CARD), *digits(80), 32)
    assert len(operations) == OPERATIONS and sum(x.launches for x in operations) == CLASSIC
    assert [x.name for x in operations if x.fused] == [
        "bias_activation", "dropout", "loss", "activation_gradient", "column_sums", "advance",
    ]  # fmt: skip
    assert operations == steps.profile_step(classic("numpy"))


def test_more_rows_are_no_more_launches() -> None:
    assert streamed(classic(CARD), *digits(3000), 1000) == CLASSIC


def test_a_product_and_an_update_move_and_compute_what_is_written_here() -> None:
    operations = {
        operation.name: operation
        for operation in reversed(profiled(classic("numpy"), *digits(80), 32))
    }
    assert operations["matmul"].flops == 2 * 32 * 784 * 128
    assert operations["matmul"].bytes == 4 * (32 * 784 + 784 * 128 + 32 * 128)
    size = 784 * 128 + 128 + 128 * 10 + 10 + 6  # the last bias ends on a cache line
    assert operations["update"].shapes["m"] == (size,)
    assert operations["update"].bytes == 7 * 4 * size  # gradients are only read


@pytest.mark.parametrize("rows", [64, 1000])
def test_a_gather_moves_its_rows_and_not_the_data_set(rows: int) -> None:
    images, labels = profiled(classic("numpy"), *digits(rows), 32)[:2]
    assert images.shapes == {"source": (32, 28, 28), "out": (32, 28, 28)}
    assert images.bytes == 32 * 28 * 28 * (1 + 4)
    assert images.flops == 32 * 28 * 28
    assert labels.bytes == 32 * (4 + 4)


def test_clipping_touches_the_gradients_alone() -> None:
    model = classic("numpy")
    model.compile(gpunn.optimizers.Adam(global_clipnorm=1.0), model.loss)
    operations = profiled(model, *digits(80), 32)
    clip = next(operation for operation in operations if operation.name == "clip_gradients")
    assert list(clip.shapes) == ["gradients"]
    assert next(x for x in steps.profile_step(model) if x.name == "clip_gradients").launches == 2


@parity.unusual
@parity.every_case
def test_the_list_without_a_card_is_that_of_the_step(kind: str, name: str, arguments: dict) -> None:
    case = ("float32", kind, name, arguments)
    host, card = (parity.network(backend, *case) for backend in ("numpy", CARD))
    x, y = parity.data(host)
    listed = steps.profile_step(host, parity.BATCH)
    assert listed == profiled(card, x, y, parity.BATCH)

    def told(operations: list[ProfiledOperation]) -> list[tuple]:
        return [(x.name, x.formula, x.shapes, x.bytes, x.flops) for x in operations]

    assert told(listed) == told(profiled(host, x, y, parity.BATCH))
    asked, kernels = streamed(card, x, y, parity.BATCH), sum(x.launches for x in listed)
    by_functions = any(not x.launches and not x.fused for x in listed)
    assert asked > kernels if by_functions else asked == kernels


def test_finding_out_computes_nothing() -> None:
    model = classic(dry.make_backend())
    x, y = digits(steps.BATCH * 3)
    before = model.get_weights()
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert history["loss"] == [0.0, 0.0]
    assert all(map(np.array_equal, model.get_weights(), before))


# -- gpunn doctor --step


@pytest.fixture(autouse=True)
def _(no_backend_yet: None) -> None:
    """Doctor's choice of a backend ends with its test."""


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
        f"{OPERATIONS} operations, {CLASSIC} launches on a card"
    )
    figures = [line.split() for line in lines[3:] if line[:2].strip().isdigit()]
    assert [int(line[0]) for line in figures] == list(range(1, OPERATIONS + 1))
    product = ["3", "matmul", "518,144", f"{2 * 32 * 784 * 128:,}", "1"]
    assert product in figures
    assert lines[lines.index(next(x for x in lines if "matmul" in x)) + 1].split(", ") == [
        "     a 32x784", "b 784x128", "out 32x128",
    ]  # fmt: skip
    last = next(line for line in lines if line.split()[:1] == ["together"])
    together = [int(n.replace(",", "")) for n in last.split()[1:]]
    columns = zip(*(line[-3:] for line in figures), strict=True)
    plain = [[int(n.replace(",", "").replace("-", "0")) for n in column] for column in columns]
    assert together == [sum(column) for column in plain]


def test_doctor_predicts_and_measures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "name_cards", lambda: [])
    lines = doctor(capsys)
    begin = lines.index("Predicted, not measured: microseconds a step on a card")
    assert lines[begin + 2].split() == ["launches", "work", "together", "one", "kernel"]
    rows = lines[begin + 3 : begin + 3 + len(CARDS)]
    operations = steps.profile_step(steps.example())
    for row, card in zip(rows, CARDS, strict=True):
        *name, launches, work, together, persistent = row.split()
        assert " ".join(name) == card.name
        assert float(together) == pytest.approx(
            1e6 * roofline.graph_step_seconds(operations, card), abs=0.06
        )
        assert float(launches) + float(work) == pytest.approx(float(together), abs=0.11)
        assert float(persistent) == pytest.approx(
            1e6 * roofline.persistent_step_seconds(operations, card), abs=0.06
        )
    (predicted,) = (line.split()[1:] for line in lines if line.split()[:1] == ["predicted"])
    (measured,) = (line.split()[1:] for line in lines if line.split()[:1] == ["measured"])
    assert len(predicted) == 3 and len(measured) == 1
    assert 1 < float(measured[0].replace(",", "")) < 1e6


def test_doctor_begins_with_the_card_that_is_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NVIDIA GeForce GTX 1080 Ti"] * 2 + ["NVIDIA GeForce GTX 970"]
    monkeypatch.setattr(steps, "name_cards", lambda: names)
    monkeypatch.setattr(steps, "why_not", lambda: None)
    on = []

    def measure(model: Any, batch: int, backend: str = "numpy", seconds: float = 0) -> list[float]:
        on.append(backend)
        return [9e-6, 1e-6, 5e-6]

    monkeypatch.setattr(steps, "measure", measure)
    lines = doctor(capsys)
    named = [line for line in lines if "GTX" in line or "H100" in line]
    assert named[0].startswith("   GTX 1080 Ti, which is here ")
    assert named[1].startswith("   GTX 1050 Ti ")
    assert sum("1080 Ti" in line for line in named) == 2  # predicted, and measured
    (row,) = (line for line in lines if line.startswith("   measured on NVIDIA GeForce"))
    assert row.split()[-1] == "5.0" and "cupy" in on
    assert any(line.startswith("   NVIDIA GeForce GTX 970: not") for line in lines)


def test_doctor_lists_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = gpunn.activations.Softmax(axis=0)  # of columns: no kernel does that
    chain = [layers.Input((5,)), layers.Dense(3, activation=slow), layers.Dense(2)]
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
    functions = [line.split() for line in lines if " xp" in line[-3:]]
    assert [line[1:3] for line in functions] == [
        ["bias_activation", "Softmax"],
        ["activation_gradient", "Softmax"],
    ]
    assert lines[-1] == "How long it takes is predicted for float32 only, not for float64."
    assert "32x5" in lines[5]  # not bytes: nothing says that its inputs are pixels


def test_an_operation_without_a_launch_of_its_own_is_marked() -> None:
    model = steps.example()
    operations = steps.profile_step(model)
    for launches, fused, mark in ((2, False, "2"), (0, True, "-"), (0, False, "xp")):
        operations[2] = replace(operations[2], launches=launches, fused=fused)
        lines = steps.table(model, operations).splitlines()
        assert next(line for line in lines if line.startswith(" 3 matmul")).split()[-1] == mark
        assert lines[-1].split()[-1] == str(sum(operation.launches for operation in operations))
        assert ("functions (xp)" in lines[1]) == (mark == "xp")


def test_a_prediction_says_what_it_leaves_out() -> None:
    slow = gpunn.activations.Softmax(axis=0)
    for activation, left_out in (("relu", False), (slow, True)):
        chain = [layers.Input((5,)), layers.Dense(3, activation=activation), layers.Dense(2)]
        model = gpunn.Sequential(chain, backend="numpy")
        model.compile("sgd", "mse")
        told = steps.predictions(model, steps.profile_step(model)).splitlines()
        assert ("   without the launches of array functions (xp)" in told) is left_out
        assert max(map(len, told)) <= 80


def test_every_kind_of_layer_keeps_to_the_width() -> None:
    for name, arguments in registered.cases("layer"):
        model = parity.network("numpy", "float32", "layer", name, arguments)
        text = steps.table(model, steps.profile_step(model))
        assert max(map(len, text.splitlines())) <= steps.WIDTH
