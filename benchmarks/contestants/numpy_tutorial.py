"""Plain NumPy as tutorials write it: whole batches at once, new arrays for every result."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

REQUIRES = ()
VARIANTS = {"NumPy as in tutorials": {"device": "cpu"}}
NOTE = "float32 throughout, unlike many tutorials, whose float64 takes about twice as long."


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def prepare(data, device="cpu"):
    work = data["workload"]
    batch, rate = work["batch"], work["dropout"]
    x = data["x"].reshape(-1, 784).astype(np.float32) / 255
    y = np.eye(work["sizes"][-1], dtype=np.float32)[data["y"]]
    x_test = data["x_test"].reshape(-1, 784).astype(np.float32) / 255
    generator = np.random.default_rng(data.get("seed", 0))
    params = [w.copy() for w in data["weights"]]
    m = [np.zeros_like(w) for w in params]
    v = [np.zeros_like(w) for w in params]
    t = 0

    def forward(x, training=False):
        """Return the input of each layer, and the probabilities."""
        inputs, mask = [], None
        last = len(params) - 2
        for i in range(0, last, 2):
            inputs.append(x)
            x = np.maximum(x @ params[i] + params[i + 1], 0)
        if training and rate:
            mask = (generator.random(x.shape, dtype=np.float32) >= rate) / np.float32(1 - rate)
            x = x * mask
        inputs.append(x)
        return inputs, mask, softmax(x @ params[last] + params[last + 1])

    def backward(inputs, mask, p, y):
        """Return the gradient of each parameter."""
        g = [None] * len(params)
        delta = (p - y) / np.float32(len(y))
        for i in reversed(range(0, len(params), 2)):
            h = inputs[i // 2]
            g[i] = h.T @ delta
            g[i + 1] = delta.sum(axis=0)
            if i:
                delta = delta @ params[i].T
                if mask is not None and i == len(params) - 2:
                    delta = delta * mask
                delta = delta * (h > 0)
        return g

    def update(g):
        nonlocal t
        t += 1
        for i in range(len(params)):
            if work["optimizer"] == "adam":
                m[i] = 0.9 * m[i] + 0.1 * g[i]
                v[i] = 0.999 * v[i] + 0.001 * g[i] ** 2
                m_hat, v_hat = m[i] / (1 - 0.9**t), v[i] / (1 - 0.999**t)
                params[i] -= 0.001 * m_hat / (np.sqrt(v_hat) + 1e-8)
            elif work["optimizer"] == "momentum":
                m[i] = 0.9 * m[i] - 0.01 * g[i]
                params[i] += m[i]
            else:
                params[i] -= 0.01 * g[i]

    def epoch():
        order = generator.permutation(len(x))
        loss, right = 0.0, 0
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            images, target = x[rows], y[rows]
            inputs, mask, p = forward(images, training=True)
            loss -= np.sum(target * np.log(p + 1e-7))
            right += np.sum(p.argmax(axis=1) == target.argmax(axis=1))
            update(backward(inputs, mask, p, target))
        return loss / len(x), right / len(x)

    def predict(images):
        return forward(images)[2]

    def accuracy():
        return float((predict(x_test).argmax(axis=1) == data["y_test"]).mean())

    return SimpleNamespace(
        epoch=epoch,
        accuracy=accuracy,
        predict=predict,
        weights=lambda: [w.copy() for w in params],
    )


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
