"""What training depends on besides the weights is read back: it goes on as without the break."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from properties import written
from registered_networks import CASES, data, network, unusual

import gpunn
from gpunn import layers

pytestmark = [
    unusual,
    # What Keras lacks is then read from our own format.
    pytest.mark.filterwarnings("ignore:.* is in gpunn's own format"),
]
schedules = gpunn.optimizers.schedules

WAYS = [*written.WHOLE]
COPIES = ("pickle", "joblib", "deepcopy")
FILES = [way for way in WAYS if way not in COPIES]
ANEW = {"Nadam"}
"""Optimizers whose state a `.keras` file does not hold: Keras keeps a product besides."""


def every(nth: int, values: list[Any], first: int = 0) -> list[Any]:
    """Return parameters of which `make test` takes one in so many."""
    return [
        pytest.param(value, marks=() if k % nth == first else pytest.mark.more(3))
        for k, value in enumerate(values)
    ]


def assert_go_on(model: Any, read: list[Any], x: Any, y: Any, fit: dict[str, Any]) -> None:
    """Check that models that were read back evaluate and train as the one that was written."""
    weights = {"sample_weight": fit["sample_weight"]} if "sample_weight" in fit else {}

    def settings(m: Any) -> list[Any]:
        optimizer = m.optimizer
        rate = float(optimizer.learning_rate)
        return [m.metrics_names, m.run_eagerly, optimizer.iterations, rate]

    def evaluated(m: Any) -> Any:
        return m.evaluate(x, y, verbose=0, return_dict=True, **weights)

    def trained(m: Any) -> Any:
        return m.fit(x, y, verbose=0, **fit).history

    for what in (settings, evaluated, trained, type(model).get_weights, evaluated):
        expected = what(model)
        for again in read:
            np.testing.assert_equal(what(again), expected)


@pytest.mark.parametrize("number", every(59, [*range(len(CASES))], 4))
def test_a_network_with_any_part_goes_on(backend: str, number: int, tmp_path: Path) -> None:
    case = CASES[number]
    way = WAYS[number % len(WAYS)]
    if way == "keras" and case[1] in ANEW:
        way = "own"
    gpunn.use_backend(backend)
    model = network(backend, "float32", *case)
    x, y = data(model)
    model.fit(x, y, batch_size=11, verbose=0)
    again = written.WHOLE[way](model, lambda: network(backend, "float32", *case), tmp_path)
    assert_go_on(model, [again], x, y, {"batch_size": 11})


# -- optimizers with several options, and all arguments of compile

RATES = (
    lambda: 0.01, lambda: schedules.ExponentialDecay(0.02, 2, 0.8),
    lambda: schedules.CosineDecay(0.02, 9, warmup_steps=3, warmup_target=0.03),
    lambda: schedules.PiecewiseConstantDecay([3, 5], [0.01, 0.02, 0.005]),
)  # fmt: skip
COMMON = {
    "weight_decay": 0.01, "clipnorm": 0.5, "clipvalue": 0.2, "global_clipnorm": 0.7,
    "use_ema": True, "loss_scale_factor": 8.0, "gradient_accumulation_steps": 2,
}  # fmt: skip
OPTIMIZERS = registered.cases("optimizer")
ROWS = 11
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = {
    "a": np.random.default_rng(1).integers(0, 3, ROWS),
    "b": np.random.default_rng(2).normal(3, 1, (ROWS, 2)).astype("float32"),
}
WEIGHTS = {"a": np.linspace(0.5, 1.5, ROWS), "b": np.linspace(2.0, 0.5, ROWS)}


def options(seed: int, name: str, own: dict[str, Any]) -> dict[str, Any]:
    """Draw options of an optimizer in addition to those of its example, each one in its turn."""
    r = random.Random(f"options {seed}")
    drawn = {**own, "learning_rate": r.choice(RATES)()}
    for key in ([*COMMON][seed % len(COMMON)], *r.sample(sorted(COMMON), r.randint(0, 2))):
        clips = "clip" in key and any("clip" in other for other in drawn)
        if not clips and key not in drawn and not own.get("lazy"):
            drawn[key] = COMMON[key]
    if "use_ema" in drawn:
        drawn |= {"ema_momentum": 0.7, "ema_overwrite_frequency": r.choice([None, 3])}
    if drawn.get("momentum") and name == "SGD":
        drawn["nesterov"] = r.choice([False, True])
    return drawn


def two_outputs(seed: int, name: str, own: dict[str, Any]) -> Any:
    """Return a compiled network with twelve weights of one shape, of which some are not trained."""
    r = random.Random(seed)
    x = y = gpunn.Input((3,))
    for k in range(6):
        y = layers.Dense(3, "tanh", bias_initializer="normal", trainable=k != 2)(y)
    y = layers.BatchNormalization()(layers.Dropout(0.3)(layers.GaussianNoise(0.1)(y)))
    a = layers.Dense(3, "softmax", name="a")(y)
    b = layers.Dense(2, name="b", kernel_regularizer="l2")(y)
    model = gpunn.Model(x, {"b": b, "a": a} if r.random() < 0.5 else [a, b])
    losses, metrics = gpunn.losses, gpunn.metrics
    mean = metrics.MeanSquaredError("m")
    crossentropy = losses.SparseCategoricalCrossentropy(ignore_class=1)
    top = metrics.SparseTopKCategoricalAccuracy(2)
    model.compile(
        getattr(gpunn.optimizers, name)(**options(seed, name, own)),
        {"a": r.choice(["sparse_categorical_crossentropy", crossentropy]),
         "b": r.choice(["mse", losses.Huber(0.7), losses.MeanSquaredError(reduction="sum")])},
        loss_weights=r.choice([None, [0.5, 2.0], {"b": 0.3, "a": 1.5}]),
        metrics=r.choice([None, {"b": "mse"}, {"b": [metrics.R2Score(), "mae"], "a": [top]}]),
        weighted_metrics=r.choice([None, {"a": "acc", "b": [mean, "mape"]}]),
        run_eagerly=r.random() < 0.2,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("number", every(5, [*range(len(OPTIMIZERS))]))
def test_optimizers_with_several_options_go_on(
    backend: str, number: int, tmp_path: Path
) -> None:
    gpunn.use_backend(backend)
    gpunn.utils.set_random_seed(number)
    name, own = OPTIMIZERS[number]
    ways = FILES[number // 5 % len(FILES)], COPIES[number // 5 % len(COPIES)]
    if ways[0] == "keras" and (name in ANEW or own.get("lazy")):
        ways = "own", ways[1]

    def make() -> Any:
        return two_outputs(number, name, own)

    model, fit = make(), {"batch_size": 4, "sample_weight": WEIGHTS}
    model.fit(X, Y, epochs=1, verbose=0, **fit)  # three steps: an accumulated gradient is left
    read = [written.WHOLE[way](model, make, tmp_path) for way in ways]
    assert_go_on(model, read, X, Y, {**fit, "epochs": 2})


@pytest.mark.parametrize("number", every(len(OPTIMIZERS), [*range(len(OPTIMIZERS))], 5))
def test_a_run_that_is_resumed_ends_as_one_without_a_break(
    backend: str, number: int, tmp_path: Path
) -> None:
    gpunn.use_backend(backend)
    name, own = OPTIMIZERS[number]
    r = random.Random(number)
    stops, freq = r.randint(1, 8), r.choice([1, 2, "epoch"])

    class Stop(gpunn.callbacks.Callback):
        left = stops

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.left -= 1
            if not self.left:
                raise KeyError("a break")

    def run(*more: Any) -> tuple[Any, Any]:
        gpunn.utils.set_random_seed(number)
        model, known = two_outputs(number, name, own), gpunn.callbacks
        used = [
            known.ReduceLROnPlateau("loss", patience=1, min_delta=0.5),
            known.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        ]
        config = model.optimizer.get_config()
        if not isinstance(config["learning_rate"], float):
            del used[0]  # a schedule's rate is not reduced
        history = model.fit(
            X, Y, batch_size=4, epochs=4, verbose=0, callbacks=[*used, *more],
            validation_data=(X[:5], {name: y[:5] for name, y in Y.items()}), sample_weight=WEIGHTS,
        )  # fmt: skip
        return model, history.history

    whole, expected = run()
    backup = gpunn.callbacks.BackupAndRestore
    with pytest.raises(KeyError, match="a break"):
        run(backup(tmp_path, freq), Stop())
    again, found = run(backup(tmp_path, freq))
    assert found == expected
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
