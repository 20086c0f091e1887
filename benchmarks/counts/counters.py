"""The cost of a training step and a prediction, in counts independent of the machine's load.

    python -m benchmarks.counts.counters          # writes results/counters.json, reports changes
    python -m benchmarks.counts.counters --check  # fails if there are any; `make test` does this

A training step through ``fit`` on the NumPy backend, a prediction, and the same on a GPU,
according to its profile:

- operations of the contract, bytes of the arrays they access, flops; on a GPU also launches;
- the passes over arrays in these (calls of ufuncs, products and copies), and the
  bytes that they read and write;
- NumPy arrays allocated, of any size, and their bytes;
- calls of Python functions, of C functions, and Python's instructions.

The cost of a step is that of a ``fit`` of 20 steps less one of 10, divided by 10: it includes
all costs to users. The last two lines depend on the versions of Python and NumPy: they are
compared only with the versions in the file, the rest (`EVERYWHERE`) with all.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import threadpoolctl

import gpunn
from benchmarks import RESULTS
from gpunn import layers
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.driver import dry
from gpunn.training import batch_iterator

from .counting import Counters, Prepare, allocated, calls, instructions, passes

PATH = RESULTS / "counters.json"
EVERYWHERE = ("operations", "bytes", "flops", "card ", "passes", "calls into gpunn")
STEPS = 10


def network(hidden: list[Any], optimizer: Any) -> Any:
    """Return a network 784-...-10 for images as bytes, with cross-entropy and accuracy."""
    first = [layers.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten()]
    last = layers.Dense(10, activation="softmax")
    model = gpunn.Sequential([*first, *hidden, last], backend="numpy")
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def narrow() -> Any:
    return network([layers.Dense(16, activation="relu") for _ in range(2)], "sgd")


def dropout() -> Any:
    return network([layers.Dense(128, activation="relu"), layers.Dropout(0.2)], "adam")


def wide() -> Any:
    optimizer = gpunn.optimizers.SGD(0.01, momentum=0.9)
    return network([layers.Dense(1024, activation="relu") for _ in range(2)], optimizer)


TRAINING: dict[str, tuple[Callable[[], Any], int]] = {
    "784-16-16-10, SGD, batch 10": (narrow, 10),
    "784-128-dropout 0.2-10, Adam, batch 32": (dropout, 32),
    "784-1024-1024-10, SGD with momentum, batch 128": (wide, 128),
}
PREDICTION: dict[str, tuple[str, int]] = {
    "784-128-10, predict_on_batch of 1": ("predict_on_batch", 1),
    "784-128-10, predict of 1": ("predict", 1),
    "784-128-10, predict of 10,000": ("predict", 10_000),
}
FIRST = "784-16-16-10, SGD, made and fitted for 10 steps"


def images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (rows, 28, 28), np.uint8), random.integers(0, 10, rows)


def measure() -> dict[str, Counters]:
    """Return all counters of each program, on one thread and without reading the clock: the numbers
    of threads, and of steps that a program runs at once, depend on the machine."""
    with threadpoolctl.threadpool_limits(1):
        result = {name: training_step(*program) for name, program in TRAINING.items()}
        result |= {name: prediction(*program) for name, program in PREDICTION.items()}
        return result | {FIRST: first_fit()}


def first_fit() -> Counters:
    """Count the Python and C calls from making a model to the end of its first ``fit``, of the
    second model of a process."""
    x, y = images(10 * STEPS)
    work = lambda: narrow().fit(x, y, batch_size=10, verbose=0)  # noqa: E731
    with patch.object(batch_iterator, "CHUNK_SECONDS", 1e6):
        work()
        return calls(work)


def training_step(make: Callable[[], Any], batch: int) -> Counters:
    """Count a step at this batch size, on a GPU and through ``fit`` on NumPy."""
    return {**_on_gpu(sums_of(step_profile.profile_step(make(), batch))), **fit_step(make, batch)}


def fit_step(make: Callable[[], Any], batch: int) -> Counters:
    """Count a step of ``fit`` on NumPy.

    Raises:
        RuntimeError: if some steps cost more than others.
    """
    x, y = images(batch * STEPS * 4)

    def fit(number: int) -> tuple[Callable[[], Any], Any]:
        gpunn.utils.set_random_seed(0)  # the same order of the same rows, every time
        model = make()
        options = {"batch_size": batch, "shuffle": True, "verbose": 0}
        # The number of steps that run at once doubles each time: by then it is all of them.
        model.fit(x, y, steps_per_epoch=2 * STEPS, **options)
        return lambda: model.fit(x, y, steps_per_epoch=number, **options), model.backend

    # All steps run at once, however slow this machine is just now.
    with patch.object(batch_iterator, "CHUNK_SECONDS", 1e6):
        few, many = counted(lambda: fit(STEPS)), counted(lambda: fit(2 * STEPS))
    counters = {name: (many[name] - few[name]) / STEPS for name in many}
    uneven = {name: n for name, n in counters.items() if n != int(n)}
    if uneven:
        raise RuntimeError(f"not every step costs the same: {uneven}")
    return {name: int(n) for name, n in counters.items()}


def prediction(method: str, rows: int) -> Counters:
    """Count a call of ``method`` after it has been traced."""
    x, _ = images(rows)
    options = {"verbose": 0} if method == "predict" else {}

    def call(backend: Any = "numpy") -> tuple[Callable[[], Any], Any]:
        config = dropout().get_config()
        model = gpunn.Sequential.from_config({**config, "backend": backend})
        work = lambda: getattr(model, method)(x, **options)  # noqa: E731
        for _ in range(3):
            work()
        return work, model.backend

    work, backend = call(dry.make_backend())
    with backend.profile() as operations:
        work()
    return {**_on_gpu(sums_of(operations)), **counted(call)}


def sums_of(operations: list[ProfiledOperation]) -> Counters:
    """Return sums over a profile."""
    names = ("bytes", "flops", "launches")
    sums = {name: sum(getattr(one, name) for one in operations) for name in names}
    return {"operations": len(operations), **sums}


def _on_gpu(counters: Counters) -> Counters:
    return {f"card {name}": n for name, n in counters.items()}


def counted(prepare: Prepare) -> Counters:
    """Return counters of the work that ``prepare()`` returns, called again for each kind."""
    work, backend = prepare()
    with backend.profile() as operations:
        work()
    counters = sums_of(operations)
    del counters["launches"]
    allocations = allocated(prepare()[0])
    counters |= {"array allocations": len(allocations), "array bytes": sum(allocations)}
    counters |= passes(prepare)
    counters |= calls(prepare()[0])
    return {**counters, "instructions": instructions(prepare()[0])}


# -- comparing


def versions() -> dict[str, str]:
    """Return Python's and NumPy's versions, without the last component."""
    return {
        name: ".".join(version.split(".")[:2])
        for name, version in (("Python", platform.python_version()), ("NumPy", np.__version__))
    }


def differences(
    now: dict[str, Counters], then: dict[str, Counters], everywhere: bool
) -> tuple[list[str], list[str]]:
    """Return a line for each counter that got worse or better; new or missing ones are worse."""
    worse: list[str] = []
    better: list[str] = []
    for program in sorted(set(now) | set(then)):
        a, b = then.get(program, {}), now.get(program, {})
        for name in sorted(set(a) | set(b)):
            if everywhere and not name.startswith(EVERYWHERE):
                continue
            if a.get(name) != b.get(name):
                fell = name in a and name in b and b[name] < a[name]
                line = f"{program}: {name} {_figure(a.get(name))} -> {_figure(b.get(name))}"
                (better if fell else worse).append(line)
    return worse, better


def _figure(n: int | None) -> str:
    return "none" if n is None else f"{n:,}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if they differ")
    arguments = parser.parse_args()
    then = json.loads(PATH.read_text()) if PATH.exists() else {}
    now = measure()
    everywhere = arguments.check and then.get("versions") != versions()
    worse, better = differences(now, then.get("counters", {}), everywhere)
    for kind, changed in (("worse", worse), ("better", better)):
        for line in changed:
            print(f"{kind}: {line}")
    if not arguments.check:
        PATH.write_text(json.dumps({"versions": versions(), "counters": now}, indent=1) + "\n")
        print(f"{len(worse)} worse, {len(better)} better; written to {PATH.name}")
        return 0
    if worse or better:
        print(
            f"{len(worse)} counters got worse, {len(better)} better. Fix the worse ones, or "
            f"justify them in the commit message; then run `make counters` and "
            f"commit {PATH.name}, so that the gains are kept."
        )
    return 1 if worse or better else 0


if __name__ == "__main__":
    sys.exit(main())
