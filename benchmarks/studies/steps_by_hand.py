"""The cost of a training step written by hand.

    python -m benchmarks.studies.steps_by_hand [--rounds 11] [--long] [--backend cupy]

W2's network (784-128-dropout 0.2-10, Adam, batches of 32) for 12,000 rows: by `fit`; by a
`train_step` of its own in `fit`; in a loop with `gpunn.function`; in a loop with a tape alone; and
in PyTorch, compiled and eagerly, with its fused optimizer. A step includes slicing its batch.
``--long`` adds 200,000 compiled steps, for the memory. On a GPU, the loops slice arrays of the
host, and PyTorch has its tensors on the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.common import machine, samples
from benchmarks.common.workloads import initial_weights

SIZES, BATCH, ROWS, RATE = (784, 128, 10), 32, 12_000, 0.2
STEPS = ROWS // BATCH
FEW = 40  # steps of the slow loops
GOALS = {
    "train_step / fit": 1.1, "function / fit": 1.15, "function / PyTorch compiled": 0.8,
    "tape / PyTorch eager": 0.5,
}  # fmt: skip

Epoch = Callable[[], Any]


def network(own: bool = False) -> Any:
    import gpunn

    class Own(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            self.metrics[0].update_state(loss)
            return {"loss": self.metrics[0].result()}

    layers = gpunn.layers
    gpunn.utils.set_random_seed(0)
    inputs = gpunn.Input((SIZES[0],))
    hidden = layers.Dropout(RATE)(layers.Dense(SIZES[1], activation="relu")(inputs))
    model = (Own if own else gpunn.Model)(
        inputs, layers.Dense(SIZES[2], "softmax")(hidden), backend=gpunn.get_backend()
    )
    model.compile(gpunn.optimizers.Adam(0.001), "sparse_categorical_crossentropy")
    model.set_weights(initial_weights(0, SIZES))
    return model


def by_fit(x: np.ndarray, y: np.ndarray, own: bool) -> Epoch:
    model = network(own)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def by_loop(x: np.ndarray, y: np.ndarray, compiled: bool, steps: int) -> Epoch:
    import gpunn

    model, loss = network(), gpunn.losses.SparseCategoricalCrossentropy()
    optimizer = gpunn.optimizers.Adam(0.001)

    def step(rows: Any, labels: Any) -> Any:
        with gpunn.GradientTape() as tape:
            value = loss(labels, model(rows, training=True))
        slopes = tape.gradient(value, model.trainable_variables)
        optimizer.apply(slopes, model.trainable_variables)
        return value

    done = gpunn.function(step) if compiled else step

    def epoch() -> None:
        for at in range(0, steps * BATCH, BATCH):
            value = done(x[at : at + BATCH], y[at : at + BATCH])
        float(value)  # waits for the device

    return epoch


def by_torch(x: np.ndarray, y: np.ndarray, compiled: bool, threads: int, device: str) -> Epoch:
    import torch

    torch.set_num_threads(threads)

    rows, labels = torch.tensor(x, device=device), torch.tensor(y, device=device)
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Dropout(RATE), nn.Linear(*SIZES[1:])
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    done = torch.compile(step) if compiled else step

    def epoch() -> None:
        torch.set_num_threads(threads)
        for at in range(0, STEPS * BATCH, BATCH):
            value = done(rows[at : at + BATCH], labels[at : at + BATCH])
        value.item()

    return epoch


def measure(rounds: int, backend: str) -> dict[str, list[float]]:
    """Return the seconds of a step, round by round."""
    import gpunn

    gpunn.use_backend(backend)
    generator = np.random.default_rng(0)
    x = generator.random((ROWS, SIZES[0]), np.float32)
    y = generator.integers(0, SIZES[-1], ROWS)
    runs: dict[str, tuple[Epoch, int]] = {
        "fit": (by_fit(x, y, False), STEPS),
        "train_step in fit": (by_fit(x, y, True), STEPS),
        "a loop with gpunn.function": (by_loop(x, y, True, STEPS), STEPS),
        "a loop with a tape": (by_loop(x, y, False, FEW), FEW),
    }
    for compiled, name in ((False, "PyTorch, eager"), (True, "PyTorch, step compiled")):
        if backend == "compiled":
            every = [by_torch(x, y, compiled, n, "cpu") for n in (1, os.cpu_count() or 1)]
        else:
            every = [by_torch(x, y, compiled, 1, "cuda")]
        try:
            runs[name] = faster(every), STEPS
        except RuntimeError as error:  # torch.compile needs a C++ compiler
            print(f"Not measured: {name}: {error}")
    for run, _ in runs.values():
        run()
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, steps) in runs.items():
            begun = time.perf_counter()
            run()
            found[name].append((time.perf_counter() - begun) / steps)
    return found


def faster(runs: list[Epoch]) -> Epoch:
    """Return the run that takes less time: PyTorch is slower with two threads here, or faster."""
    taken = []
    for run in runs:
        run()
        run()
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return runs[int(np.argmin(taken))]


def memory_of(steps: int) -> list[float]:
    """Return the megabytes in use before, within and after so many compiled steps."""
    x = np.random.default_rng(0).random((ROWS, SIZES[0]), np.float32)
    y = np.random.default_rng(1).integers(0, SIZES[-1], ROWS)
    epoch, found = by_loop(x, y, True, STEPS), []
    epoch()
    for done in range(0, steps, STEPS):
        if done % (steps // 5) < STEPS:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append(pages * resource.getpagesize() / 1e6)
        epoch()
    return found


def ratios(found: dict[str, list[float]]) -> dict[str, list[float]]:
    pairs = {
        "train_step / fit": ("train_step in fit", "fit"),
        "function / fit": ("a loop with gpunn.function", "fit"),
        "function / PyTorch compiled": ("a loop with gpunn.function", "PyTorch, step compiled"),
        "tape / PyTorch eager": ("a loop with a tape", "PyTorch, eager"),
    }
    return {
        name: samples.ratios(found[one], found[other])
        for name, (one, other) in pairs.items() if other in found
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    lines = [
        "# Training steps written by hand",
        "",
        "W2's network (784-128-dropout 0.2-10, Adam, batches of 32), 12,000 rows. A step includes",
        "slicing its batch; PyTorch has the number of threads with which it is faster. By",
        "`benchmarks/studies/steps_by_hand.py`, in turns: medians, with quartiles.",
        "",
        "| a step by | us |",
        "| --- | --- |",
    ]
    for name, taken in result["seconds"].items():
        low, middle, high = (q * 1e6 for q in samples.quartiles(taken))
        lines.append(f"| {name} | {middle:.0f} ({low:.0f} - {high:.0f}) |")
    lines += ["", "| ratio within a round | | goal |", "| --- | --- | --- |"]
    for name, values in ratios(result["seconds"]).items():
        low, middle, high = samples.quartiles(values)
        lines.append(f"| {name} | {middle:.3g} ({low:.3g} - {high:.3g}) | at most {GOALS[name]} |")
    if result.get("megabytes"):
        sizes = ", ".join(f"{m:.0f}" for m in result["megabytes"])
        lines += ["", f"Memory of the process in 200,000 compiled steps, in MB: {sizes}."]
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--long", action="store_true", help="measure memory, too")
    parser.add_argument("--backend", choices=["compiled", "cupy"], default="compiled")
    given = parser.parse_args()
    seconds = measure(given.rounds, given.backend)
    result: dict[str, Any] = {"machine": machine.describe(), "seconds": seconds}
    if given.long:
        result["megabytes"] = memory_of(200_000)
    name = "steps-by-hand" if given.backend == "compiled" else "steps-by-hand-gpu"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
