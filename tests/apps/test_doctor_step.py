"""What `gpunn doctor --step` reports about a training step."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import digit_networks as digits
import emulated
import numpy as np
import pretended_cuda
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.cli import doctor as doctor_command
from gpunn.apps.cli import main
from gpunn.apps.roofline import step_memory, step_profile
from gpunn.backends.contract.backend import LAUNCH_MODES
from gpunn.backends.cupy.driver import cuda, dry
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import GPUS
from gpunn.backends.cupy.launch.measured_modes import keep_mode, settings_path
from gpunn.backends.cupy.launch.modes import step_key

# -- gpunn doctor --step


@pytest.fixture(autouse=True)
def _(no_backend_yet: None) -> None:
    """Limit doctor's choice of a backend to its test."""


@gpunn.saving.register_serializable(package="doctor")
class Doubled(gpunn.activations.Activation):
    """An activation written for arrays: it has no kernel."""

    def forward(self, backend: Any, x: Any, out: Any) -> None:
        backend.xp.multiply(x, 2.0, out=out)

    def backward(self, backend: Any, saved: Any, dy: Any, out: Any) -> None:
        backend.xp.multiply(dy, 2.0, out=out)


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["doctor", "--step", *arguments]) == 0
    printed, complained = capsys.readouterr()
    assert complained == ""
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_doctor_prints_the_launches(capsys: pytest.CaptureFixture[str]) -> None:
    lines = doctor(capsys)
    operations = step_profile.profile_step(step_profile.example())
    launches = sum(operation.launches for operation in operations)
    title = " ".join(lines[:2])
    assert title == (
        "A training step of 784-128-dropout-10, batch 32, float32, Adam: "
        f"{len(operations)} operations, {launches} launches on a GPU"
    )
    figures = [line.split() for line in lines[3:] if line[:2].strip().isdigit()]
    assert [int(line[0]) for line in figures] == list(range(1, len(operations) + 1))
    product = ["3", "matmul", "518,144", f"{2 * 32 * 784 * 128:,}", "1"]
    assert product in figures
    assert lines[lines.index(next(x for x in lines if "matmul" in x)) + 1].split(", ") == [
        "     a 32x784", "b 784x128", "out 32x128",
    ]  # fmt: skip
    last = next(line for line in lines if line.split()[:1] == ["total"])
    together = [int(n.replace(",", "")) for n in last.split()[1:]]
    columns = zip(*(line[-3:] for line in figures), strict=True)
    plain = [[int(n.replace(",", "").replace("-", "0")) for n in column] for column in columns]
    assert together == [sum(column) for column in plain]


def test_doctor_predicts_and_measures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_profile, "name_gpus", lambda: [])
    lines = doctor(capsys)
    begin = lines.index("Predicted, not measured: microseconds per step on a GPU")
    assert lines[begin + 2].split() == ["launches", "work", "total", "one", "kernel"]
    rows = lines[begin + 3 : begin + 3 + len(GPUS)]
    operations = step_profile.profile_step(step_profile.example())
    for row, gpu in zip(rows, GPUS, strict=True):
        *name, launches, work, together, persistent = row.split()
        assert " ".join(name) == gpu.name
        assert float(together) == pytest.approx(
            1e6 * roofline.graph_step_seconds(operations, gpu), abs=0.06
        )
        assert float(launches) + float(work) == pytest.approx(float(together), abs=0.11)
        assert float(persistent) == pytest.approx(
            1e6 * roofline.persistent_step_seconds(operations, gpu), abs=0.06
        )
    (predicted,) = (line.split()[1:] for line in lines if line.split()[:1] == ["predicted"])
    (measured,) = (line.split()[1:] for line in lines if line.split()[:1] == ["measured"])
    assert len(predicted) == 3 and len(measured) == 1
    assert 1 < float(measured[0].replace(",", "")) < 1e6


def test_doctor_says_that_a_long_step_is_not_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_profile, "TOO_LONG", 1e-9)
    lines = doctor(capsys)
    (line,) = (line for line in lines if "not measured: more" in line)
    assert line.startswith("   not measured") and "--batch-size" in line
    assert not [line for line in lines if line.split()[:1] == ["measured"]]


def test_doctor_begins_with_the_gpu_that_is_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NVIDIA GeForce GTX 1080 Ti"] * 2 + ["NVIDIA GeForce GTX 970"]
    monkeypatch.setattr(step_profile, "name_gpus", lambda: names)
    monkeypatch.setattr(step_profile, "why_not", lambda: None)

    def measure(model: Any, batch: int, backend: Any = "numpy", seconds: float = 0) -> list[float]:
        taken = {"plain": 5e-6, "fused": 7e-6, "persistent": 6e-6}
        return [9e-6, 1e-6, taken.get(getattr(backend, "launch_mode", ""), 2e-6)]

    monkeypatch.setattr(step_profile, "measure", measure)
    gpunn.backends.register_backend("cupy", emulated.make_backend)
    lines = doctor(capsys)
    named = [line for line in lines if "GTX" in line or "H100" in line]
    assert named[0].startswith("   GTX 1080 Ti (this machine) ")
    assert named[1].startswith("   GTX 1050 Ti ")
    assert [line.split()[3:] for line in lines if line.startswith("   measured on emulated, ")] == [
        ["plain", "(chosen)", "5.0"], ["fused", "7.0"], ["persistent", "6.0"],
    ]  # fmt: skip
    assert any(line.startswith("   NVIDIA GeForce GTX 970: not") for line in lines)


