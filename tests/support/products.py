"""The matrix products of an emulated GPU, which record the requested epilogues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import emulated
import numpy as np

import gpunn
from gpunn import layers
from gpunn.backends.contract.backend import Backend
from gpunn.backends.cupy.launch.protocols import Matmul

KINDS = ("bias", "relu", "bias_gradient")


class Spy(emulated.Products):
    """Matrix products that record the requested epilogues."""

    def __init__(self, *epilogues: str) -> None:
        super().__init__(epilogues)
        self.done: Counter[str] = Counter()

    def __call__(self, asked: Matmul) -> None:
        self.done[asked.epilogue.kind if asked.epilogue else ""] += 1
        super().__call__(asked)


def spied_backend(*epilogues: str) -> tuple[Any, Spy]:
    backend, spy = emulated.make_backend("fused"), Spy(*epilogues)
    backend.blas = spy
    return backend, spy


def trained(
    backend: Backend, hidden: Callable[[], list[Any]] = list, precision: str | None = None
) -> list[np.ndarray]:
    """Return the weights after 10 steps: batches of 8 rows of 20 values, and layers of 44 and 40,
    whose products are large enough for the library."""
    gpunn.utils.set_random_seed(1)  # before layers are created, as each draws its seed then
    model = gpunn.Sequential(
        [layers.Input((20,)), *hidden(), layers.Dense(44, activation="relu"), layers.Dense(40)],
        backend=backend,
    )
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, matmul_precision=precision)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 20)).astype(np.float32), rng.integers(0, 5, 40)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def shares(spy: Spy) -> dict[str, float]:
    """Return the share of each kind among all products of a step."""
    total = spy.done.total()  # performed once and captured once
    return {kind: count / total for kind, count in spy.done.items()}
