"""A reference: only the matrix products of training and of prediction, by NumPy's BLAS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

REQUIRES = ()
VARIANTS = {"only the matrix products": {"device": "cpu"}}
NOTE = (
    "Not a contestant: it trains nothing and has no accuracy. Three products a layer and step "
    "(two for the first) into given arrays, on a float32 batch that is already there."
)


def prepare(data, device="cpu"):
    work = data["workload"]
    sizes, batch, rows = work["sizes"], work["batch"], len(data["x"])
    kernels = [w.copy() for w in data["weights"][::2]]
    gradients = [np.empty_like(w) for w in kernels]

    def arrays(n):
        return [np.zeros((n, size), np.float32) for size in sizes]

    def step(h, delta):
        last = len(kernels)
        for i in range(last):
            np.dot(h[i], kernels[i], h[i + 1])
        for i in reversed(range(last)):
            np.dot(h[i].T, delta[i + 1], gradients[i])
            if i:
                np.dot(delta[i + 1], kernels[i].T, delta[i])

    def filled(n):
        h = arrays(n)
        h[0][:] = data["x"][:n].reshape(n, -1) / np.float32(255)
        return h, arrays(n)

    full = filled(batch) if rows >= batch else None
    ragged = filled(rows % batch) if rows % batch else None
    buffers = {}

    def epoch():
        for _ in range(rows // batch):
            step(*full)
        if ragged:
            step(*ragged)

    def predict(images):
        h = buffers.get(len(images))
        if h is None:
            h = buffers[len(images)] = arrays(len(images))[1:]
        x = images
        for kernel, out in zip(kernels, h, strict=True):
            x = np.dot(x, kernel, out)
        return x

    return SimpleNamespace(
        epoch=epoch,
        accuracy=lambda: float("nan"),
        predict=predict,
        weights=lambda: [w.copy() for w in data["weights"]],
    )


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
