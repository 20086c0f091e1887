"""Many small networks in one call, beside JAX's vmap, processes and scikit-learn's grid search.

    python -m benchmarks.studies.many [--rounds 7]

In each round all contestants do the same work, one after the other. Rounds in which other
processes kept the machine busy are repeated. JAX is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

import gpunn as keras
from benchmarks import RESULTS
from benchmarks.common import machine, samples

MOST_ROUNDS = 4  # tried, for each that is wanted
TINY, NETWORKS, ROWS = (2, 2, 3, 2), 1024, 1000
SHORT, LONG = 1, {"fit_many": 201, "JAX, vmap and scan": 21}  # epochs of two runs
WIDE, WIDE_NETWORKS, WIDE_ROWS, WIDE_EPOCHS = (784, 16, 16, 10), 64, 6400, 3
RATES = [0.001, 0.003, 0.01]
THEIR_ACTIVATIONS, ACTIVATIONS = ["relu", "tanh", "logistic"], ["relu", "tanh", "sigmoid"]
FOLDS, TABLE_ROWS, TABLE_EPOCHS = 5, 2000, 30


def data(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.random((rows, features), np.float32)
    return x, (x[:, :2].sum(1) * classes / 2).astype(np.int32) % classes


def network(sizes: tuple[int, ...], seed: int, optimizer: Any, activation: str) -> Any:
    with keras.utils.seeded(seed):
        hidden = [keras.layers.Dense(units, activation) for units in sizes[1:-1]]
        model = keras.Sequential(
            [keras.Input((sizes[0],)), *hidden, keras.layers.Dense(sizes[-1], "softmax")]
        )
        model.compile(optimizer(), "sparse_categorical_crossentropy")
    return model


# -- many tiny networks


def tiny_networks() -> dict[str, Callable[[int], None]]:
    """Return functions that train all networks for so many epochs, one row a step, shuffled."""
    x, y = data(ROWS, TINY[0], TINY[-1])

    def sgd() -> Any:
        return keras.optimizers.SGD(0.1)

    models = [network(TINY, seed, sgd, "tanh") for seed in range(NETWORKS)]

    def ours(epochs: int) -> None:
        keras.fit_many(models, x, y, batch_size=1, epochs=epochs, verbose=0)

    found = {"fit_many": ours}
    if find_spec("jax"):
        found["JAX, vmap and scan"] = by_jax(x, y)
    return found


def by_jax(x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    os.environ |= {"NPROC": str(os.cpu_count()), "JAX_PLATFORMS": "cpu"}
    import jax
    import jax.numpy as jnp
    from jax import nn, random

    xs, ys = jnp.asarray(x), jnp.asarray(y)

    def loss(weights: Any, row: Any, label: Any) -> Any:
        *hidden, (kernel, bias) = weights
        for w, b in hidden:
            row = jnp.tanh(row @ w + b)
        return -nn.log_softmax(row @ kernel + bias)[label]

    def epoch(weights: Any, key: Any) -> Any:
        def step(weights: Any, i: Any) -> tuple[Any, Any]:
            value, slopes = jax.value_and_grad(loss)(weights, xs[i], ys[i])
            return jax.tree.map(lambda w, g: w - 0.1 * g, weights, slopes), value

        return jax.lax.scan(step, weights, random.permutation(key, len(xs)))

    run = jax.jit(jax.vmap(epoch))
    key = random.PRNGKey(0)
    weights = [
        (random.normal(key, (NETWORKS, n, m)) / n**0.5, jnp.zeros((NETWORKS, m)))
        for n, m in pairwise(TINY)
    ]

    def train(epochs: int) -> None:
        nonlocal weights
        for k in range(epochs):
            weights, losses = run(weights, random.split(random.PRNGKey(k), NETWORKS))
        jax.block_until_ready((weights, losses))

    train(1)  # compiles it
    return train


# -- networks as wide as vectors


def wide_networks(seeds: range) -> list[Any]:
    return [network(WIDE, seed, keras.optimizers.Adam, "relu") for seed in seeds]


def wide_together() -> None:
    x, y = data(WIDE_ROWS, WIDE[0], WIDE[-1])
    models = wide_networks(range(WIDE_NETWORKS))
    keras.fit_many(models, x, y, batch_size=32, epochs=WIDE_EPOCHS, verbose=0)


def wide_alone(seeds: range) -> None:
    x, y = data(WIDE_ROWS, WIDE[0], WIDE[-1])
    for model in wide_networks(seeds):
        model.fit(x, y, batch_size=32, epochs=WIDE_EPOCHS, verbose=0)


# -- a grid search


def grid_searches() -> dict[str, Callable[[], Any]]:
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    from gpunn.sklearn import GpunnClassifier, GpunnSearchCV

    x, y = data(TABLE_ROWS, 20, 3)
    theirs = MLPClassifier(
        (16,), batch_size=32, max_iter=TABLE_EPOCHS, n_iter_no_change=TABLE_EPOCHS, tol=0.0,
        random_state=0,
    )  # fmt: skip
    ours = GpunnClassifier((16,), batch_size=32, epochs=TABLE_EPOCHS, random_state=0)
    grid = {"learning_rate": RATES, "activation": ACTIVATIONS}
    their_grid = {"learning_rate_init": RATES, "activation": THEIR_ACTIVATIONS}
    cores = os.cpu_count() or 1
    return {
        "GpunnSearchCV": lambda: GpunnSearchCV(ours, grid, cv=FOLDS, refit=False).fit(x, y),
        "GridSearchCV": lambda: GridSearchCV(
            theirs, their_grid, cv=FOLDS, refit=False, n_jobs=cores
        ).fit(x, y),
    }


# -- rounds


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rounds_of(wanted: int, contestants: dict[str, Callable[[], float]]) -> list[dict[str, float]]:
    """Return the seconds of each in each round, and the cores that others kept busy in it."""
    found: list[dict[str, float]] = []
    quiet = 0
    for run in contestants.values():
        run()
    while quiet < wanted and len(found) < MOST_ROUNDS * wanted:
        others, one = machine.Others(), {}
        for name, run in contestants.items():
            one[name] = run()
            if "JAX" not in name and "process" not in name and "Grid" not in name:
                busy = others.cores() or 0.0
        found.append({**one, "others": busy})
        quiet += busy <= machine.BUSY
    return found


def measure(rounds: int) -> dict[str, Any]:
    tiny = tiny_networks()

    def a_step(run: Callable[[int], None], long: int) -> float:
        steps = NETWORKS * ROWS * (long - SHORT)
        return (seconds(lambda: run(long)) - seconds(lambda: run(SHORT))) / steps

    tiny_steps = {name: (lambda r=run, n=LONG[name]: a_step(r, n)) for name, run in tiny.items()}
    found = {"tiny": rounds_of(rounds, tiny_steps)}
    workers = os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as processes:
        parts = [range(k, WIDE_NETWORKS, workers) for k in range(workers)]
        found["wide"] = rounds_of(rounds, {
            "fit_many": lambda: seconds(wide_together),
            "processes": lambda: seconds(lambda: list(processes.map(wide_alone, parts))),
        })  # fmt: skip
    found["grid"] = rounds_of(
        rounds, {name: (lambda r=run: seconds(r)) for name, run in grid_searches().items()}
    )
    return {"workers": workers, "rounds": found}


def table(result: dict[str, Any]) -> str:
    network = "-".join
    titles = {
        "tiny": f"{NETWORKS:,} networks {network(map(str, TINY))}, a row a step, shuffled: "
        "microseconds a step of one network",
        "wide": f"{WIDE_NETWORKS} networks {network(map(str, WIDE))}, {WIDE_ROWS:,} rows, "
        f"batch 32, {WIDE_EPOCHS} epochs: seconds",
        "grid": f"{FOLDS} folds by {len(RATES) * len(ACTIVATIONS)} settings, {TABLE_ROWS:,} rows, "
        f"20-16-3, batch 32, {TABLE_EPOCHS} epochs: seconds",
    }
    lines = [
        "# Many small networks in one call",
        "",
        f"`gpunn.fit_many` and `GpunnSearchCV` beside others on {result['workers']} cores",
        "(`benchmarks/studies/many.py`). Medians; ratios are those within each round, with",
        "quartiles. A step of the tiny networks is the difference of a long and a short run.",
        "",
        "| work | contestant | median | times that of ours |",
        "| --- | --- | --- | --- |",
    ]
    loads = []
    for kind, title in titles.items():
        taken = result["rounds"][kind]
        quiet = [one for one in taken if one["others"] <= machine.BUSY] or taken
        loads += [one["others"] for one in quiet]
        names = [name for name in quiet[0] if name != "others"]
        for name in names:
            own = [one[name] for one in quiet]
            middle = samples.quartiles(own).middle * (1e6 if kind == "tiny" else 1)
            low, mid, high = samples.quartiles(
                samples.ratios(own, [one[names[0]] for one in quiet])
            )
            ratio = "" if name == names[0] else f"{mid:.2f} ({low:.2f} - {high:.2f})"
            lines.append(f"| {title} | {name} | {middle:.3g} | {ratio} |")
    complaint = machine.complaint(None, max(loads))
    notes = [complaint, ""] if complaint else []
    return "\n".join([*lines, "", *notes, machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    result = {"machine": machine.describe(), **measure(parser.parse_args().rounds)}
    (RESULTS / "many.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "many.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
