"""The work whose machine instructions `guard` counts.

It runs under callgrind, which writes what has been executed since the last mark whenever
`os.getppid` is called.

    python guarded.py  # prints a line of JSON: the name of each mark
"""

from __future__ import annotations

import gc
import json
import os

NAMES: list[str] = []


def mark(name: str) -> None:
    """End the part of the program that this names."""
    NAMES.append(name)
    os.getppid()


if hasattr(os, "sched_setaffinity"):  # the number of threads is that of the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
mark("start of Python")
import numpy as np  # noqa: E402

mark("import numpy")
import gpunn  # noqa: E402
from gpunn import layers  # noqa: E402
from gpunn.training import batch_iterator  # noqa: E402

mark("import gpunn")
gc.disable()  # a collection may fall into one of two counts that are compared


def network(
    widths: list[int], activation: str, last: str, loss: str, optimizer: str
) -> gpunn.Model:
    hidden = [layers.Dense(width, activation=activation) for width in widths[1:-1]]
    output = layers.Dense(widths[-1], activation=last)
    model = gpunn.Sequential([layers.Input((widths[0],)), *hidden, output], backend="compiled")
    model.compile(optimizer, loss)
    return model


def fit(name: str, model: gpunn.Model, rows: int, batch: int, few: int, outputs: int = 0) -> None:
    """Mark trainings of ``few`` and twice as many epochs. ``outputs`` is 0 for class indices."""
    random = np.random.default_rng(0)
    x = random.random((rows, *model.input_shape[1:]), np.float32)
    y = random.random((rows, outputs), np.float32) if outputs else random.integers(0, 3, rows)
    model.fit(x, y, batch_size=batch, epochs=2 * few, verbose=0)
    for number, epochs in enumerate((few, 2 * few)):
        mark("")
        model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
        mark(f"{name}: {number}")


# How many steps run at once depends on the time that they take. All do.
batch_iterator.CHUNK_SECONDS = 1e6
CLASSES = "softmax", "sparse_categorical_crossentropy"
small = network([4, 16, 3], "relu", *CLASSES, "adam")
small.fit(np.zeros((150, 4), "f"), np.zeros(150, "i"), verbose=0)
mark("first fit of 4-16-3")
fit("10 epochs of one step of 10 rows, 4-16-3, Adam", small, 10, 10, 10)
tiny = network([2, 2, 3, 2], "sigmoid", "sigmoid", "mse", "sgd")
fit("2 epochs of 1,000 steps of one row, 2-2-3-2, SGD", tiny, 1000, 1, 2, 2)
images = network([784, 128, 10], "relu", *CLASSES, "adam")
fit("1 epoch of 10 steps of 32 rows, 784-128-10, Adam", images, 320, 32, 1)
row = np.zeros((1, 784), "f")
for _ in range(5):
    images.predict_on_batch(row)
mark("")
for _ in range(100):
    images.predict_on_batch(row)
mark("100 predictions of one row, 784-128-10")
print(json.dumps(NAMES))
