"""The cost of custom parts of a network.

    python -m benchmarks.studies.custom_parts [--rounds 15]

W2's network with silu, 784-128-dropout 0.2-10, Adam, batches of 32: with built-in parts; with a
custom activation, layer and loss, written with `gpunn.ops`; and the same written in JAX, an
epoch as one program (jit, scan). Then a chain of 20 operations on a million values, in one
thread: by gpunn, by NumPy into a few preallocated arrays, and by JAX (jit).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.common import machine, samples
from benchmarks.common.workloads import initial_weights

SIZES, BATCH, ROWS, RATE = (784, 128, 10), 32, 12_000, 0.2
STEPS = ROWS // BATCH
NUMBERS = 1_000_000
GOALS = {
    "own / built-in": 1.08, "own / JAX": 0.85,
    "with functions, NumPy / gpunn": 2.0, "without, NumPy / gpunn": 2.5,
    "with functions, JAX / gpunn": 1.0, "without, JAX / gpunn": 1.0,
    "milliseconds to trace": 30.0,
}  # fmt: skip

Epoch = Callable[[], Any]


# -- the network


def by_gpunn(own: bool, backend: str, x: np.ndarray, y: np.ndarray) -> Epoch:
    model = network(own, backend)
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def network(own: bool, backend: str) -> Any:
    import gpunn as keras
    from gpunn import ops

    class Affine(keras.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((input_shape[-1], self.units), name="w")
            self.b = self.add_weight((self.units,), initializer="zeros", name="b")

        def call(self, x: Any) -> Any:
            return ops.matmul(x, self.w) + self.b

    def silu(x: Any) -> Any:
        return x * ops.sigmoid(x)

    def crossentropy(y_true: Any, y_pred: Any) -> Any:
        chosen = ops.one_hot(ops.reshape(y_true, (-1,)), SIZES[-1])
        return ops.logsumexp(y_pred, axis=-1) - ops.sum(chosen * y_pred, axis=-1)

    layers = keras.layers
    if own:
        parts = [Affine(SIZES[1]), layers.Activation(silu), layers.Dropout(RATE), Affine(SIZES[2])]
        loss: Any = crossentropy
    else:
        hidden = layers.Dense(SIZES[1], activation="silu")
        parts = [hidden, layers.Dropout(RATE), layers.Dense(SIZES[2])]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((SIZES[0],)), *parts], backend=backend)
    model.compile(keras.optimizers.Adam(0.001), loss)
    model.set_weights(initial_weights(0, SIZES))
    return model


def by_jax(x: np.ndarray, y: np.ndarray) -> Epoch:
    import jax
    import jax.numpy as jnp
    from jax import lax, nn, random

    inputs, targets = jnp.asarray(x), jnp.asarray(y.astype(np.int32))

    def loss_of(weights: Any, rows: Any, labels: Any, key: Any) -> Any:
        w1, b1, w2, b2 = weights
        z = rows @ w1 + b1
        h = z * nn.sigmoid(z)
        h = jnp.where(random.bernoulli(key, 1 - RATE, h.shape), h / (1 - RATE), 0)
        p = h @ w2 + b2
        chosen = nn.one_hot(labels, SIZES[-1])
        return (nn.logsumexp(p, axis=-1) - (chosen * p).sum(-1)).mean()

    def step(state: Any, chosen: Any) -> Any:
        weights, m, v, t, key = state
        key, own = random.split(key)
        arguments = weights, inputs[chosen], targets[chosen], own
        loss, g = jax.value_and_grad(loss_of)(*arguments)
        t = t + 1.0
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        root = jnp.sqrt(1 - 0.999**t)
        size, eps = 0.001 * root / (1 - 0.9**t), 1e-7 * root
        weights = [
            w - size * a / (jnp.sqrt(b) + eps) for w, a, b in zip(weights, m, v, strict=True)
        ]
        return (weights, m, v, t, key), loss

    def whole(state: Any) -> Any:
        *rest, key = state
        key, own = random.split(key)
        order = random.permutation(own, ROWS).reshape(STEPS, BATCH)
        return lax.scan(step, (*rest, key), order)

    compiled = jax.jit(whole, donate_argnums=0)
    weights = [jnp.array(w) for w in initial_weights(0, SIZES)]
    state = (
        weights, [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights],
        jnp.zeros(()), random.key(0),
    )  # fmt: skip

    def epoch() -> None:
        nonlocal state
        state, losses = compiled(state)
        losses.block_until_ready()

    return epoch


# -- the chain


def chain(xp: Any, x: Any, functions: bool) -> Any:
    """Apply 20 operations; with `functions`, including tanh, exp, log, sqrt and divisions."""
    a = x * 0.5 + 0.25
    if functions:
        b = xp.tanh(a)
        c = xp.exp(-(b * b)) + 1.5
        d = xp.log(c) * b
        e = xp.sqrt(c + d * d)
        f = (e - a) / c
        return (f * f + d) * 0.125 - e / (1.0 + b * b)
    b = a * a - x
    c = b * a + x * 1.5
    d = c - b * 0.75
    e = d * d + a
    f = e * c - d
    return (f + b) * 0.125 + (e - a) * x - 0.5 * c


def chain_by_numpy(x: np.ndarray, functions: bool) -> Epoch:
    """Apply the same calls with a few preallocated arrays, which are reused."""
    calls: list[Callable[[], Any]] = []
    free: list[np.ndarray] = []

    class Noted:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __del__(self) -> None:
            if self.array is not x:
                free.append(self.array)

        def _do(self, function: Any, *args: Any) -> Noted:
            given = [a.array if isinstance(a, Noted) else np.float32(a) for a in args]
            out = free.pop() if free else np.empty_like(x)
            calls.append(lambda: function(*given, out=out))
            return Noted(out)

        def __add__(self, other: Any) -> Noted:
            return self._do(np.add, self, other)

        def __sub__(self, other: Any) -> Noted:
            return self._do(np.subtract, self, other)

        def __mul__(self, other: Any) -> Noted:
            return self._do(np.multiply, self, other)

        def __truediv__(self, other: Any) -> Noted:
            return self._do(np.divide, self, other)

        def __neg__(self) -> Noted:
            return self._do(np.negative, self)

        __radd__, __rmul__ = __add__, __mul__

    class Functions:
        tanh, exp, log, sqrt = (
            staticmethod(lambda t, f=f: t._do(f, t)) for f in (np.tanh, np.exp, np.log, np.sqrt)
        )

    chain(Functions, Noted(x), functions)

    def run() -> None:
        for call in calls:
            call()

    return run


def chain_by_gpunn(x: np.ndarray, functions: bool, backend: str) -> Epoch:
    from gpunn import ops
    from gpunn.backends import get_backend
    from gpunn.ops.running.computation import Destination
    from gpunn.ops.running.eager import stages_of
    from gpunn.ops.trace import Trace

    device, trace = get_backend(backend).isolated(), Trace()
    given, out = trace.placeholder(device.upload(x)), device.empty(x.shape, "float32")
    with trace.active():
        y = chain(ops, given, functions)
    computation = stages_of(trace, device, [[Destination(y, out)]])
    program = device.program(lambda: computation.run(0), traceable=True)

    def run() -> Any:
        program.run(1)
        return out

    return run


def chain_by_jax(x: np.ndarray, functions: bool) -> Epoch:
    import jax
    import jax.numpy as jnp

    compiled, given = jax.jit(lambda t: chain(jnp, t, functions)), jnp.asarray(x)
    return lambda: compiled(given).block_until_ready()


# -- measuring


def seconds(run: Epoch) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def tracing(rounds: int, backend: str, x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Measure seconds of the first step of a new model."""
    found: dict[str, list[float]] = {"own": [], "built-in": []}
    for _ in range(rounds):
        for name, own in (("own", True), ("built-in", False)):
            model = network(own, backend)
            found[name].append(seconds(lambda model=model: model.train_on_batch(x, y)))
    return found


