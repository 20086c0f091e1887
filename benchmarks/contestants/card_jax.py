"""JAX on the card: a whole epoch compiled as one program, the data there already."""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory too

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn, random

jax.config.update("jax_default_matmul_precision", "highest")  # float32, as the others


def prepare(data):
    work = data["workload"]
    weights = [jnp.asarray(w) for w in data["weights"]]
    x, y = jnp.asarray(data["x"]).reshape(-1, 784), jnp.asarray(data["y"]).astype(int)
    batch, rate = work["batch"], work["dropout"]
    steps = len(x) // batch

    def forward(weights, images, key=None):
        h = images.astype(jnp.float32) / 255
        for i in range(0, len(weights), 2):
            h = h @ weights[i] + weights[i + 1]
            if i < len(weights) - 2:
                h = nn.relu(h)
                if rate and key is not None:
                    kept = random.bernoulli(random.fold_in(key, i), 1 - rate, h.shape)
                    h = jnp.where(kept, h / (1 - rate), 0)
        return h

    def loss(weights, rows, key):
        output, target = forward(weights, x[rows], key), y[rows]
        values = nn.log_softmax(output)[jnp.arange(len(rows)), target]
        return -values.mean(), (output.argmax(1) == target).sum()

    def step(state, given):
        weights, m, v, t = state
        rows, key = given
        (value, right), g = jax.value_and_grad(loss, has_aux=True)(weights, rows, key)
        if work["optimizer"] == "adam":
            t = t + 1
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            scale = 0.001 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            change = [-scale * a / (jnp.sqrt(b) + 1e-7) for a, b in zip(m, v, strict=True)]
        elif work["optimizer"] == "momentum":
            m = change = [0.9 * a - 0.01 * b for a, b in zip(m, g, strict=True)]
        else:
            change = [-0.01 * b for b in g]
        weights = [a + b for a, b in zip(weights, change, strict=True)]
        return (weights, m, v, t), (value * len(rows), right)

    @jax.jit
    def epoch(state, key):
        shuffling, dropping = random.split(key)
        order = random.permutation(shuffling, len(x))
        full = order[: steps * batch].reshape(steps, batch)
        state, figures = lax.scan(step, state, (full, random.split(dropping, steps)))
        figures = [f.sum() for f in figures]
        if len(x) % batch:
            state, last = step(state, (order[steps * batch :], shuffling))
            figures = [a + b for a, b in zip(figures, last, strict=True)]
        return state, figures

    zeros = [jnp.zeros_like(w) for w in weights]
    state, key = (weights, zeros, zeros, jnp.zeros(())), random.key(0)
    outputs = jax.jit(lambda weights, images: nn.softmax(forward(weights, images)))

    def train(epochs=work["times"]):
        nonlocal state, key
        for _ in range(epochs):
            key, own = random.split(key)
            state, figures = epoch(state, own)
            [float(f) for f in figures]

    def output():
        return np.asarray(outputs(state[0], data["x_test"].reshape(-1, 784)))

    def predict():
        for _ in range(work["times"]):
            output()

    def accuracy():
        return (output().argmax(1) == data["y_test"]).mean()

    if work["predicts"]:
        train(1)
    return predict if work["predicts"] else train, accuracy
