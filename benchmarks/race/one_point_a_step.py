"""W6, the classic first network: 2-2-3-2 sigmoid units, one of ten points per step.

Every contestant gets the same points and the same initial weights, and shuffles the points before
each pass; "in order" contestants do not shuffle. A call trains as many steps as ``data`` has
rows, in one pass, or in passes of ten rows; the contents of the rows are not used.
"""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace

import numpy as np

from benchmarks.contestants import fann_net
from gpunn.datasets import toy

SIZES, RATE = (2, 2, 3, 2), 0.05


def prepare(data, how, shuffle=True, rows=None, **options):
    os.environ |= {"NPROC": str(data.get("threads", 1)), "JAX_PLATFORMS": "cpu"}  # JAX's
    points, classes = toy.ten_points()
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(points), rows or len(data["x"]))
    x, y = (a.astype(np.float32) for a in (points[drawn], np.eye(2)[classes[drawn]]))
    weights = []
    for n_in, n_out in itertools.pairwise(SIZES):
        weights += [generator.normal(0, 0.5, shape) for shape in ((n_in, n_out), (n_out,))]
    weights = [w.astype(np.float32) for w in weights]
    train, current = how(x, y, weights, shuffle, **options)
    passes = len(data["x"]) // len(x)
    return SimpleNamespace(
        epoch=lambda: train(passes), accuracy=lambda: float("nan"), weights=current
    )


def repeated(epoch):
    """Return a function that trains a number of passes."""

    def train(passes):
        for _ in range(passes):
            epoch()

    return train


def by_fit(x, y, weights, shuffle, backend):
    import gpunn

    layers = [gpunn.layers.Dense(units, activation="sigmoid") for units in SIZES[1:]]
    model = gpunn.Sequential([gpunn.layers.Input((2,)), *layers], backend=backend)
    model.compile(gpunn.optimizers.SGD(RATE), "half_squared_error")
    model.set_weights(weights)

    def train(passes):
        model.fit(x, y, batch_size=1, epochs=passes, shuffle=shuffle, verbose=0)

    return train, model.get_weights


def by_hand(x, y, weights, shuffle):
    order_of = orders(len(x), shuffle)
    params = [w.copy() for w in weights]

    def step(x, y):
        outputs = [x]
        for kernel, bias in zip(params[::2], params[1::2], strict=True):
            outputs.append(1 / (1 + np.exp(-(outputs[-1] @ kernel + bias))))
        delta = outputs[-1] - y
        for i in reversed(range(0, len(params), 2)):
            h, out = outputs[i // 2 : i // 2 + 2]
            delta = delta * out * (1 - out)
            back = params[i] @ delta
            params[i] -= RATE * np.outer(h, delta)
            params[i + 1] -= RATE * delta
            delta = back

    def epoch():
        for row in order_of():
            step(x[row], y[row])

    return repeated(epoch), lambda: params


def by_pytorch(x, y, weights, shuffle):
    import torch
    from torch import nn

    layers = [(nn.Linear(*pair), nn.Sigmoid()) for pair in itertools.pairwise(SIZES)]
    model = nn.Sequential(*itertools.chain(*layers))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value.T.copy()))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    rows, targets = torch.from_numpy(x), torch.from_numpy(y)

    def epoch():
        for row in torch.randperm(len(rows)) if shuffle else range(len(rows)):
            optimizer.zero_grad()
            ((model(rows[row]) - targets[row]) ** 2).sum().div(2).backward()
            optimizer.step()

    return repeated(epoch), lambda: [p.detach().numpy().T for p in model.parameters()]


def by_scan(x, y, weights, shuffle):
    import jax
    from jax import lax, nn, random

    params = [jax.numpy.array(w) for w in weights]
    x, y, key = jax.numpy.asarray(x), jax.numpy.asarray(y), random.key(0)

    def loss_of(params, x, y):
        for kernel, bias in zip(params[::2], params[1::2], strict=True):
            # Not x @ kernel: this way XLA compiles a single loop, in two thirds of the time.
            x = nn.sigmoid((x[:, None] * kernel).sum(0) + bias)
        return ((x - y) ** 2).sum() / 2

    def step(params, point):
        loss, gradients = jax.value_and_grad(loss_of)(params, *point)
        return [w - RATE * g for w, g in zip(params, gradients, strict=True)], loss

    def whole(params, key, x, y):
        key, own = random.split(key)
        order = random.permutation(own, len(x)) if shuffle else slice(None)
        params, losses = lax.scan(step, params, (x[order], y[order]))
        return params, key, losses.mean()

    compiled = jax.jit(whole, donate_argnums=0)

    def epoch():
        nonlocal params, key
        params, key, loss = compiled(params, key, x, y)
        return float(loss)

    return repeated(epoch), lambda: [np.asarray(w) for w in params]


def by_fann(x, y, weights, shuffle):
    epoch, current = fann_net.network(x, y, weights, RATE, shuffle)
    return repeated(epoch), current


def orders(rows, shuffle):
    """Return a function that returns the order of the next pass."""
    generator = np.random.default_rng(0)
    return lambda: generator.permutation(rows) if shuffle else range(rows)


IN_ORDER, TEN_ROWS = ", in order", ", ten rows a pass"
VARIANTS = {
    "gpunn": {"how": by_fit, "backend": "compiled"},
    "gpunn (NumPy)": {"how": by_fit, "backend": "numpy"},
    "NumPy as in tutorials": {"how": by_hand},
    "PyTorch": {"how": by_pytorch},
    "JAX, scan over the epoch": {"how": by_scan},
    "FANN": {"how": by_fann},
}
for name in ("gpunn", "JAX, scan over the epoch", "FANN"):
    VARIANTS[name + IN_ORDER] = VARIANTS[name] | {"shuffle": False}
    VARIANTS[name + TEN_ROWS] = VARIANTS[name] | {"rows": 10}