@pytest.fixture
def quadro(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A pretended GPU, on which no launch mode has been measured; its name."""
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(step_profile, "name_gpus", lambda: ["Quadro P400"])
    for module in (step_profile, doctor_command):
        monkeypatch.setattr(module, "why_not", lambda: None)
    pretended_cuda.pretend(monkeypatch, pretended_cuda.Libraries(), "61")
    gpunn.backends.register_backend("cupy", cuda.make_backend)
    yield "Quadro P400"
    pretended_cuda.STREAMS.clear()


def small(backend: Any = "numpy") -> Any:
    chain = [layers.Input((5,)), layers.Dense(3, activation="relu"), layers.Dense(2)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("adam", "mse")
    return model


def mode_of(model: Any, batch: int = 8) -> str:
    """The launch mode that `fit` takes."""
    found: str = digits.program(model, np.ones((20, 5)), np.ones((20, 2)), batch).mode
    return found


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("fastest", LAUNCH_MODES)
def test_doctor_keeps_the_mode_that_it_measured(
    fastest: str,
    quadro: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(model: Any, batch: int, backend: Any = "numpy", seconds: float = 0) -> list[float]:
        return [1e-6 if getattr(backend, "launch_mode", "") == fastest else 2e-6]

    small().save(tmp_path / "model.gpunn")
    monkeypatch.setattr(step_profile, "measure", measure)
    predicted = mode_of(small(cuda.make_backend()))
    arguments = str(tmp_path / "model.gpunn"), "--batch-size", "8"
    doctor(capsys, *arguments)
    assert mode_of(small(cuda.make_backend())) == predicted  # nothing is kept unless asked for
    lines = doctor(capsys, *arguments, "--keep-mode")
    assert lines[-1].endswith(f"this step takes the mode {fastest!r}.")
    assert mode_of(small(cuda.make_backend())) == fastest
    assert mode_of(small(cuda.make_backend()), 10) == predicted  # another step
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", "fused")
    assert mode_of(small(cuda.make_backend())) == "fused"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Quadro P400": {"a step": "top"}}', None])
def test_kept_modes_that_cannot_be_read_are_done_without(quadro: str, text: str | None) -> None:
    path, step = settings_path(), step_key(step_profile.profile_step(small(), 8))
    keep_mode(quadro, step, "plain")
    if text is None:  # a folder
        path.unlink()
        path.mkdir()
    else:
        path.write_text(text)
    with pytest.warns(
        UserWarning, match=r"launch_modes\.json cannot be read: (.|\n)*Delete it, or"
    ):
        backend = cuda.make_backend()
    assert mode_of(small(backend)) != "plain"
    if text is not None:
        with pytest.warns(UserWarning, match="cannot be read"):
            keep_mode(quadro, step, "plain")
        assert mode_of(small(cuda.make_backend())) == "plain"


def test_a_resumed_training_keeps_its_mode_though_another_was_measured(
    quadro: str, tmp_path: Path
) -> None:
    step, x, y = step_key(step_profile.profile_step(small(), 8)), np.ones((16, 5)), np.ones((16, 2))
    backup = gpunn.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    for mode, epochs in (("fused", 1), ("plain", 2)):
        keep_mode(quadro, step, mode)
        model = small(cuda.make_backend())
        model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=[backup])
        assert mode_of(model) == "fused"


def convolutional(backend: Any) -> Any:
    chain = [
        layers.Input((12, 12, 3)), layers.Conv2D(8, 3, activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(4),
    ]  # fmt: skip
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("rmsprop", "mse")
    return model


def recurrent(backend: Any) -> Any:
    chain = [layers.Input((9, 5)), layers.LSTM(16), layers.Dropout(0.5), layers.Dense(4)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("make", [convolutional, recurrent])
def test_the_memory_is_that_of_the_pool(make: Any) -> None:
    """CuPy's memory pool, imitated, hands out as many bytes during a training."""
    memory = step_memory.step_memory(make("numpy"), 64)
    for batch in (64, 256):
        backend = emulated.make_backend()
        gc.collect()  # what other tests have left
        before = emulated.MEMORY.used_bytes()
        model = make(backend)
        x = np.zeros((batch * 2, *model.input_shape[1:]), np.float32)
        model.fit(x, np.zeros((len(x), 4)), batch_size=batch, verbose=0)
        used = emulated.MEMORY.used_bytes() - before
        assert used == pytest.approx(memory.of_batch(batch) + memory.data * len(x), rel=0.1)
    assert memory.weights == pytest.approx(2 * 4 * make("numpy").count_params(), rel=0.1)


def test_a_batch_that_fits_is_the_largest_one() -> None:
    memory = step_memory.StepMemory(1000, 1000, 500, 10.0, 4.0)
    assert [memory.largest_batch(n) for n in (2509, 2510, 2659, 2660, 2660 + 319)] == [
        0, 1, 8, 16, 32,
    ]  # fmt: skip


@pytest.mark.parametrize("floats", [False, True])
def test_doctor_measures_the_step_of_fit(floats: bool) -> None:
    """Whatever the types of the data that `fit` is given."""
    gpu = dry.make_backend()
    gpu.measured = {step_key(step_profile.profile_step(step_profile.example())): "plain"}
    x, y = digits.digits(80)
    x, y = (x.astype(np.float32), y.astype(np.int32)) if floats else (x, y)
    assert digits.program(digits.classic(gpu), x, y, step_profile.BATCH).mode == "plain"


def test_keeping_a_mode_needs_a_step_and_a_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_command, "why_not", lambda: "There is none.")
    for arguments, reason in (((), "needs --step"), (("--step",), "on a GPU. There is none.")):
        assert main(["doctor", "--keep-mode", *arguments]) == 1
        assert reason in capsys.readouterr().err


