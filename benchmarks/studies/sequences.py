"""Training on sequences, texts and pictures, compared with Keras on JAX and on PyTorch.

    python -m benchmarks.studies.sequences [--rounds 9] [--only lstm gru] [--instructions avx2]

Each network is one program (`NETWORKS`), run by gpunn and by Keras on either backend: each in its
own process, from the same weights, on the same batches in the same order. The loss of the first
epoch shows that they compute the same. Keras has the number of threads with which it is faster.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine, samples
from benchmarks.race.processes import THREAD_VARIABLES, all_threads

CONTESTANTS = ("gpunn", "Keras on JAX", "Keras on PyTorch")
GOAL, MOST_GOAL, COUNT_OF_MOST = 1.0, 0.8, 4
RANDOM = {"augmentation"}  # whose losses differ by their random numbers

Data = tuple[np.ndarray, np.ndarray]
Network = Callable[[Any], tuple[Any, Any]]  # the input and the output, from the module `keras`


def draw(shape: tuple[int, ...], classes: int = 10) -> Data:
    """Return random rows, and a class for each."""
    generator = np.random.default_rng(0)
    return generator.random(shape, np.float32), generator.integers(0, classes, shape[0])


def lstm(keras: Any) -> tuple[Any, Any]:
    x = keras.Input((28, 28))
    return x, keras.layers.Dense(10, "softmax")(keras.layers.LSTM(128)(x))


def gru(keras: Any) -> tuple[Any, Any]:
    x = keras.Input((120, 8))
    return x, keras.layers.Dense(1)(keras.layers.GRU(64)(x))


def convolution(keras: Any) -> tuple[Any, Any]:
    layers = keras.layers
    x = y = keras.Input((500, 8))
    for filters in (32, 64, 64, 64):
        y = layers.Conv1D(filters, 5, padding="same", activation="relu")(y)
    return x, layers.Dense(10, "softmax")(layers.GlobalAveragePooling1D()(y))


def embedding(keras: Any) -> tuple[Any, Any]:
    layers = keras.layers
    x = keras.Input((256,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(20_000, 64)(x))
    return x, layers.Dense(2, "softmax")(y)


def transformer(keras: Any) -> tuple[Any, Any]:
    layers, ops = keras.layers, keras.ops

    class Places(layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.places = layers.Embedding(128, 128)

        def call(self, x: Any) -> Any:
            return x + self.places(ops.arange(128))

    x = keras.Input((128,), dtype="int32")
    y = Places()(layers.Embedding(65, 128)(x))
    for _ in range(4):
        z = layers.LayerNormalization()(y)
        y = y + layers.MultiHeadAttention(4, 32)(z, z, use_causal_mask=True)
        z = layers.Dense(512, "gelu")(layers.LayerNormalization()(y))
        y = y + layers.Dense(128)(z)
    return x, layers.Dense(65, "softmax")(layers.LayerNormalization()(y))


def mobile_block(keras: Any) -> tuple[Any, Any]:
    layers = keras.layers
    x = keras.Input((64, 64, 32))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.Conv2D(64, 1, use_bias=False)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    return x, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(y))


def augmentation(keras: Any) -> tuple[Any, Any]:
    layers = keras.layers
    x = keras.Input((32, 32, 3))
    y = layers.RandomFlip("horizontal")(x)
    y = layers.RandomZoom(0.1)(layers.RandomRotation(0.1)(y))
    y = layers.Conv2D(16, 3, strides=2, activation="relu")(y)
    return x, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(y))


def words(shape: tuple[int, ...], most: int, classes: int, each: bool = False) -> Data:
    """Return words as frequent as those of a language, and a class for each text or word."""
    generator = np.random.default_rng(0)
    x = (generator.zipf(1.3, shape) % most).astype(np.int32)
    return x, generator.integers(0, classes, shape if each else shape[:1])


def series() -> Data:
    x = np.random.default_rng(0).random((1_280, 120, 8), np.float32)
    return x, x.mean((1, 2))[:, None]


NETWORKS: dict[str, tuple[str, Network, Callable[[], Data], int]] = {
    "lstm": ("LSTM(128), 28 steps of 28", lstm, lambda: draw((2_560, 28, 28)), 128),
    "gru": ("GRU(64), 120 steps of 8", gru, series, 64),
    "convolution": ("four Conv1D, 500 steps", convolution, lambda: draw((640, 500, 8)), 32),
    "embedding": (
        "Embedding(20,000, 64), pooling, texts of 256", embedding,
        lambda: words((2_560, 256), 20_000, 2), 128,
    ),
    "transformer": (
        "4 blocks of width 128, 128 characters", transformer,
        lambda: words((256, 128), 65, 65, each=True), 32,
    ),
    "mobile block": (
        "depthwise and 1x1 convolution, 64x64x32", mobile_block,
        lambda: draw((256, 64, 64, 32)), 32,
    ),
    "augmentation": (
        "flip, rotation, zoom, a convolution, 32x32x3", augmentation,
        lambda: draw((2_560, 32, 32, 3)), 128,
    ),
}  # fmt: skip
"""By name: what it is, the network, its data, the batch size."""


# -- in the process of a contestant


def compiled(keras: Any, name: str) -> Any:
    """Return the compiled model of a network, with weights that depend on nothing else."""
    model = keras.Model(*NETWORKS[name][1](keras))
    generator = np.random.default_rng(1)
    model.set_weights([
        w if w.ndim < 2 or not np.ptp(w) else generator.normal(0, 0.05, w.shape).astype(w.dtype)
        for w in map(np.asarray, model.get_weights()) if w.dtype.kind == "f"
    ] if name != "augmentation" else model.get_weights())  # fmt: skip
    loss = "mean_squared_error" if name == "gru" else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-3), loss)
    return model


def serve(contestant: str, threads: int) -> None:
    """Answer the names of networks with [seconds of a step, loss], an epoch each time."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    keras: Any = importlib.import_module("gpunn" if contestant == "gpunn" else "keras")
    if contestant == "gpunn":
        keras.use_backend("compiled")
    else:
        if contestant == "Keras on PyTorch":
            import torch

            torch.set_num_threads(threads)
    models: dict[str, tuple[Any, Data, int]] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in models:
            keras.utils.set_random_seed(0)
            models[name] = compiled(keras, name), NETWORKS[name][2](), NETWORKS[name][3]
        model, (x, y), batch = models[name]
        begun = time.perf_counter()
        past = model.fit(x, y, batch_size=batch, shuffle=False, verbose=0).history
        taken = (time.perf_counter() - begun) / -(-len(x) // batch)
        print(json.dumps([taken, past["loss"][0]]), file=answers, flush=True)


# -- the race


class Contestant:
    """A process that trains when it is asked to."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        backend = {"Keras on JAX": "jax", "Keras on PyTorch": "torch"}.get(name, "")
        own = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        if backend:
            own |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve", name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | own, cwd=ROOT,
        )  # fmt: skip

    def epoch(self, network: str) -> tuple[float, float]:
        """Return the seconds of a step, and the loss.

        Raises:
            RuntimeError: if the process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        print(network, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended while it trained {network!r}.")
        taken, loss = json.loads(line)
        return taken, loss

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def race(network: str, rounds: int) -> dict[str, Any]:
    """Return each contestant's seconds of a step, round by round, its threads, and first loss."""
    most = all_threads()
    found: dict[str, Any] = {"seconds": {}, "threads": {}, "loss": {}, "failed": {}}
    chosen: dict[str, Contestant] = {}
    try:
        for name in CONTESTANTS:
            tried = list[tuple[float, Contestant]]()
            for threads in [most] if name == "gpunn" else sorted({1, most}):
                one = Contestant(name, threads)
                try:
                    found["loss"][name] = one.epoch(network)[1]
                    one.epoch(network)
                    tried.append((min(one.epoch(network)[0] for _ in range(2)), one))
                except RuntimeError as error:
                    found["failed"][name] = str(error)
                    one.end()
            for number, (_, one) in enumerate(sorted(tried, key=lambda pair: pair[0])):
                if number:
                    one.end()
                else:
                    chosen[name] = one
                    found["threads"][name] = one.threads
        for _ in range(rounds):
            for name, one in chosen.items():
                found["seconds"].setdefault(name, []).append(one.epoch(network)[0])
    finally:
        for one in chosen.values():
            one.end()
    return found


def ratio(found: dict[str, Any]) -> list[float]:
    """Return ours over the better neighbour's, round by round."""
    seconds = dict(found["seconds"])
    ours = seconds.pop("gpunn", [])
    best = min(seconds.values(), key=lambda taken: samples.quartiles(taken).middle, default=[])
    return samples.ratios(ours, best)


def table(result: dict[str, Any]) -> str:
    head = " | ".join(f"{name}, ms" for name in CONTESTANTS)
    lines = [
        "# Sequences, texts and pictures",
        "",
        "A training step by `fit`, by `benchmarks/studies/sequences.py`: medians of interleaved",
        "rounds, quartiles of the ratio within a round to the better of Keras's backends.",
        f"The goal is {GOAL} at most in each, and {MOST_GOAL} in {COUNT_OF_MOST} of them. Keras",
        "has the number of threads with which it is faster. All start from the same weights;",
        "the losses of the first epoch agree within the last column.",
        "",
        f"| network | {head} | ours / the better | losses agree within |",
        f"| --- |{' --- |' * (len(CONTESTANTS) + 2)}",
    ]
    for name, found in result["networks"].items():
        cells = []
        for contestant in CONTESTANTS:
            taken = found["seconds"].get(contestant)
            middle = f"{samples.quartiles(taken).middle * 1e3:.3g}" if taken else "failed"
            threads = found["threads"].get(contestant)
            cells.append(middle if contestant == "gpunn" or not taken else f"{middle} ({threads})")
        within = ratio(found)
        low, middle, high = samples.quartiles(within) if within else (float("nan"),) * 3
        losses = list(found["loss"].values())
        spread = (max(losses) - min(losses)) / abs(np.mean(losses))
        agree = "random" if name in RANDOM else f"{spread:.1g}"
        lines.append(
            f"| {NETWORKS[name][0]} | {' | '.join(cells)} | {middle:.2f} ({low:.2f} - {high:.2f})"
            f" | {agree} |"
        )
    lines += ["", "In brackets: threads."]
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS), help="print, write no file")
    parser.add_argument("--instructions", choices=list(machine.INSTRUCTIONS))
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve[0], int(given.serve[1]))
        return
    with machine.limited_to(given.instructions):
        networks = {name: race(name, given.rounds) for name in given.only or NETWORKS}
        about = machine.describe_for_children()
    result = {"machine": about, "networks": networks}
    text = table(result)
    if not given.only:
        name = f"sequences-{given.instructions}" if given.instructions else "sequences"
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
