"""Gradient descent as paths: learning rates, batch sizes, momentum, and six optimizers.

Each picture shows the contours of a surface over two weights, with the paths of training
from one start.

Run:       python examples/lessons/descent.py
Takes:     about ten seconds. Needs matplotlib: pip install "gpunn[plot]"
Prints:    the end of each path, and the number of steps until it was near the minimum.
Saves:     learning_rate.png, batch_size.png, momentum.png, optimizers.png
"""

import numpy as np

try:
    from matplotlib.figure import Figure
except ImportError:
    raise SystemExit('This example needs matplotlib: pip install "gpunn[plot]"') from None

import gpunn
from gpunn import layers, optimizers, plots

NEAR = 1e-3  # the largest height above the minimum that counts as reaching it


def descend(optimizer, slope, start, steps):
    """Return the points (steps + 1, 2) that an optimizer visits on a surface with this slope."""
    point = np.array(start, np.float64)
    path = [point.copy()]
    for _ in range(steps):
        optimizer.apply([slope(*point)], [point])
        path.append(point.copy())
    return np.array(path)


def report(name, path, surface, lowest):
    heights = np.array([surface(*point) for point in path])
    near = np.flatnonzero(heights <= lowest + NEAR)
    arrival = f"there after {near[0]} steps" if near.size else "not there"
    x, y = path[-1]
    print(f"  {name:13} {len(path) - 1:4} steps, ends at ({x:8.3f}, {y:8.3f}): {arrival}")


def bowl(x, y):
    return (x**2 + 10 * y**2) / 2


def bowl_slope(x, y):
    return np.array([x, 10 * y])


def learning_rates():
    """On a bowl ten times as steep in one direction, a rate above 2 / 10 diverges."""
    print("Learning rate: too small, right, too large")
    paths = {}
    for rate, steps in ((0.01, 40), (0.15, 40), (0.205, 14)):
        name = f"rate {rate}"
        paths[name] = descend(optimizers.SGD(rate), bowl_slope, (-4.0, 1.0), steps)
        report(name, paths[name], bowl, 0.0)
    figure = plots.error_surface(
        bowl, path=paths, names=("w1", "w2"), title="Learning rate", span=((-5, 2), (-2.2, 2.2))
    )
    figure.savefig("learning_rate.png", dpi=150)


def batch_sizes():
    """Fit a line to 64 noisy points, with all of them, 8 and one per step."""
    print("Batch, mini-batch and one sample a step: a line y = 2 x - 1")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (64, 1))
    y = 2 * x - 1 + rng.normal(0, 0.4, (64, 1))
    weights = [("line/kernel", (0, 0)), ("line/bias", 0)]
    paths = {}
    for name, size, epochs in (("all 64", 64, 40), ("8 a step", 8, 12), ("one a step", 1, 3)):
        gpunn.utils.set_random_seed(1)
        model = gpunn.Sequential(
            [layers.Input((1,)), layers.Dense(1, name="line")], dtype="float64"
        )
        model.compile(optimizers.SGD(0.2), "mse")
        model.set_weights([[[-1.0]], [1.0]])
        recorder = plots.PathRecorder(weights, every="batch")
        model.fit(x, y, batch_size=size, epochs=epochs, verbose=0, callbacks=[recorder])
        paths[name] = recorder.path
        print(
            f"  {name:13} {len(recorder.path) - 1:4} steps, {epochs * 64:5} samples seen, "
            f"loss {model.evaluate(x, y, verbose=0):.4f}"
        )
    figure = plots.error_surface(
        model, x, y, weights, paths, names=("slope", "intercept"), title="Batch size"
    )
    figure.savefig("batch_size.png", dpi=150)


# Surfaces with an obstacle, and their slopes: a plateau, a saddle, a local minimum.


def plateau(x, y):
    return 1 - np.exp(-(x**2) / 2) + y**2 / 2


def plateau_slope(x, y):
    return np.array([x * np.exp(-(x**2) / 2), y])


def saddle(x, y):
    return x**2 / 2 - y**2 / 2 + y**4 / 4


def saddle_slope(x, y):
    return np.array([x, -y + y**3])


def two_valleys(x, y):
    return x**4 / 4 - x**2 / 2 + 0.15 * x + y**2 / 2


def two_valleys_slope(x, y):
    return np.array([x**3 - x + 0.15, y])


LANDSCAPES = (
    ("plateau", plateau, plateau_slope, (-3.2, 0.8), 0.0, ((-4, 2), (-1.5, 1.5))),
    ("saddle", saddle, saddle_slope, (-1.5, 1e-3), -0.25, ((-2, 1), (-1.6, 1.6))),
    ("local minimum", two_valleys, two_valleys_slope, (1.75, 0.8), -0.403, ((-2, 2), (-1.2, 1.2))),
)


def momenta():
    figure = Figure(figsize=(7, 11), layout="constrained")
    for ax, (name, surface, slope, start, lowest, span) in zip(
        figure.subplots(3, 1), LANDSCAPES, strict=True
    ):
        print(name.capitalize())
        paths = {}
        for momentum in (0.0, 0.9):
            key = f"momentum {momentum}"
            paths[key] = descend(optimizers.SGD(0.05, momentum), slope, start, 150)
            report(key, paths[key], surface, lowest)
        plots.error_surface(
            surface, path=paths, names=("w1", "w2"), title=name.capitalize(), span=span,
            resolution=121, ax=ax,
        )  # fmt: skip
    figure.savefig("momentum.png", dpi=150)


def valley(x, y):
    """A curved, narrow valley (Rosenbrock, 1960, with 10 instead of 100); minimum at (1, 1)."""
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2


def valley_slope(x, y):
    return np.array([-2 * (1 - x) - 40 * x * (y - x**2), 20 * (y - x**2)])


def six_optimizers():
    print("Six optimizers in a curved valley")
    six = {
        "SGD": optimizers.SGD(0.01),
        "momentum": optimizers.SGD(0.01, momentum=0.9),
        "Nesterov": optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        "Adagrad": optimizers.Adagrad(0.5),
        "RMSprop": optimizers.RMSprop(0.02),
        "Adam": optimizers.Adam(0.1),
    }
    figure = Figure(figsize=(11, 7), layout="constrained")
    for ax, (name, optimizer) in zip(figure.subplots(2, 3).flat, six.items(), strict=True):
        path = descend(optimizer, valley_slope, (-1.2, 1.5), 200)
        report(name, path, valley, 0.0)
        plots.error_surface(
            valley, path=path, names=("w1", "w2"), title=f"{name}, 200 steps",
            span=((-1.8, 1.8), (-0.8, 2.4)), resolution=151, colorbar=False, ax=ax,
        )  # fmt: skip
        ax.get_legend().remove()
    figure.savefig("optimizers.png", dpi=150)


if __name__ == "__main__":
    learning_rates()
    batch_sizes()
    momenta()
    six_optimizers()
