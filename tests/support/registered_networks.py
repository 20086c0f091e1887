"""A network around each thing that is registered, and what training leaves of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, UPDATES

# 20 steps, every fifth on the 7 rows that are left. Neither 11 nor 7 rows can hold each of five
# classes equally often: a gradient that is 0 but for rounding would be made large by Adam.
ROWS, BATCH, EPOCHS = 51, 11, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
KINDS = ("layer", "activation", "loss", "metric", "optimizer")
NO_CASE: dict[str, tuple[str, ...]] = {
    "metric": ("Mean", "MeanMetricWrapper"),  # of numbers that are no predictions; of any function
    # These stand in front of a network, not in it.
    "layer": ("IntegerLookup", "MissingIndicator", "SimpleImputer", "StringLookup"),
}
CASES = [
    (kind, name, arguments)
    for kind in KINDS
    for name, arguments in registered.cases(kind, *NO_CASE.get(kind, ()))
]
every_case = pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)


def names_in_turn(now: int) -> Any:
    """The same, in every run the first case of every other name, and in `make test-more` the rest.

    Args:
        now: which names: those with even numbers (0), or with odd ones (1).
    """
    firsts: dict[tuple[str, str], Any] = {}
    for case in CASES:
        firsts.setdefault(case[:2], case)
    chosen = [*firsts.values()][now::2]
    return pytest.mark.parametrize(
        ("kind", "name", "arguments"),
        [pytest.param(*case, marks=[] if case in chosen else [pytest.mark.more]) for case in CASES],
        ids=registered.label,
    )


# Nothing learns through a step, and the steps are all the same: that is compared too.
unusual = pytest.mark.filterwarnings(
    "ignore:.*whose derivative is 0:UserWarning", "ignore:'accuracy' of 5 outputs:UserWarning"
)


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
            found: Any = gpunn.losses.get(loss)
            loss, output = found.on_logits(), "linear"
    chain = [
        subject if name == "InputLayer" else layers.Input((4, 3)),
        layers.Rescaling(1 / 255, offset=-0.5),
        layers.Flatten(),
        layers.Dense(12, activation=subject if kind == "activation" else "tanh"),
        *(
            registered.in_a_chain(subject, 12)
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
    return x, y if model.trainer.heads[0].loss.sparse else np.eye(5, dtype=model.dtype)[y]


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


def outcome(backend: Any, dtype: str, epochs: int, *case: Any) -> dict[str, np.ndarray]:
    """What comes of so many epochs, of five steps each."""
    model = network(backend, dtype, *case)
    x, y = data(model)
    history = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    assert model.optimizer.iterations == 5 * epochs
    logs = {f"{key} of fit": np.array(values) for key, values in history.history.items()}
    return {
        **state(model),
        **logs,
        "evaluate": np.array(model.evaluate(x, y, batch_size=BATCH, verbose=0)),
        "predict": model.predict(x, batch_size=BATCH, verbose=0),
    }


def assert_trains_as_numpy(other: str, dtype: str, epochs: int, *case: Any) -> None:
    host, device = (outcome(b, dtype, epochs, *case) for b in ("numpy", other))
    assert host.keys() == device.keys()
    for what, expected in host.items():
        assert device[what].dtype == expected.dtype
        assert np.isfinite(expected).all()
        difference = np.linalg.norm(np.subtract(device[what], expected, dtype=np.float64))
        assert difference <= TOLERANCE[dtype] * np.linalg.norm(expected), what


def drive(backend: Any, case: Any) -> dict[str, np.ndarray]:
    """Steps among which all changes that a step must notice while it is being replayed."""
    model = network(backend, "float32", *case)
    trainer = model.trainer
    x, y = data(model, 3 * ROWS)
    rows = gpunn.feeding.data.to_rows(trainer.spec, x, y, np.linspace(0.5, 1.5, len(x)))
    run = trainer.training.program(BATCH, rows, rows.order(trainer.seed)).run
    run(3)  # one eager, one captured, one replayed
    model.optimizer.learning_rate = 0.004
    run(1)
    trainer.control.set(PASS, 1)
    run(1)
    trainer.control.set(POSITION, 20)
    run(2)
    trainer.control.set(BATCHES, 1000)
    run(1)
    trainer.control.set(UPDATES, 50)
    run(1)
    new_x, new_y = data(model, 3 * ROWS, seed=1)
    model.backend.write(rows.x, new_x)
    model.backend.write(rows.arrays["y"], new_y)
    trainer.control.set(POSITION, 0)
    run(2)
    return state(model)


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
