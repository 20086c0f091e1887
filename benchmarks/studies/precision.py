"""The loss of accuracy by rounding the factors of products: float32, TF32, bfloat16.

    python -m benchmarks.studies.precision [--epochs 3] [--seeds 5]

784-128(relu)-dropout 0.2-10 with Adam on MNIST, batch 32. The rounding of a GPU's
tensor cores is emulated on the CPU: nothing here runs on a GPU, and no time is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
from copy import copy
from typing import Any

import numpy as np

import gpunn
from benchmarks import RESULTS
from gpunn import layers
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.backends.shared.precision import PRECISIONS, rounded

NOTE = "rounding emulated on the CPU, nothing run on a card"
BITS = 23  # of float32


class RoundingBackend(NumpyBackend):
    """NumPy, with the factors of products rounded to the requested precision."""

    name = "rounding"
    precisions = PRECISIONS

    def _matmul(self, given: Any) -> None:
        if given.precision is not None:
            given = copy(given)
            given.a = self._rounded(given.a, given.precision, "a")
            given.b = self._rounded(given.b, given.precision, "b")
        super()._matmul(given)

    def _rounded(self, x: Any, precision: str, slot: str) -> Any:
        kept = self.scratch(x.shape, x.dtype, f"rounded {slot}")
        self._do(lambda: np.copyto(kept, rounded(x, precision)))
        return kept


def train(precision: str | None, seed: int, epochs: int, data: Any) -> float:
    """Return the test accuracy of one training."""
    (x, y), (x_test, y_test) = data
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential(
        [
            layers.Input((784,)),
            layers.Rescaling(1 / 255),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        matmul_precision=precision,
    )
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return float(model.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1])


def table(result: dict[str, Any]) -> str:
    """Return the page that is written beside the JSON file."""
    seeds = result["seeds"]
    lines = [
        "# Accuracy with rounded products",
        "",
        f"784-128-dropout 0.2-10, Adam, batch 32, {result['epochs']} epochs of MNIST; {NOTE}.",
        "Accuracy on the 10,000 test images, one column a seed; by",
        "`benchmarks/studies/precision.py`.",
        "",
        f"| factors | bits | {' | '.join(f'seed {s}' for s in seeds)} | mean | against float32 |",
        f"| --- | --- | {' | '.join('---' for _ in seeds)} | --- | --- |",
    ]
    plain = result["accuracy"]["float32"]
    for name, values in result["accuracy"].items():
        bits = PRECISIONS.get(name, BITS)
        each = " | ".join(f"{value:.4f}" for value in values)
        differences = [value - base for value, base in zip(values, plain, strict=True)]
        spread = statistics.stdev(differences) / len(seeds) ** 0.5 if len(seeds) > 1 else 0.0
        change = "" if name == "float32" else f"{statistics.mean(differences):+.4f} ± {spread:.4f}"
        lines.append(f"| {name} | {bits} | {each} | {statistics.mean(values):.4f} | {change} |")
    lines += ["", "The last column is the mean difference, ± its standard error, seed by seed."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    gpunn.backends.register_backend("rounding", RoundingBackend)
    gpunn.use_backend("rounding")
    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    data = (x.reshape(-1, 784), y), (x_test.reshape(-1, 784), y_test)
    seeds = list(range(arguments.seeds))
    accuracy: dict[str, list[float]] = {}
    for precision in (None, *PRECISIONS):
        name = precision or "float32"
        accuracy[name] = [train(precision, seed, arguments.epochs, data) for seed in seeds]
        print(name, *(f"{value:.4f}" for value in accuracy[name]))
    result = {
        "note": NOTE, "epochs": arguments.epochs, "seeds": seeds, "batch_size": 32,
        "mantissa_bits": {"float32": BITS, **PRECISIONS}, "accuracy": accuracy,
        "gpunn": gpunn.__version__, "numpy": np.__version__,
    }  # fmt: skip
    (RESULTS / "precision.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "precision.md").write_text(table(result))


if __name__ == "__main__":
    main()
