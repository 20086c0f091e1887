"""Test what is printed when Ctrl-C ends a program: the user's lines, and none of gpunn's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupting import interrupt, places

import gpunn
from gpunn import layers, ops

PACKAGE = Path(gpunn.__file__).parent
FILES = {str(path) for path in PACKAGE.rglob("*.py")}
X, Y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
MOMENTS = 12  # of each call


def calls_of_a_loop_by_hand() -> dict[str, Callable[[], Any]]:
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2, "tanh"), layers.Dense(1)])
    optimizer, loss = gpunn.optimizers.Adam(), gpunn.losses.MeanSquaredError()
    metric, layer = gpunn.metrics.MeanAbsoluteError(), layers.Dense(2)
    layer.build((None, 3))
    variables = model.trainable_variables

    def derive() -> Any:
        with gpunn.GradientTape() as tape:
            error = loss(Y, model(X))
        return tape.gradient(error, variables)

    gradients = derive()
    return {
        "model": lambda: model(X, training=True),
        "layer": lambda: layer(X),
        "loss": lambda: loss(Y, 2 * Y),
        "tape": derive,
        "optimizer": lambda: optimizer.apply(gradients, variables),
        "metric": lambda: metric.update_state(Y, 2 * Y),
        "operations": lambda: float(ops.sum(ops.exp(-ops.convert_to_tensor(X)) / 2)),
        "function": lambda: gpunn.function(lambda x: x * 2)(X),
        "grad": lambda: gpunn.grad(ops.sum)(ops.convert_to_tensor(X)),
        "make": lambda: gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2)]),
        "random": lambda: gpunn.random.normal((2,)),
    }


@pytest.mark.traced
@pytest.mark.parametrize("name", calls_of_a_loop_by_hand())
def test_an_interrupt_that_ends_a_program_shows_the_lines_of_the_user_alone(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call, own, shown = calls_of_a_loop_by_hand()[name], Path(__file__).name, 0

    def ends() -> None:
        try:
            call()
        except KeyboardInterrupt as stop:  # as Python ends a program
            sys.excepthook(KeyboardInterrupt, stop, stop.__traceback__)

    call()  # which prepares what the next calls find
    inside = places(call, FILES)
    assert len(inside) > MOMENTS
    for place in inside[:: len(inside) // MOMENTS]:
        interrupt(ends, place)
        lines = capsys.readouterr().err.splitlines()
        if not lines:
            continue  # the call takes another way the next time
        shown += 1
        files = [Path(file).name for file in re.findall('^ *File "(.+?)"', "\n".join(lines), re.M)]
        assert files[0] == own and files[-1] == "interrupting.py", place
        assert set(files[:-1]) == {own} and lines[-1] == "KeyboardInterrupt", place
        assert lines.count("Traceback (most recent call last):") == 1, place
    assert shown > MOMENTS // 3


def test_frames_of_a_library_are_left_out_and_errors_of_the_user_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(1)])
    inside = places(model.to_json, {json.encoder.__file__})

    def ends() -> None:
        try:
            try:
                raise LookupError("of the user")
            except LookupError:
                model.to_json()
        except KeyboardInterrupt as stop:
            sys.excepthook(KeyboardInterrupt, stop, stop.__traceback__)

    interrupt(ends, inside[-1])
    printed = capsys.readouterr().err
    assert "of the user" in printed and printed.count("Traceback") == 2
    files = [Path(file).name for file in re.findall('^ *File "(.+?)"', printed, re.M)]
    assert files == [Path(__file__).name, Path(__file__).name, "interrupting.py"]


def test_errors_that_gpunn_was_handling_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        with suppress(ValueError):
            ops.convert_to_tensor([[1], [1, 2]])  # of which NumPy's error becomes another

    def ends() -> None:
        try:
            call()
        except KeyboardInterrupt as stop:
            handled.append(stop.__context__)
            sys.excepthook(KeyboardInterrupt, stop, stop.__traceback__)

    handled = list[Any]()
    interrupt(ends, places(call, {str(PACKAGE / "ops" / "conversion.py")})[-1])
    assert isinstance(handled[0], ValueError)
    assert capsys.readouterr().err.count("Traceback") == 1


PROGRAM = """
import signal
import gpunn
signal.signal(signal.SIGINT, signal.default_int_handler)

class Stop(gpunn.layers.Layer):
    def call(self, x):
        signal.raise_signal(signal.SIGINT)

def step(x):
    return Stop()(x)

step(gpunn.ops.ones((1, 2)))
"""


def test_a_program_prints_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    found = re.findall(r'File ".*?(\w+\.py)", line \d+, in (.+)', done.stderr)
    assert found == [("program.py", "<module>"), ("program.py", "step"), ("program.py", "call")]
    assert done.stderr.endswith("\nKeyboardInterrupt\n")


def test_a_hook_of_the_user_is_called_and_other_errors_are_as_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError) as caught:
        layers.Dense(-1)
    sys.excepthook(ValueError, caught.value, caught.value.__traceback__)
    assert f"{PACKAGE}" in capsys.readouterr().err


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
shell.run_cell('''
import signal
import gpunn
signal.signal(signal.SIGINT, signal.default_int_handler)
class Stop(gpunn.layers.Layer):
    def call(self, x):
        signal.raise_signal(signal.SIGINT)
''')
shell.run_cell("Stop()(gpunn.ops.ones((1, 2)))")
"""


def test_a_notebook_shows_its_own_lines(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "KeyboardInterrupt" in done.stdout and "raise_signal(signal.SIGINT)" in done.stdout
    assert "Stop()(gpunn.ops.ones((1, 2)))" in done.stdout
    assert str(PACKAGE) not in done.stdout and "gpunn/" not in done.stdout
