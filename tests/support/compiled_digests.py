"""Compare every compiled operation with NumPy in a separate process, and print digests.

    python compiled_digests.py [extension module]

The module replaces the one that was built; without it, ``GPUNN_INSTRUCTIONS`` decides. The output
is JSON: the instruction set and, by the name of each comparison and expression, a digest of the
bits that the compiled operations returned.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from comparisons import COMPARISONS
from comparisons.expression_cases import every_case
from comparisons.samples import DTYPES, VALUES, Sample, onlookers

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels

SAMPLES = [
    Sample(*shape, dtype, values, seed)
    for seed, (shape, dtype, values) in enumerate(
        zip([(1, 1), (33, 10), (7, 131), (64, 33), (9, 10)], DTYPES * 3, VALUES, strict=False)
    )
]


def add_to(seen: Any, arrays: dict[str, np.ndarray]) -> None:
    for array in arrays.values():  # compilers are free to choose any NaN
        one_nan = np.array(array)
        if array.dtype.kind == "f":
            one_nan[np.isnan(array)] = np.nan
        seen.update(one_nan.tobytes())


def expressions() -> dict[str, str]:
    """Digests of the compiled backend's results for `every_case`, and for many more values."""
    backend, rng, found = get_backend("compiled"), np.random.default_rng(0), {}
    for dtype in DTYPES:
        for case in every_case(dtype):
            seen = hashlib.sha256()
            for size in (*case.sizes, (60, 37), (3, 1500)):
                arrays = case.arrays(size, rng)
                case.ask(backend, arrays, size)
                add_to(seen, arrays)
            found[f"{case.name} in {dtype}"] = seen.hexdigest()
    return found


def digests(names: Sequence[str], samples: Sequence[Sample]) -> dict[str, str]:
    """Digests of each comparison's results on the compiled backend, which agree with NumPy's."""
    backend, found = get_backend("compiled"), {}
    for name in names:
        seen = hashlib.sha256()
        note = partial(add_to, seen)
        onlookers.append(note)
        try:
            for sample in samples:
                COMPARISONS[name](backend, sample)
        finally:
            onlookers.remove(note)
        found[name] = seen.hexdigest()
    return found


def training(backend: str) -> list[np.ndarray]:
    """The weights of a small network after two epochs, and their loss and accuracy."""
    gpunn.utils.set_random_seed(3)
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (75, 5, 6), dtype=np.uint8), random.integers(0, 4, 75)
    model = gpunn.Sequential(
        [
            layers.Input((5, 6)), layers.Rescaling(1 / 255), layers.Flatten(),
            layers.Dense(17, activation="relu"), layers.Dropout(0.2),
            layers.Dense(9, use_bias=False), layers.BatchNormalization(),
            layers.Activation("tanh"), layers.Dense(4, activation="softmax"),
        ],
        backend=backend,
    )  # fmt: skip
    sgd = gpunn.optimizers.SGD(0.1, momentum=0.9)
    model.compile(sgd, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    return [*model.get_weights(), *(np.array(values) for values in history.values())]


def substitute(module: str) -> None:
    """Use this file instead of the kernels that need no particular instruction set."""
    name = "gpunn.backends.compiled._kernels_baseline"
    spec: Any = importlib.util.spec_from_file_location(name, module)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def main(*modules: str) -> None:
    for module in modules:
        substitute(module)
    for a, b in zip(training("compiled"), training("numpy"), strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b), f"{a} is not {b}"
    found = digests(list(COMPARISONS), SAMPLES)
    known = {"instructions": cpu_kernels.chosen(), "expressions": expressions()}
    json.dump({**known, "digests": found}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
