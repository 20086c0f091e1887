"""Networks for images of digits, and the programs that `fit` runs for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpunn
from gpunn import layers
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.profiling import ProfiledOperation


def digits(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
    return x, random.integers(0, 10, rows)


def mlp(hidden: list[Any], optimizer: Any, backend: Any = "numpy", **options: Any) -> Any:
    model = gpunn.Sequential(
        [
            layers.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            *hidden,
            layers.Dense(10, activation="softmax"),
        ],
        backend=backend,
        **options,
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def program_1(**options: Any) -> Any:
    hidden = [layers.Dense(16, activation="relu"), layers.Dense(16, activation="relu")]
    return mlp(hidden, "sgd", **options)


def program_2(**options: Any) -> Any:
    return mlp([layers.Dense(128, activation="relu"), layers.Dropout(0.2)], "adam", **options)


def wide(**options: Any) -> Any:
    hidden = [layers.Dense(1024, activation="relu"), layers.Dense(1024, activation="tanh")]
    return mlp(hidden, gpunn.optimizers.SGD(0.01, momentum=0.9), **options)


PROGRAMS: dict[str, tuple[Callable[..., Any], int]] = {
    "program 1": (program_1, 10),
    "program 2": (program_2, 32),
    "784-1024-1024-10": (wide, 128),
}


def stepper(model: Any, batch: int, steps: int, weighted: bool = False) -> Callable[[int], None]:
    """Return ``run(n)`` of the captured program that `fit` uses, for ``steps`` batches of data."""
    trainer = model._trainer
    x, y = digits(batch * steps)
    weights = np.linspace(0.5, 1.5, len(x)) if weighted else None
    rows = gpunn.feeding.data.to_rows(trainer.spec, x, y, weights)
    return trainer.training.program(batch, rows, rows.order(trainer.seed)).run


def classic(backend: Any) -> Any:
    """The network that `gpunn doctor --step` profiles: 784-128-dropout-10 with Adam."""
    example = step_profile.example()
    model = gpunn.Sequential.from_config({**example.get_config(), "backend": backend})
    model.compile_from_config(example.get_compile_config())
    return model


def program(model: Any, x: np.ndarray, y: Any, batch: int) -> Any:
    """The program that `fit` uses, past its first step."""
    rows = gpunn.feeding.data.to_rows(model._trainer.spec, x, y)
    made = model._trainer.training.program(batch, rows, rows.order(model._trainer.seed))
    made.run(1)
    return made


def profiled(model: Any, x: np.ndarray, y: Any, batch: int) -> list[ProfiledOperation]:
    """The kernels that one of its steps launches."""
    made = program(model, x, y, batch)
    with model.backend.profile() as operations:
        made.run(1)
    return operations
