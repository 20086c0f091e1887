"""The operations of a training step, for each layer and the workloads: none comes unnoticed.

``operations_of_layers.json`` holds them, as NumPy runs them. Where a change is meant, this writes
them anew, and the difference shows what changed:

    python tests/performance/test_operations_of_layers.py
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

import registered
import registered_networks

import gpunn
from gpunn import layers

PATH = Path(__file__).with_name("operations_of_layers.json")
CASES = [case for case in registered_networks.CASES if case[0] in ("layer", "activation")]


def pictures(*chain: Any) -> list[Any]:
    return [layers.Input((28, 28, 1)), layers.Rescaling(1 / 255), *chain]


def digits(*chain: Any) -> list[Any]:
    return pictures(layers.Flatten(), *chain)


WORKLOADS = {
    "W1": lambda: digits(
        layers.Dense(16, "sigmoid"), layers.Dense(16, "sigmoid"), layers.Dense(10, "softmax")
    ),
    "W2": lambda: digits(
        layers.Dense(128, "relu"), layers.Dropout(0.2), layers.Dense(10, "softmax")
    ),
    "W3": lambda: digits(
        layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(10, "softmax")
    ),
    "W4": lambda: pictures(
        layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, "softmax"),
    ),
    "W6": lambda: [
        layers.Input((2,)), layers.Dense(2, "sigmoid"), layers.Dense(3, "sigmoid"),
        layers.Dense(2, "sigmoid"),
    ],
}  # fmt: skip
"""Their layers; a size changes no operation."""


def of_a_step(model: Any, x: np.ndarray, y: Any, batch: int) -> dict[str, int]:
    """Return how often each operation runs in a step: the difference of three steps and two."""
    counts = []
    for rows in (2 * batch, 3 * batch, 2 * batch, 3 * batch):  # the first of each size traces
        with model.backend.profile() as operations:
            model.fit(x[:rows], y[:rows], batch_size=batch, shuffle=False, verbose=0)
        counts.append(Counter(operation.name for operation in operations))
    return dict(sorted((counts[3] - counts[2]).items()))


def of_a_case(kind: str, name: str, arguments: dict[str, Any]) -> dict[str, int]:
    model = registered_networks.network("numpy", "float32", kind, name, arguments)
    return of_a_step(model, *registered_networks.data(model, 12), batch=4)


def of_a_workload(name: str) -> dict[str, int]:
    model = gpunn.Sequential(WORKLOADS[name](), backend="numpy")
    optimizer = {"W2": "adam", "W4": "adam"}.get(name, "sgd")
    loss = "mse" if name == "W6" else "sparse_categorical_crossentropy"
    model.compile(optimizer, loss)
    x = np.zeros((12, *model.input_shape[1:]), np.float32)
    y = np.zeros((12, 2) if name == "W6" else 12, np.float32 if name == "W6" else np.int64)
    return of_a_step(model, x, y, batch=4)


def key(kind: str, name: str, arguments: dict[str, Any]) -> str:
    return f"{kind} {name} {registered.label(arguments)}"


@pytest.mark.traced
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_step_of_a_workload(name: str) -> None:
    assert of_a_workload(name) == json.loads(PATH.read_text(encoding="utf-8"))[name]


@registered_networks.unusual
@pytest.mark.traced
@pytest.mark.in_turn(5)
@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_a_step_of_each_layer(kind: str, name: str, arguments: dict[str, Any]) -> None:
    wanted = json.loads(PATH.read_text(encoding="utf-8"))[key(kind, name, arguments)]
    assert of_a_case(kind, name, arguments) == wanted


if __name__ == "__main__":
    found = {name: of_a_workload(name) for name in WORKLOADS}
    found |= {key(*case): of_a_case(*case) for case in CASES}
    lines = [f" {json.dumps(name)}: {json.dumps(steps)}" for name, steps in found.items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
