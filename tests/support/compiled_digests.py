"""Compares every compiled operation with NumPy, in a process of its own, and says what came out.

    python compiled_digests.py [extension module]

The module stands in for the one that was built; without, ``GPUNN_INSTRUCTIONS`` has its say.
What is printed is JSON: the instruction set, and by the name of each comparison a digest of
the bits that the compiled operations gave.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from comparisons import COMPARISONS
from comparisons.samples import DTYPES, VALUES, Sample, onlookers

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels

SAMPLES = [
    Sample(*shape, dtype, values, seed)
    for seed, (shape, dtype, values) in enumerate(
        zip([(1, 1), (33, 10), (7, 131), (64, 33)], DTYPES * 2, VALUES, strict=True)
    )
]


def digests(names: Sequence[str], samples: Sequence[Sample]) -> dict[str, str]:
    """What each comparison finds on the compiled backend, which agrees with NumPy's."""
    backend, found = get_backend("compiled"), {}
    for name in names:
        seen = hashlib.sha256()

        def note(arrays: dict[str, np.ndarray], seen: Any = seen) -> None:
            for array in arrays.values():  # which NaN it is, compilers are free to choose
                one_nan = np.array(array)
                if array.dtype.kind == "f":
                    one_nan[np.isnan(array)] = np.nan
                seen.update(one_nan.tobytes())

        onlookers.append(note)
        try:
            for sample in samples:
                COMPARISONS[name](backend, sample)
        finally:
            onlookers.remove(note)
        found[name] = seen.hexdigest()
    return found


def training(backend: str) -> list[np.ndarray]:
    """The weights of a small network after two epochs, and its loss and accuracy in them."""
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


def stand_in(module: str) -> None:
    """Use this file in place of the kernels that need no particular instruction set."""
    name = "gpunn.backends.compiled._kernels_baseline"
    spec: Any = importlib.util.spec_from_file_location(name, module)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def main(*modules: str) -> None:
    for module in modules:
        stand_in(module)
    for a, b in zip(training("compiled"), training("numpy"), strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b), f"{a} is not {b}"
    found = digests(list(COMPARISONS), SAMPLES)
    json.dump({"instructions": cpu_kernels.chosen(), "digests": found}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
