"""Test that the same seed gives the same bits, in every process and execution mode."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends.shared.order import permutation

# A fit with everything that could differ: random initial weights, a shuffled order, a ragged
# last batch, dropout, and a layer wide enough for several BLAS threads.
SCRIPT = """
import hashlib, json, sys
import numpy as np
import gpunn
from gpunn import layers

random = np.random.default_rng(0)
x = random.integers(0, 256, (701, 28, 28), dtype=np.uint8)
y = random.integers(0, 10, 701)
gpunn.utils.set_random_seed(int(sys.argv[1]))
model = gpunn.Sequential([
    layers.Input((28, 28)),
    layers.Rescaling(1 / 255),
    layers.Flatten(),
    layers.Dense(int(sys.argv[2]), activation="relu", kernel_initializer="he_normal"),
    layers.Dropout(0.2),
    layers.Dense(24, activation="tanh"),
    layers.Dropout(0.5),
    layers.Dense(10, activation="softmax"),
])
model.compile(optimizer=sys.argv[3], loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=2, batch_size=int(sys.argv[4]), validation_split=0.1, verbose=0)
bits = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
print(json.dumps([bits, history.history, model.predict(x[:3], verbose=0).tolist()]))
"""
SMALL = ("16", "adam", "32")
WIDE = ("1024", "sgd", "128")


def run(backend: str, seed: int, *arguments: str) -> str:
    """Return the output of the script, run in its own process with any number of threads."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment["GPUNN_BACKEND"] = backend
    command = [sys.executable, "-c", SCRIPT, str(seed), *arguments]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=300
    ).stdout


@contextlib.contextmanager
def busy_neighbours() -> Iterator[None]:
    """Run as many busy processes as there are processors."""
    command = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("arguments", "backend"),
    [
        pytest.param(SMALL, "numpy", marks=pytest.mark.more),
        (SMALL, "compiled"),
        (WIDE, "numpy"),
        pytest.param(WIDE, "compiled", marks=pytest.mark.more),
    ],
    ids=["small-numpy", "small-compiled", "wide-numpy", "wide-compiled"],
)
def test_fresh_processes_agree_bit_for_bit(arguments: tuple[str, ...], backend: str) -> None:
    first = run(backend, 1, *arguments)
    assert len(json.loads(first)[1]["loss"]) == 2
    assert run(backend, 1, *arguments) == first
    with busy_neighbours():
        assert run(backend, 1, *arguments) == first
    bits, history, outputs = json.loads(run(backend, 2, *arguments))
    assert bits != json.loads(first)[0]
    assert history != json.loads(first)[1]
    assert outputs != json.loads(first)[2]


def data(rows: int = 70) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    return source.standard_normal((rows, 12)).astype(np.float32), source.integers(0, 5, rows)


def network(backend: str = "numpy", dropout: float = 0.3) -> Any:
    model = gpunn.Sequential(
        [
            layers.Input((12,)),
            layers.Dense(9, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(5, activation="softmax"),
        ],
        backend=backend,
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def bits(arrays: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_program_and_single_steps_give_the_same_bits(backend: str) -> None:
    x, y = data()
    gpunn.utils.set_random_seed(3)
    captured = network(backend)
    gpunn.utils.set_random_seed(3)
    stepped = network(backend)
    history = captured.fit(x, y, batch_size=16, epochs=3, verbose=0).history
    for epoch in range(3):
        order = permutation(len(x), stepped._trainer.seed, epoch)
        stepped._trainer.training.reset_totals()
        for start in range(0, len(x), 16):
            rows = order[start : start + 16]
            loss = stepped.train_on_batch(x[rows], y[rows])[0]
    assert bits(stepped.get_weights()) == bits(captured.get_weights())
    assert np.isfinite(loss) and len(history["loss"]) == 3


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_steps_watched_one_by_one_give_the_same_bits(backend: str) -> None:
    """With a callback for each batch, every launch runs only one step."""

    class Watch(gpunn.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            Watch.seen += logs["loss"] > 0

    x, y = data()
    results = []
    for callbacks in ([], [Watch()]):
        gpunn.utils.set_random_seed(3)
        model = network(backend)
        history = model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks)
        results.append((bits(model.get_weights()), history.history))
    assert results[0] == results[1]
    assert Watch.seen == 10


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"shuffle": False},
        {"sample_weight": np.linspace(0.5, 2.0, 24)},
        {"batch_size": 7},  # a smaller last batch
        {"batch_size": 24},
        {"initial_epoch": 12},
    ],
    ids=str,
)
def test_epochs_between_which_nobody_looks_give_the_same_bits(
    given: dict[str, Any], backend: str
) -> None:
    x, y = data(24)
    results = []
    for callbacks in ([], [gpunn.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)]):
        gpunn.utils.set_random_seed(3)
        model = network(backend)
        fit = {"batch_size": 4, "epochs": 30, "verbose": 0, **given}
        histories = [model.fit(x, y, callbacks=callbacks, **fit) for _ in range(2)]
        tensors, document = model.training_state()
        results.append(
            ([(h.epoch, h.history) for h in histories], bits(model.get_weights()),
             bits([*tensors.values()]), document, bits([*model.gradients().values()]))
        )  # fmt: skip
    assert results[0] == results[1]
    assert len(results[0][0][1][0]) == 30 - given.get("initial_epoch", 0)