def measure(rounds: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    x = generator.random((ROWS, SIZES[0]), np.float32)
    y = generator.integers(0, SIZES[-1], ROWS)
    numbers = generator.random(NUMBERS, np.float32)
    network = {
        "own": by_gpunn(True, "compiled", x, y),
        "built-in": by_gpunn(False, "compiled", x, y),
        "own (NumPy)": by_gpunn(True, "numpy", x, y),
        "built-in (NumPy)": by_gpunn(False, "numpy", x, y),
        "JAX": by_jax(x, y),
    }
    found: dict[str, Any] = {"network": in_turn(network, rounds)}
    for name, functions in (("with functions", True), ("without", False)):
        found[name] = in_turn(
            {
                "gpunn": chain_by_gpunn(numbers, functions, "compiled"),
                "gpunn (NumPy)": chain_by_gpunn(numbers, functions, "numpy"),
                "NumPy": chain_by_numpy(numbers, functions),
                "JAX": chain_by_jax(numbers, functions),
            },
            5 * rounds,
        )
    found["rounded otherwise"] = rounded_otherwise(numbers)
    found["first step"] = tracing(rounds, "compiled", x[:BATCH], y[:BATCH])
    return found


def rounded_otherwise(x: np.ndarray) -> dict[str, float]:
    """Return the fraction of values of the chain without functions that differ from NumPy's."""
    expected = chain(np, x, False)
    runs = {"gpunn": chain_by_gpunn(x, False, "compiled"), "JAX": chain_by_jax(x, False)}
    return {by: float(np.mean(np.asarray(run()) != expected)) for by, run in runs.items()}


def in_turn(runs: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    for run in runs.values():
        run()
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(seconds(run))
    return found


def compared(found: dict[str, Any]) -> dict[str, list[float]]:
    """Return the quantities of the goals, round by round."""
    networks, first = found["network"], found["first step"]
    ratios = {
        "own / built-in": samples.ratios(networks["own"], networks["built-in"]),
        "own / JAX": samples.ratios(networks["own"], networks["JAX"]),
    }
    for name in ("with functions", "without"):
        for other in ("NumPy", "JAX"):
            of = found[name]
            ratios[f"{name}, {other} / gpunn"] = samples.ratios(of[other], of["gpunn"])
    more = [(a - b) * 1e3 for a, b in zip(first["own"], first["built-in"], strict=True)]
    return ratios | {"milliseconds to trace": more}


def table(result: dict[str, Any]) -> str:
    found = result["seconds"]
    lines = [
        "# Parts of one's own",
        "",
        "W2's network with silu (784-128-dropout 0.2-10, Adam, batches of 32): of built-in parts,",
        "of parts written with `gpunn.ops`, and in JAX (an epoch as one program); and a chain of",
        "20 operations on a million numbers in one thread.",
        "By `benchmarks/studies/custom_parts.py`, in turns: medians, with quartiles.",
        "JAX contracts products and sums, so that it does fewer operations in the chain without",
        "functions, and rounds otherwise; gpunn does not.",
        "",
        "| what | by | time |",
        "| --- | --- | --- |",
    ]
    units = {
        "network": ("a step, us", 1e6 / STEPS),
        "with functions": ("the chain with tanh, exp, log, sqrt and division, ns a number", 1e3),
        "without": ("the chain without, ns a number", 1e3),
        "first step": ("the first step of a new model, ms", 1e3),
    }
    for name, (title, factor) in units.items():
        for by, taken in found[name].items():
            low, middle, high = (q * factor for q in samples.quartiles(taken))
            lines.append(f"| {title} | {by} | {middle:.3g} ({low:.3g} - {high:.3g}) |")
    for by, share in found["rounded otherwise"].items():
        lines.append(f"| its numbers that differ from NumPy's | {by} | {100 * share:.0f} % |")
    lines += ["", "| ratio within a round | | goal |", "| --- | --- | --- |"]
    for name, values in compared(found).items():
        low, middle, high = samples.quartiles(values)
        most = name.startswith(("own", "milli"))
        goal = f"at {'most' if most else 'least'} {GOALS[name]:g}"
        lines.append(f"| {name} | {middle:.3g} ({low:.3g} - {high:.3g}) | {goal} |")
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    os.environ |= {
        "NPROC": "1", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }  # fmt: skip
    result = {"machine": machine.describe(), "seconds": measure(rounds)}
    (RESULTS / "custom-parts.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "custom-parts.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
