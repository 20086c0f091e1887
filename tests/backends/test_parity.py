"""Every registered part, trained on each backend and on NumPy, and on a GPU captured and eager.

Model, seed, order and dropout are the same in both. Without a GPU the CPU emulates it.
A registered layer, activation, loss, metric or optimizer takes part automatically; a class without
examples fails `test_everything_registered_has_a_case`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
import registered
from registered_networks import (
    BATCH,
    CASES,
    EPOCHS,
    KINDS,
    NO_CASE,
    TOLERANCE,
    assert_same_bits,
    assert_trains_as_numpy,
    data,
    drive,
    every_case,
    network,
    state,
    unusual,
)

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Step
from gpunn.backends.contract.control import BATCHES, LEARNING_RATE, PASS, POSITION, UPDATES
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch.modes import GRAPH_STEPS

pytestmark = unusual

GPU = emulated.make_backend()


class Eager(CupyBackend):
    """The GPU without graphs: Python performs each step."""

    def program(
        self, step: Step, traceable: bool = False, modes: Any = None, unread: Any = ()
    ) -> Any:
        class Program:
            def run(program, steps: int) -> None:
                with self.stream_lock:
                    for _ in range(steps):
                        step()

        return Program()


def eager(backend: Any) -> Any:
    """The same GPU without graphs, with its own work arrays."""
    made = backend.isolated()
    made.__class__, made.root = Eager, made
    return made


EAGER = eager(GPU)


def test_everything_registered_has_a_case() -> None:
    for kind in KINDS:
        excluded = NO_CASE.get(kind, ())
        assert {n for k, n, _ in CASES if k == kind} | {*excluded} == {*registered.names(kind)}


@pytest.mark.in_turn(3)
@every_case
@pytest.mark.parametrize(
    ("other", "dtype"),
    [
        ("compiled", "float32"),
        pytest.param("compiled", "float64", marks=pytest.mark.more),
        *(pytest.param("cupy", dtype, marks=pytest.mark.gpu) for dtype in TOLERANCE),
        *(pytest.param("emulated", dtype, marks=pytest.mark.more) for dtype in TOLERANCE),
    ],
)
def test_training_is_that_of_numpy(
    other: str, dtype: str, kind: str, name: str, arguments: dict
) -> None:
    assert_trains_as_numpy(other, dtype, EPOCHS, kind, name, arguments)


# -- captured steps


@pytest.mark.in_turn(6)
@every_case
def test_a_replayed_step_is_the_eager_one(
    gpu: str, kind: str, name: str, arguments: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitwise equal after changes of data, rate, position, pass and counters.

    On a GPU only in the mode ``plain``: in the others, products are not those of the library.
    """
    backend = get_backend(gpu)
    if gpu == "cupy":
        monkeypatch.setattr(backend, "launch_mode", "plain")
    case = (kind, name, arguments)
    assert_same_bits(*(drive(b, case) for b in (backend, eager(backend))))


ADAM = ("optimizer", "Adam", {"learning_rate": 0.01})


def test_many_steps_in_one_launch_are_the_eager_ones(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gpu == "cupy":
        monkeypatch.setattr(get_backend(gpu), "launch_mode", "plain")
    results = []
    for backend in (get_backend(gpu), eager(get_backend(gpu))):
        model = network(backend, "float32", *ADAM)
        x, y = data(model, (GRAPH_STEPS + 3) * BATCH)
        model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
        results.append(state(model))
    assert_same_bits(*results)


def as_it_is_now(control: Any, place: str, number: int) -> Any:
    """Return the control block with one value frozen at the time of the call, as Python sees it."""
    array = getattr(control, place)
    frozen = array.view(np.ndarray)[number].item()

    class Baked:
        def __getattr__(self, name: str) -> Any:
            if name != place:
                return getattr(control, name)
            # All others are read when the step runs: only this one is baked in.
            fresh = GPU.empty(array.shape, array.dtype)
            GPU.xp.copyto(fresh, array)
            fresh[number : number + 1].fill(frozen)
            return fresh

    return Baked()


BAKED = {
    "learning rate": ("update", "rates", LEARNING_RATE),
    "updates": ("update", "counters", UPDATES),
    "batches": ("dropout", "counters", BATCHES),
    "position": ("gather", "counters", POSITION),
    "pass": ("gather", "counters", PASS),
}


def operate(backend: Any, name: str, change: Callable[..., Any]) -> Any:
    """Return a backend whose operation ``name`` gets arguments changed by ``change``."""
    made = copy.copy(backend)
    plain = getattr(type(backend), name)

    def changed(*args: Any, **named: Any) -> Any:
        return plain(made, *map(change, args), **{key: change(x) for key, x in named.items()})

    setattr(made, name, changed)
    return made


@pytest.mark.parametrize("what", BAKED)
def test_a_number_baked_into_a_graph_is_caught(what: str) -> None:
    operation, place, number = BAKED[what]

    def bake(argument: Any) -> Any:
        control = isinstance(argument, gpunn.backends.contract.control.Control)
        return as_it_is_now(argument, place, number) if control else argument

    captured, performed = (drive(operate(b, operation, bake), ADAM) for b in (GPU, EAGER))
    assert_same_bits(performed, drive(EAGER, ADAM))  # no fault in an eager step
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_same_bits(captured, performed)


def test_a_counter_in_python_is_caught() -> None:
    class Counting(layers.Layer):
        """Divide by the number of calls so far: a graph keeps the one from its capture."""

        calls = 0

        def forward(self, call: Any) -> None:
            self.calls += 1
            call.backend.xp.multiply(call.x, 1.0 / self.calls, out=call.y)

        def backward(self, call: Any) -> None:
            call.backend.xp.multiply(call.dy, 1.0 / self.calls, out=call.dx)

    results = []
    for backend in (GPU, EAGER):
        gpunn.utils.set_random_seed(3)
        chain = [layers.Input((4, 3)), layers.Flatten(), layers.Dense(6), Counting()]
        model = gpunn.Sequential([*chain, layers.Dense(5)], backend=backend)
        model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = data(model)
        model.fit(x / np.float32(255), y, batch_size=BATCH, epochs=1, verbose=0)
        results.append(state(model))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_same_bits(*results)