def test_a_process_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-Z: its clock then jumps, and few steps seem to fit into the time of a run."""
    x, y = data(24)
    clock, results = time.perf_counter, []
    for stopped in (False, True):
        gpunn.utils.set_random_seed(3)
        model = network("compiled")
        if stopped:
            monkeypatch.setattr(
                time, "perf_counter",
                lambda done=model._trainer.progress: clock() + 1e4 * (done.passes > 50),
            )
        history = model.fit(x, y, batch_size=4, epochs=600, verbose=0)
        results.append((history.epoch, history.history, bits(model.get_weights())))
    assert results[0] == results[1]


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_gradients_after_many_short_epochs_are_those_of_the_last_batch(backend: str) -> None:
    """A smaller one, which reads few rows of the table."""
    found = []
    for callbacks in ([], [gpunn.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)]):
        gpunn.utils.set_random_seed(3)
        table = layers.Embedding(30_000, 2)
        model = gpunn.Sequential(
            [layers.Input((1,), dtype="int32"), table, layers.Flatten(), layers.Dense(1)],
            backend=backend,
        )
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        x = np.arange(7)[:, None]
        model.fit(x, x / 7, batch_size=3, epochs=9, verbose=0, shuffle=False, callbacks=callbacks)
        first, *_ = model.gradients().values()
        assert np.unique(first.nonzero()[0]).tolist() == [6]
        found.append(bits([*model.gradients().values(), *model.get_weights()]))
    assert found[0] == found[1]


@pytest.mark.parametrize("batch_size", [3, 4])  # also a smaller last batch
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_gradients_after_an_infinite_loss_are_those_of_its_epoch(
    backend: str, batch_size: int
) -> None:
    """Also those of a layer whose weights move as their gradients are computed."""
    found = []
    for callbacks in ([], [gpunn.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)]):
        gpunn.utils.set_random_seed(3)
        model = gpunn.Sequential([layers.Input((64,)), layers.Dense(64)], backend=backend)
        model.compile(gpunn.optimizers.SGD(4.0), "mse")
        x, y = np.linspace(-1, 1, 4 * 64).reshape(4, 64), np.ones((4, 64))
        with pytest.raises(FloatingPointError):
            model.fit(x, y, batch_size, epochs=1000, verbose=0, callbacks=callbacks)
        assert len(model.history.epoch) > 50
        found.append(bits([*model.gradients().values(), *model.get_weights()]))
    assert found[0] == found[1]


@pytest.mark.parametrize("batch_size", [1, 3])  # also a smaller last one
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_loss_that_becomes_infinite_ends_the_same_epoch(backend: str, batch_size: int) -> None:
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    results = []
    for callbacks in ([], [gpunn.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)]):
        gpunn.utils.set_random_seed(3)
        model = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)], backend=backend)
        model.set_weights([np.ones((1, 1)), np.zeros(1)])
        model.compile(gpunn.optimizers.SGD(0.7), "mse")  # each step multiplies the error by -1.8
        with pytest.raises(FloatingPointError) as caught:
            model.fit(x, y, batch_size, epochs=1000, verbose=0, callbacks=callbacks)
        history, (tensors, document) = model.history, model.training_state()
        state = bits([*model.get_weights(), *tensors.values()])
        results.append((str(caught.value), history.epoch, history.history, state, document))
    assert results[0] == results[1]
    assert 10 < len(results[0][1]) < 100


def test_the_seed_covers_initial_weights_order_and_dropout() -> None:
    def draw(seed: int) -> dict[str, Any]:
        gpunn.utils.set_random_seed(seed)
        x, y = data()
        model = network()
        found = {
            "initial weights": bits(model.get_weights()),
            "order": permutation(len(x), model._trainer.seed, 0).tolist(),
            "a layer's dropout": layers.Dropout(0.5)(x, training=True).tolist(),
            "an initializer": gpunn.initializers.HeNormal()((3, 3)).tolist(),
            "Python": random.random(),
            "NumPy": np.random.random(),  # noqa: NPY002  what set_random_seed promises
        }
        model.set_weights([np.ones(w.shape) for w in model.get_weights()])
        model.train_on_batch(x, y)
        call = model._trainer.last_batch.workspace.calls[1]
        found["the model's dropout"] = (call.y != 0).tolist()
        return found

    first, again, other = draw(1), draw(1), draw(2)
    assert first == again
    for what, value in first.items():
        assert value != other[what], what


def test_models_in_a_row_differ_until_the_seed_is_set_again() -> None:
    gpunn.utils.set_random_seed(1)
    first, second = network(), network()
    gpunn.utils.set_random_seed(1)
    again = network()
    assert bits(first.get_weights()) != bits(second.get_weights())
    assert first._trainer.seed != second._trainer.seed
    assert bits(first.get_weights()) == bits(again.get_weights())
    assert first._trainer.seed == again._trainer.seed


def test_dropout_differs_from_step_to_step_and_layer_to_layer() -> None:
    x, y = data()
    x = np.ones_like(x)
    inputs = layers.Input((12,))
    dropped = [layers.Dropout(0.5)(inputs) for _ in range(2)]
    model = gpunn.Model(inputs, layers.Dense(5)(layers.Concatenate()(dropped)))
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=gpunn.optimizers.SGD(0.0), loss=loss)
    masks = []
    for _ in range(2):
        model.train_on_batch(x, y)
        for call in model._trainer.last_batch.workspace.calls[:2]:
            masks.append(call.y != 0)
    for i in range(4):
        for j in range(i):
            agreement = (masks[i] == masks[j]).mean()
            assert 0.4 < agreement < 0.6


def test_without_a_seed_processes_differ() -> None:
    command = [sys.executable, "-c", "import gpunn; print(gpunn.initializers.HeNormal()((3, 3)))"]
    draws = {
        subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)
    }
    assert len(draws) == 2
