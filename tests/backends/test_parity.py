"""Everything that is registered, trained on each backend and on NumPy's, and on a card recorded
beside eager: the same model, seed, order and dropout in both. Without a card the CPU plays it.

A layer, activation, loss, metric or optimizer that is registered takes part by itself; one
that nobody gave arguments in `registered.py` fails `test_everything_registered_has_a_case`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Step
from gpunn.backends.contract.control import BATCHES, LEARNING_RATE, PASS, POSITION, UPDATES
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch.modes import LONG

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
# 20 steps, every fifth on the 7 rows that are left. Neither 11 nor 7 rows can hold each of five
# classes equally often: a gradient that is 0 but for rounding would be made large by Adam.
ROWS, BATCH, EPOCHS = 51, 11, 4
KINDS = ("layer", "activation", "loss", "metric", "optimizer")
NO_METRIC = ("Mean", "MeanMetricWrapper")  # of numbers that are no predictions; of any function
CASES = [
    (kind, name, arguments)
    for kind in KINDS
    for name, arguments in registered.cases(kind, *(NO_METRIC if kind == "metric" else ()))
]
every_case = pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)

# Nothing learns through a step, and the steps are all the same: that is compared too.
unusual = pytest.mark.filterwarnings(
    "ignore:.*whose derivative is 0:UserWarning", "ignore:'accuracy' of 5 outputs:UserWarning"
)
pytestmark = unusual

CARD = emulated.make_backend()


class Eager(CupyBackend):
    """The card without recordings: each step is performed as Python says."""

    def capture(self, step: Step, listable: bool = False) -> Any:
        class Program:
            def run(self, steps: int) -> None:
                for _ in range(steps):
                    step()

        return Program()


def eager(backend: Any) -> Any:
    """That card without recordings, and with work arrays of its own."""
    made = copy.copy(backend)
    made.__class__ = Eager
    made._scratch, made._prepared = type(backend._scratch)(), {}
    return made


EAGER = eager(CARD)


def test_everything_registered_has_a_case() -> None:
    for kind in KINDS:
        assert {name for k, name, _ in CASES if k == kind} <= set(registered.TABLES[kind])


def network(backend: Any, dtype: str, kind: str, name: str, arguments: dict) -> gpunn.Sequential:
    """A network with dropout and one object of the case in it, compiled."""
    gpunn.utils.set_random_seed(3)
    if name == "InputLayer":
        arguments = {"shape": (4, 3)}
    subject = registered.make(kind, name, arguments)
    loss: Any = subject if kind == "loss" else "sparse_categorical_crossentropy"
    output: Any = "softmax"
    if kind == "loss" and (subject.fuses is None or subject.from_logits):
        output = "linear"
    elif kind == "loss" and subject.fuses == "Sigmoid":
        output = "sigmoid"
    if name in ("KLDivergence", "Poisson") and kind == "loss":  # logarithms of predictions
        output = "sigmoid"
    metrics: list[Any] = ["accuracy"]
    if kind == "metric":
        metrics = [subject]
        subject.build((None, 5))
        loss = loss if subject.sparse else "categorical_crossentropy"
        if getattr(subject, "from_logits", False):
            loss, output = gpunn.losses.get(loss).on_logits(), "linear"
    chain = [
        subject if name == "InputLayer" else layers.Input((4, 3)),
        layers.Rescaling(1 / 255, offset=-0.5),
        layers.Flatten(),
        layers.Dense(12, activation=subject if kind == "activation" else "tanh"),
        *(
            registered.in_a_chain(name, subject, 12)
            if kind == "layer" and name != "InputLayer"
            else []
        ),
        layers.Dropout(0.3),
        layers.Dense(7, activation="relu", kernel_initializer="he_normal"),
        layers.Dense(5, activation=output),
    ]
    model = gpunn.Sequential(chain, dtype=dtype, backend=backend)
    optimizer = subject if kind == "optimizer" else gpunn.optimizers.Adam(0.01)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return model


def data(model: gpunn.Sequential, rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, Any]:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (rows, 4, 3), dtype=np.uint8)
    y = (x.reshape(rows, 12) @ random.standard_normal((12, 5))).argmax(axis=1)
    return x, y if model.trainer.loss.sparse else np.eye(5, dtype=model.dtype)[y]


def state(model: gpunn.Sequential) -> dict[str, np.ndarray]:
    """Each array that training changes."""
    trainer = model.trainer
    tested = trainer.evaluations.call(lambda last: last.totals)
    arrays = {"totals": trainer.training.totals, "test totals": tested}
    for p in trainer.arena.parameters:
        arrays[p.path.split("/", 1)[1] + f" {len(arrays)}"] = p.value
        for slot, values in trainer.arena.slots.items() if p.trained else ():
            arrays[f"{slot} of {len(arrays)}"] = trainer.arena.segment(values, p)
    return {name: model.backend.read(array) for name, array in arrays.items()}


def outcome(backend: Any, dtype: str, *case: Any) -> dict[str, np.ndarray]:
    """What comes of 20 steps."""
    model = network(backend, dtype, *case)
    x, y = data(model)
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    assert model.optimizer.iterations == 20
    logs = {f"{key} of fit": np.array(values) for key, values in history.history.items()}
    return {
        **state(model),
        **logs,
        "evaluate": np.array(model.evaluate(x, y, batch_size=BATCH, verbose=0)),
        "predict": model.predict(x, batch_size=BATCH, verbose=0),
    }


@every_case
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_training_is_that_of_numpy(
    other: str, kind: str, name: str, arguments: dict, dtype: str
) -> None:
    host, device = (outcome(b, dtype, kind, name, arguments) for b in ("numpy", other))
    assert host.keys() == device.keys()
    for what, expected in host.items():
        assert device[what].dtype == expected.dtype
        assert np.isfinite(expected).all()
        difference = np.linalg.norm(np.subtract(device[what], expected, dtype=np.float64))
        assert difference <= TOLERANCE[dtype] * np.linalg.norm(expected), what


# -- recorded steps


def drive(backend: Any, case: Any) -> dict[str, np.ndarray]:
    """Steps among which all changes that a step must notice while it is being replayed."""
    model = network(backend, "float32", *case)
    trainer = model.trainer
    x, y = data(model, 3 * ROWS)
    rows = gpunn.feeding.data.to_rows(trainer.spec, x, y, np.linspace(0.5, 1.5, len(x)))
    run = trainer.training.program(BATCH, rows, rows.order(trainer.seed)).run
    run(3)  # one eager, one recorded, one replayed
    model.optimizer.learning_rate = 0.004
    run(2)
    trainer.control.set(PASS, 1)
    run(2)
    trainer.control.set(POSITION, 20)
    run(2)
    trainer.control.set(BATCHES, 1000)
    run(1)
    trainer.control.set(UPDATES, 50)
    run(1)
    new_x, new_y = data(model, 3 * ROWS, seed=1)
    model.backend.write(rows.x, new_x)
    model.backend.write(rows.y, new_y)
    trainer.control.set(POSITION, 0)
    run(3)
    return state(model)


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@every_case
def test_a_replayed_step_is_the_eager_one(card: str, kind: str, name: str, arguments: dict) -> None:
    """Bit for bit, with data, rate, position, pass and counters that have changed since."""
    recording = get_backend(card)
    case = (kind, name, arguments)
    assert_same_bits(*(drive(backend, case) for backend in (recording, eager(recording))))


ADAM = ("optimizer", "Adam", {"learning_rate": 0.01})


def test_many_steps_in_one_launch_are_the_eager_ones(card: str) -> None:
    results = []
    for backend in (get_backend(card), eager(get_backend(card))):
        model = network(backend, "float32", *ADAM)
        x, y = data(model, (LONG + 3) * BATCH)
        model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
        results.append(state(model))
    assert_same_bits(*results)


def as_recorded(control: Any, place: str, number: int) -> Any:
    """The control block, one number of which is that of the moment of the call."""
    array = getattr(control, place)
    frozen = CARD.upload(CARD.xp.asarray(np.array(array.view(np.ndarray))))

    class Baked:
        def __getattr__(self, name: str) -> Any:
            if name != place:
                return getattr(control, name)
            # All others as they are when the step runs: only this one is baked in.
            fresh = CARD.empty(array.shape, array.dtype)
            CARD.xp.copyto(fresh, array)
            CARD.xp.copyto(fresh[number : number + 1], frozen[number : number + 1])
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
    """A backend whose operation ``name`` gets arguments that ``change`` has changed."""
    made = copy.copy(backend)
    plain = getattr(type(backend), name)
    made.__dict__[name] = lambda *args: plain(made, *(change(argument) for argument in args))
    return made


@pytest.mark.parametrize("what", BAKED)
def test_a_number_baked_into_a_recording_is_caught(what: str) -> None:
    operation, place, number = BAKED[what]

    def bake(argument: Any) -> Any:
        control = isinstance(argument, gpunn.backends.contract.control.Control)
        return as_recorded(argument, place, number) if control else argument

    recorded, performed = (drive(operate(b, operation, bake), ADAM) for b in (CARD, EAGER))
    assert_same_bits(performed, drive(EAGER, ADAM))  # in an eager step it is no fault
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_same_bits(recorded, performed)


def test_a_counter_in_python_is_caught() -> None:
    class Counting(layers.Layer):
        """Divides by the number of its calls: a recording knows only the one it was made in."""

        calls = 0

        def forward(self, call: Any) -> None:
            self.calls += 1
            call.backend.xp.multiply(call.x, 1.0 / self.calls, out=call.y)

        def backward(self, call: Any) -> None:
            call.backend.xp.multiply(call.dy, 1.0 / self.calls, out=call.dx)

    results = []
    for backend in (CARD, EAGER):
        gpunn.utils.set_random_seed(3)
        chain = [layers.Input((4, 3)), layers.Flatten(), layers.Dense(6), Counting()]
        model = gpunn.Sequential([*chain, layers.Dense(5)], backend=backend)
        model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = data(model)
        model.fit(x / np.float32(255), y, batch_size=BATCH, epochs=1, verbose=0)
        results.append(state(model))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_same_bits(*results)
