"""A network around each registered part, and the results of training it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, UPDATES

# 20 steps, every fifth on the remaining 7 rows.
ROWS, BATCH, EPOCHS = 51, 11, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
# Training must not be chaotic: if it amplifies a last bit, a comparison is meaningless.
# `test_conditioning.py` checks that for each case. So the steps are small and without Adam's
# moments, whose division amplifies a gradient that is 0 except for rounding. No bias begins at 0.
# Numeric targets are far from 0, by which one loss divides, and from each other.
RATE, RATE_OF_LOSSES, RATE_OF_OPTIMIZERS = 0.03, 0.002, 0.1  # the last: a factor on their own
SEED = 11
# Of optimizers that divide by values that may be small, or forget the first weights.
SEEDS = {"Adadelta": 25, "RMSprop": 13, "Ftrl": 14}
KINDS = ("layer", "activation", "loss", "metric", "optimizer")
NO_CASE: dict[str, tuple[str, ...]] = {
    # Of values that are not predictions, and of any function.
    "metric": (*registered.OF_VALUES, "MeanMetricWrapper"),
    "loss": registered.OF_SEQUENCES,
    # These precede a network and are not part of it.
    "layer": ("DatetimeEncoder", "HashingVectorizer", "IntegerLookup", "MissingIndicator",
              "Hashing", "SimpleImputer", "StringLookup", "TextVectorization"),
}
CASES = [
    (kind, name, arguments)
    for kind in KINDS
    for name, arguments in registered.cases(kind, *NO_CASE.get(kind, ()))
]
# In whose steps array functions remain beside operations: they ask whether any of several truths
# holds, or compute with the bits of integers. No operation of the backends does that.
WITH_ARRAY_FUNCTIONS = {"HashedCrossing"}


def _of_each_name() -> Iterator[tuple[int, Any]]:
    """Yield the cases, each after its number among those of its name."""
    seen: Counter[tuple[str, str]] = Counter()
    for case in CASES:
        yield seen[case[:2]], case
        seen[case[:2]] += 1


# The first case of each name, and every other one of its further ones; `make test-more` runs all.
every_case = pytest.mark.parametrize(
    ("kind", "name", "arguments"),
    [
        pytest.param(*case, marks=[] if number % 2 == 0 else [pytest.mark.more])
        for number, case in _of_each_name()
    ],
    ids=registered.label,
)


# Nothing learns through a step function, but the training steps are the same: that is compared too.
unusual = pytest.mark.filterwarnings(
    "ignore:.*whose derivative is 0:UserWarning", "ignore:'accuracy' of 5 outputs:UserWarning"
)


def network(backend: Any, dtype: str, kind: str, name: str, arguments: dict) -> gpunn.Sequential:
    """A compiled network with dropout and one object of the case in it."""
    gpunn.utils.set_random_seed(SEEDS.get(name, SEED))
    if name == "InputLayer":
        arguments = {"shape": (4, 3)}
    subject = registered.make(kind, name, arguments)
    loss: Any = subject if kind == "loss" else "sparse_categorical_crossentropy"
    output: Any = "softmax"
    if kind == "loss" and (subject.fuses is None or subject.from_logits):
        output = "linear"
    elif kind == "loss" and subject.fuses == "Sigmoid":
        output = "sigmoid"
    if name in ("KLDivergence", "Poisson", "Dice", "Tversky") and kind == "loss":  # of rates
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
        dense(12, subject if kind == "activation" else "tanh"),
        *(
            registered.in_a_chain(subject, 12)
            if kind == "layer" and name != "InputLayer"
            else []
        ),
        layers.Dropout(0.3),
        dense(7, "relu", kernel_initializer="he_normal"),
        dense(5, output),
        *([layers.UnitNormalization()] if name == "Circle" else []),
    ]
    model = gpunn.Sequential(chain, dtype=dtype, backend=backend)
    optimizer = gpunn.optimizers.SGD(RATE_OF_LOSSES if kind == "loss" else RATE)
    if kind == "optimizer":
        optimizer = subject
        optimizer.learning_rate = RATE_OF_OPTIMIZERS * float(optimizer.learning_rate)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return model


def dense(units: int, activation: Any, **options: Any) -> layers.Dense:
    """A layer with a nonzero bias, so that changes of the bias are compared relative to that."""
    return layers.Dense(units, activation=activation, bias_initializer="normal", **options)


def data(model: gpunn.Sequential, rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, Any]:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (rows, 4, 3), dtype=np.uint8)
    y = (x.reshape(rows, 12) @ random.standard_normal((12, 5))).argmax(axis=1)
    loss = model._trainer.terms[0].loss
    if loss.predictions is None and not loss.fuses and not loss.sparse:
        return x, random.uniform(1.0, 2.0, (rows, 5)).astype(model.dtype)
    return x, y if loss.sparse else np.eye(5, dtype=model.dtype)[y]


def state(model: gpunn.Sequential) -> dict[str, np.ndarray]:
    """The arrays that training changes."""
    trainer = model._trainer
    tested = trainer.evaluations.call(lambda last: last.totals)
    arrays = {"totals": trainer.training.totals, "test totals": tested}
    for p in trainer.storage.parameters:
        arrays[p.path.split("/", 1)[1] + f" {len(arrays)}"] = p.value
        for slot, values in trainer.storage.slots.items() if p.trained else ():
            arrays[f"{slot} of {len(arrays)}"] = trainer.storage.segment(values, p)
    return {name: model.backend.read(array) for name, array in arrays.items()}


def outcome(
    backend: Any, dtype: str, epochs: int, *case: Any, weights: Any = None
) -> dict[str, np.ndarray]:
    """Return the results of this many epochs of five steps each.

    Args:
        backend, dtype, epochs, case: self-explanatory.
        weights: a function that changes the model, and returns the sample weights.
    """
    model = network(backend, dtype, *case)
    x, y = data(model)
    of_rows = None if weights is None else weights(model)
    history = model.fit(x, y, BATCH, epochs, sample_weight=of_rows, verbose=0)
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
    assert_near(host, device, TOLERANCE[dtype])


def assert_near(
    host: dict[str, np.ndarray], device: dict[str, np.ndarray], tolerance: float
) -> None:
    assert host.keys() == device.keys()
    for what, expected in host.items():
        assert device[what].dtype == expected.dtype
        assert np.isfinite(expected).all()
        difference = np.linalg.norm(np.subtract(device[what], expected, dtype=np.float64))
        assert difference <= tolerance * np.linalg.norm(expected), what


def drive(backend: Any, case: Any) -> dict[str, np.ndarray]:
    """Run steps with all changes between them that a step must notice while it is replayed."""
    model = network(backend, "float32", *case)
    trainer = model._trainer
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
