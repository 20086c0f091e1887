"""After Ctrl-C anywhere in a step, the optimizer has counted the updates that the weights have."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupting import interrupt, places

import gpunn
from gpunn import layers
from gpunn.backends.shared.interrupts import perform

PACKAGE = Path(gpunn.__file__).parent
FILES = {
    str(PACKAGE / name)
    for name in (
        "training/step.py", "training/programs.py", "optimizers/on_arrays.py",
        "optimizers/optimizer.py", "backends/numpy/updates.py", "backends/numpy/backend.py",
        "backends/host/program.py", "backends/shared/interrupts.py", "ops/variable.py",
        "ops/running/compiled_step.py",
    )
}  # fmt: skip
assert all(Path(file).is_file() for file in FILES)
random = np.random.default_rng(0)
X = random.standard_normal((12, 3)).astype("float32")
Y = random.standard_normal((12, 1)).astype("float32")

Work = tuple[Any, Callable[[], Any], Callable[[], list[np.ndarray]]]


class Doubled(layers.Layer):
    """Defines its passes on arrays, in Python: no step with it is a program."""

    def forward(self, call: Any) -> None:
        np.multiply(call.x, 2.0, out=call.y)

    def backward(self, call: Any) -> None:
        if call.dx is not None:
            np.multiply(call.dy, 2.0, out=call.dx)


class Own(gpunn.Sequential):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def network(cls: Any = gpunn.Sequential, *more: Any) -> Any:
    gpunn.utils.set_random_seed(0)
    model = cls([layers.Input((3,)), layers.Dense(4, "tanh"), *more, layers.Dense(1)])
    model.compile(gpunn.optimizers.Adam(0.1), "mse")
    return model


def on_batches(cls: Any = gpunn.Sequential, *more: Any) -> Work:
    model = network(cls, *more)
    return model.optimizer, lambda: model.train_on_batch(X, Y), model.get_weights


def in_fit(cls: Any = gpunn.Sequential, *more: Any) -> Work:
    model = network(cls, *more)

    def fit() -> None:
        model.fit(X, Y, batch_size=12, epochs=1, shuffle=False, verbose=0)

    return model.optimizer, fit, model.get_weights


def by_apply(made: Callable[[], list[Any]]) -> Work:
    values, optimizer = made(), gpunn.optimizers.Adam(0.1)
    slopes = [np.ones(v.shape, "float32") for v in values]
    return optimizer, lambda: optimizer.apply(slopes, values), lambda: [*map(np.array, values)]


def by_function(scaled: bool) -> Work:
    model, optimizer, scale = network(), gpunn.optimizers.Adam(0.1), gpunn.Variable(1.0)
    loss = gpunn.losses.MeanSquaredError()
    weights = [*model.trainable_variables, *([scale] if scaled else [])]

    def step(x: Any, y: Any) -> Any:
        with gpunn.GradientTape() as tape:
            value = loss(y, model(x, training=True)) * scale
        optimizer.apply(tape.gradient(value, weights), weights)
        return value

    compiled = gpunn.function(step)
    return optimizer, lambda: compiled(X, Y), lambda: [*map(np.array, weights)]


WORK: dict[str, Callable[[], Work]] = {
    "fit": in_fit, "train_on_batch": on_batches,
    "fit, passes on arrays": lambda: in_fit(gpunn.Sequential, Doubled()),
    "train_on_batch, passes on arrays": lambda: on_batches(gpunn.Sequential, Doubled()),
    "train_step": lambda: in_fit(Own),
    "apply": lambda: by_apply(lambda: network().trainable_variables),
    "apply to variables": lambda: by_apply(lambda: [gpunn.Variable(np.ones(3, "float32"))]),
    "apply to arrays": lambda: by_apply(lambda: [np.ones(3, "float32"), np.ones((2, 2), "f")]),
    "function": lambda: by_function(False), "function with a variable": lambda: by_function(True),
}  # fmt: skip


def weights_by_count(make: Callable[[], Work], steps: int) -> dict[int, list[np.ndarray]]:
    optimizer, work, read = make()
    found = {}
    for _ in range(steps):
        work()
        found[int(optimizer.iterations)] = [w.copy() for w in read()]
    return found


@pytest.mark.in_turn(4)
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.more)])
@pytest.mark.parametrize("before", [0, 3], ids=["at first", "later"])
@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_signal_leaves_whole_steps(name: str, before: int, every: int, backend: str) -> None:
    """At lines that a step reaches, in the first steps and in the program that they make."""
    gpunn.use_backend(backend)
    make = WORK[name]
    expected = weights_by_count(make, before + 2)
    _, work, _ = make()
    for _ in range(before):
        work()
    for place in places(work, FILES)[::every]:
        optimizer, work, read = make()
        for _ in range(before):
            work()
        interrupt(work, place, by_signal=True)
        count = int(optimizer.iterations)
        assert before <= count <= before + 1
        for found, wanted in zip(read(), expected.get(count, read()), strict=True):
            np.testing.assert_array_equal(found, wanted, f"{count} updates, at {place}")


def test_an_interrupt_without_a_signal_lets_the_step_end() -> None:
    """One that is raised between two calls; within a call, nobody knows what it has done."""
    done: list[int] = []
    me, raised = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(KeyboardInterrupt)
    interrupted = partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, me, raised)
    with pytest.raises(KeyboardInterrupt):
        perform([partial(done.append, 1), interrupted, partial(done.append, 2)], 3)
    assert done == [1, 2]
