"""From a fresh process: to the end of an epoch, and to the end of a first small fit."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from benchmarks.common.workloads import NAMES

from . import catalog
from .processes import BrokenError, environment, run_to_end
from .rounds import FIRST_SECONDS, LEAST
from .tiers import Entry, Setting, base_name

# One variant of each framework.
BEGINNERS = (
    catalog.NUMPY, catalog.EAGER, catalog.SCAN, "Keras 3 on JAX", "scikit-learn (no dropout)",
)  # fmt: skip
ONLY_NUMPY = "import numpy"
FIRST_FIT = """
import numpy as np
{imports}
x, y = np.ones((32, 4), np.float32), np.zeros((32, 1), np.float32)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, verbose=0)
"""
# The same program by gpunn and by Keras; NumPy alone is what both need.
IMPORTS = {
    "gpunn": "import gpunn as keras",
    "Keras 3 on JAX": "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras",
}


def cold_start(setting: Setting) -> Iterable[Entry]:
    """Time ``python contestant.py cold``: a fresh process, an epoch of W2 and its accuracy."""
    arrays = {name: np.load(setting.folder / f"{name}.npy") for name in NAMES}
    for name in "xy":
        arrays[name] = arrays[name][: setting.rows["W2"]]
    np.savez(setting.folder / "data.npz", **arrays)
    programs = setting.programs
    if not setting.full:
        programs = setting.pick(*BEGINNERS)
    commands = {
        p.name: (
            [str(p.file), "cold", p.variant],
            environment(p) | {"GPUNN_BENCH_DATA": str(setting.folder / "data.npz")},
        )
        for p in programs if base_name(p.name) != catalog.PRODUCTS
    }  # fmt: skip
    entry, printed = _rounds(setting, "cold start", commands)
    accuracy = {name: float(text.split()[-1]) for name, text in printed.items()}
    yield entry | {"key": "cold", "rows": setting.rows["W2"], "accuracy": accuracy, "passes": 1}


def first_fit(setting: Setting) -> Iterable[Entry]:
    """Time fresh processes that import a framework and fit a small network once."""
    texts = {ONLY_NUMPY: ONLY_NUMPY}
    names = {base_name(p.name) for p in setting.programs}
    texts |= {n: FIRST_FIT.format(imports=how) for n, how in IMPORTS.items() if n in names}
    own = environment(setting.programs[0])
    commands = {name: (["-c", text], own) for name, text in texts.items()}
    entry, _ = _rounds(setting, "first fit", commands)
    yield entry | {"key": "first fit", "rows": 32}


def _rounds(
    setting: Setting, title: str, commands: dict[str, tuple[list[str], dict[str, str]]]
) -> tuple[Entry, dict[str, str]]:
    """Run each command of Python in each round; return an entry, and what each has printed."""
    samples: dict[str, list[float | None]] = {name: [] for name in commands}
    printed: dict[str, str] = {}
    failed: dict[str, str] = {}
    rounds = 1 if setting.quick else setting.rounds
    for number in range(1, rounds + 1):
        if number > LEAST and time.monotonic() > setting.until:
            break
        for name, (command, own) in commands.items():
            setting.tell(f"{title}: round {number} of {rounds}, {name}")
            seconds = None
            if name not in failed:
                try:
                    seconds, printed[name] = run_to_end(command, own, FIRST_SECONDS)
                except BrokenError as error:
                    failed[name] = str(error)
            samples[name].append(seconds)
    return {"tiers": ["cold"], "samples": samples, "failed": failed}, printed
