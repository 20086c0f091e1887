"""JAX: a jitted training step called from a loop, and a whole epoch as one program (scan)."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np

REQUIRES = ("jax",)
VARIANTS = {
    "JAX, jit a step": {"device": "cpu"},
    "JAX, scan over the epoch": {"scan": True, "device": "cpu"},
    "JAX, jit a step (card)": {"device": "cuda"},
    "JAX, scan over the epoch (card)": {"scan": True, "device": "cuda"},
}
CONVOLVES = True
NOTE = (
    "The data set is on the device, the state is donated, rows are taken inside the compiled "
    "step. Optimizers are those of Optax, written out. Products are float32 on a card too "
    "(matmul precision highest), as in the others; JAX's default there is TF32."
)


def prepare(data, device="cpu", scan=False):
    # XLA reads the number of threads from NPROC, not from OMP_NUM_THREADS.
    os.environ |= {"NPROC": str(data["threads"]), "JAX_PLATFORMS": device}
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others need memory too
    import jax
    import jax.numpy as jnp
    from jax import lax, nn, random

    jax.config.update("jax_default_matmul_precision", "highest")
    work = data["workload"]
    batch, rate = work["batch"], work["dropout"]
    convolutions = len(work.get("convolutions", ()))
    largest = work.get("largest", 255)
    x = jnp.asarray(data["x"].reshape(len(data["x"]), -1).astype(np.float32) / largest)
    y = jnp.asarray(data["y"].astype(np.int32))
    x_test = data["x_test"].reshape(len(data["x_test"]), -1).astype(np.float32) / largest
    rows = len(x)
    steps = rows // batch

    def forward(weights, h, key=None):
        layers = list(zip(weights[::2], weights[1::2], strict=True))
        h = h.reshape(-1, 28, 28, 1) if convolutions else h
        for kernel, bias in layers[:convolutions]:
            order = ("NHWC", "HWIO", "NHWC")
            h = lax.conv_general_dilated(h, kernel, (1, 1), "VALID", dimension_numbers=order)
            pairs = (1, 2, 2, 1)
            h = lax.reduce_window(nn.relu(h + bias), -jnp.inf, lax.max, pairs, pairs, "VALID")
        h = h.reshape(len(h), -1)
        layers = layers[convolutions:]
        for kernel, bias in layers[:-1]:
            h = nn.relu(h @ kernel + bias)
        if rate and key is not None:
            h = jnp.where(random.bernoulli(key, 1 - rate, h.shape), h / (1 - rate), 0)
        kernel, bias = layers[-1]
        return h @ kernel + bias

    def loss_function(weights, images, target, key):
        output = forward(weights, images, key)
        losses = -jnp.take_along_axis(nn.log_softmax(output), target[:, None], 1)
        return losses.mean(), (output.argmax(1) == target).sum()

    def update(weights, slots, g, t):
        if work["optimizer"] == "adam":
            m, v = slots
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            m_part, v_part = 1 - 0.9**t, 1 - 0.999**t
            size, eps = 0.001 * jnp.sqrt(v_part) / m_part, 1e-8 * jnp.sqrt(v_part)
            change = [size * a / (jnp.sqrt(b) + eps) for a, b in zip(m, v, strict=True)]
            return [w - c for w, c in zip(weights, change, strict=True)], (m, v)
        if work["optimizer"] == "momentum":
            (m,) = slots
            m = [0.9 * a + b for a, b in zip(m, g, strict=True)]
            return [w - 0.01 * a for w, a in zip(weights, m, strict=True)], (m,)
        return [w - 0.01 * b for w, b in zip(weights, g, strict=True)], ()

    def step(state, x, y, chosen):
        weights, slots, t, key, loss_sum, hits_sum = state
        key, own = random.split(key) if rate else (key, None)
        (loss, hits), g = jax.value_and_grad(loss_function, has_aux=True)(
            weights, x[chosen], y[chosen], own
        )
        weights, slots = update(weights, slots, g, t + 1.0)
        return weights, slots, t + 1, key, loss_sum + loss * len(chosen), hits_sum + hits

    def whole_epoch(state, x, y):
        weights, slots, t, key, _, _ = state
        key, own = random.split(key)
        order = random.permutation(own, rows)
        state = weights, slots, t, key, 0.0, 0
        full = order[: steps * batch].reshape(steps, batch)
        state, _ = lax.scan(lambda state, chosen: (step(state, x, y, chosen), None), state, full)
        return step(state, x, y, order[steps * batch :]) if rows % batch else state

    def at(state, x, y, order, start, size):
        return step(state, x, y, lax.dynamic_slice(order, (start,), (size,)))

    compiled_step = jax.jit(at, donate_argnums=0, static_argnums=5)
    compiled_epoch = jax.jit(whole_epoch, donate_argnums=0)
    probabilities = jax.jit(lambda weights, images: nn.softmax(forward(weights, images)))
    weights = [jnp.array(w) for w in data["weights"]]
    slots = tuple(
        [jnp.zeros_like(w) for w in weights]
        for _ in range({"adam": 2, "momentum": 1, "sgd": 0}[work["optimizer"]])
    )
    seed = data.get("seed", 0)
    state = weights, slots, jnp.zeros(()), random.key(seed), jnp.zeros(()), jnp.zeros((), int)
    generator = np.random.default_rng(seed)

    def epoch():
        nonlocal state
        if scan:
            state = compiled_epoch(state, x, y)
        else:
            state = *state[:4], jnp.zeros(()), jnp.zeros((), int)
            order = jnp.asarray(generator.permutation(rows).astype(np.int32))
            for start in range(0, rows, batch):
                state = compiled_step(state, x, y, order, start, min(batch, rows - start))
        return float(state[4]) / rows, float(state[5]) / rows

    def predict(images):
        return np.asarray(probabilities(state[0], images))

    def accuracy():
        return float((predict(x_test).argmax(1) == data["y_test"]).mean())

    def current_weights():
        return [np.asarray(w) for w in state[0]]

    return SimpleNamespace(
        epoch=epoch, accuracy=accuracy, predict=predict, weights=current_weights
    )


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
