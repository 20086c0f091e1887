"""All ways of running a model, and all moments at which a value may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gpunn

from .parts import INPUTS, OUTPUTS

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.normal(size=(12, n)).astype(np.float32) for n in (INPUTS, OUTPUTS))
FIT = {"batch_size": 8, "epochs": 1, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}


def fit(model: Any, **options: Any) -> list[Any]:
    history = model.fit(X, Y, **{**FIT, **options}).history
    return [values for name, values in history.items() if name != "learning_rate"]


ROADS: dict[str, Callable[..., Any]] = {
    "fit": fit,
    "evaluate": lambda model, **of: model.evaluate(X, Y, batch_size=8, verbose=0, **of),
    "predict": lambda model, **of: model.predict(X, batch_size=8, verbose=0, **of),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
    "test_on_batch": lambda model: model.test_on_batch(X, Y),
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "call": lambda model: np.asarray(model(X)),
    "call in training": lambda model: np.asarray(model(X, training=True)),
}
HOOKS = {
    **dict.fromkeys(
        (
            "on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin",
            "on_train_batch_end", "on_batch_begin", "on_batch_end", "on_train_end",
        ),
        "fit",
    ),
    **dict.fromkeys(
        ("on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"), "evaluate"
    ),
    **dict.fromkeys(
        ("on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"),
        "predict",
    ),
}  # fmt: skip
IN_VALIDATION = [f"{hook} in fit" for hook, road in HOOKS.items() if road == "evaluate"]
MOMENTS = [*(f"before {road}" for road in ROADS), *HOOKS, *IN_VALIDATION, "in a generator"]


def at(hook: str, change: Callable[[], None]) -> Any:
    """Return a callback that makes a change at the second call of its method, or at the first if a
    run calls it only once."""
    once = hook in ("on_train_begin", "on_train_end")
    calls = iter(range(100))

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        if next(calls) == (0 if once else 1):
            change()

    return type("Change", (gpunn.callbacks.Callback,), {hook: method})()


def batches(change: Callable[[], None]) -> Iterator[Any]:
    for number in range(4):
        if number == 2:
            change()
        yield X[number : number + 8], Y[number : number + 8]


def everything(model: Any) -> list[Any]:
    return [road(model) for road in ROADS.values()]


def run(model: Any, moment: str, change: Callable[[], None]) -> list[np.ndarray]:
    """Return a model's results before and after a change at this moment, and its weights then."""
    found = everything(model)
    if moment.startswith("before "):
        change()
        found.append(ROADS[moment.removeprefix("before ")](model))
    elif moment == "in a generator":
        found.append(model.fit(batches(change), steps_per_epoch=4, verbose=0).history["loss"])
    else:
        hook = moment.removesuffix(" in fit")
        of: dict[str, Any] = {"callbacks": [at(hook, change)]}
        road = "fit" if hook != moment else HOOKS[hook]
        if road == "fit":
            of["epochs"] = 2
        elif "_batch_" not in hook:
            ROADS[road](model, **of)  # the first of its calls
        found.append(ROADS[road](model, **of))
    found += everything(model)
    return [np.asarray(entry, np.float64) for entry in (*found, *model.get_weights())]