@gpunn.saving.register_serializable(package="doctor")
class Multiplied(Doubled):
    """The same by a product of matrices, which CuPy does not perform in a capture."""

    def forward(self, backend: Any, x: Any, out: Any) -> None:
        backend.xp.dot(x, 2 * backend.xp.eye(x.shape[1], dtype=x.dtype), out=out)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("activation", [Doubled(), Multiplied()])
def test_doctor_says_why_a_step_is_not_captured(
    activation: gpunn.activations.Activation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_profile, "name_gpus", lambda: ["NVIDIA GeForce GTX 1080 Ti"])
    monkeypatch.setattr(step_profile, "why_not", lambda: None)
    gpunn.backends.register_backend("cupy", emulated.make_backend)
    chain = [layers.Input((5,)), layers.Dense(3, activation=activation)]
    model = gpunn.Sequential(chain, backend="numpy")
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.gpunn")
    printed = " ".join(" ".join(doctor(capsys, str(tmp_path / "model.gpunn"))).split())
    reason = "not captured in a CUDA graph: calling cuBLAS API during stream capture: dot"
    assert (reason in printed) == isinstance(activation, Multiplied)


def test_doctor_lists_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = [layers.Input((5,)), layers.Dense(3, activation=Doubled()), layers.Dense(2)]
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
        ["bias_activation", "Doubled"],
        ["activation_gradient", "Doubled"],
    ]
    assert "The time is predicted only for float32, not for float64." in lines
    assert "32x5" in lines[5]  # not bytes: nothing indicates that its inputs are pixels


@gpunn.saving.register_serializable(package="doctor")
class OfTwo(gpunn.Model):
    """A model as a user writes it: its constructor takes no backend and no name."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.dense(x["a"]) - self.dense(x["b"])


def test_doctor_lists_a_model_with_a_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.ones((2, 3), "float32")
    model = OfTwo(4)
    model.compile("adam", "mse")
    model.fit({"a": x, "b": x}, np.ones((2, 4)), verbose=0)
    model.save(tmp_path / "model.gpunn")
    lines = doctor(capsys, str(tmp_path / "model.gpunn"), "--batch-size", "8")
    assert any("Memory of training" in line for line in lines)


def test_an_operation_without_a_launch_of_its_own_is_marked() -> None:
    model = step_profile.example()
    operations = step_profile.profile_step(model)
    for launches, fused, mark in ((2, False, "2"), (0, True, "-"), (0, False, "xp")):
        operations[2] = replace(operations[2], launches=launches, fused=fused)
        lines = step_profile.table(model, operations).splitlines()
        assert next(line for line in lines if line.startswith(" 3 matmul")).split()[-1] == mark
        assert lines[-1].split()[-1] == str(sum(operation.launches for operation in operations))
        assert ("functions (xp)" in lines[1]) == (mark == "xp")


def test_a_prediction_says_what_it_leaves_out() -> None:
    for activation, left_out in (("relu", False), (Doubled(), True)):
        chain = [layers.Input((5,)), layers.Dense(3, activation=activation), layers.Dense(2)]
        model = gpunn.Sequential(chain, backend="numpy")
        model.compile("sgd", "mse")
        lines = step_profile.predictions(model, step_profile.profile_step(model)).splitlines()
        assert ("   without the launches of array functions (xp)" in lines) is left_out
        assert max(map(len, lines)) <= 80
