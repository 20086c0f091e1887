"""W6, the classic first network: 2-2-3-2 sigmoid units, one of ten points a step.

Every contestant is given the same points in the same order and the same initial weights. A
pass is one call over as many steps as ``data`` has rows; what the rows hold is no matter.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np

from gpunn.datasets import toy

SIZES, RATE = (2, 2, 3, 2), 0.05


def prepare(data, how, **options):
    points, classes = toy.ten_points()
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(points), len(data["x"]))
    x, y = (a.astype(np.float32) for a in (points[drawn], np.eye(2)[classes[drawn]]))
    weights = []
    for n_in, n_out in itertools.pairwise(SIZES):
        weights += [generator.normal(0, 0.5, shape) for shape in ((n_in, n_out), (n_out,))]
    weights = [w.astype(np.float32) for w in weights]
    epoch, current = how(x, y, weights, **options)
    return SimpleNamespace(epoch=epoch, accuracy=lambda: float("nan"), weights=current)


def by_fit(x, y, weights, backend):
    import gpunn

    layers = [gpunn.layers.Dense(units, activation="sigmoid") for units in SIZES[1:]]
    model = gpunn.Sequential([gpunn.layers.Input((2,)), *layers], backend=backend)
    model.compile(gpunn.optimizers.SGD(RATE), "half_squared_error")
    model.set_weights(weights)

    def epoch():
        model.fit(x, y, batch_size=1, shuffle=False, verbose=0)

    return epoch, model.get_weights


def by_hand(x, y, weights):
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
        for row, target in zip(x, y, strict=True):
            step(row, target)

    return epoch, lambda: params


def by_pytorch(x, y, weights):
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
        for row, target in zip(rows, targets, strict=True):
            optimizer.zero_grad()
            ((model(row) - target) ** 2).sum().div(2).backward()
            optimizer.step()

    return epoch, lambda: [p.detach().numpy().T for p in model.parameters()]


VARIANTS = {
    "gpunn": {"how": by_fit, "backend": "compiled"},
    "gpunn (NumPy)": {"how": by_fit, "backend": "numpy"},
    "NumPy as in tutorials": {"how": by_hand},
    "PyTorch": {"how": by_pytorch},
}
