"""The perceptron: what a single threshold unit can learn, and the smallest problem it cannot.

Rosenblatt's rule learns linearly separable points, in any order, with no
more mistakes than Novikoff's bound (R / gamma)^2, where gamma is the widest margin. The
delta rule minimizes the squared error of the linear output instead. Exclusive or is not linearly
separable, so the perceptron never stops making mistakes there, while a network with one hidden
layer of two units learns it.

Run:       python examples/lessons/perceptron.py
Takes:     about three seconds; the picture needs matplotlib, pip install "gpunn[plot]".
Prints:    mistakes in each epoch, the bound, the delta rule's error, and the predictions on XOR.
Saves:     perceptron.png, if matplotlib is installed.
"""

import warnings

import numpy as np

import gpunn
from gpunn import Perceptron, layers, plots
from gpunn.apps.perceptron import ConvergenceWarning, mistake_bound
from gpunn.datasets import toy


def widest_margin(x, y, steps=100_000):
    """Approximate the line farthest from all points: each step adds the point nearest to it."""
    points = np.column_stack([x, np.ones(len(x))]) * np.where(y == 1, 1, -1)[:, np.newaxis]
    weights = np.zeros(points.shape[1])
    for _ in range(steps):
        weights += points[(points @ weights).argmin()]
    return weights


def hidden_layer(seed=1):
    """Return the 2-2-1 network that learns XOR."""
    gpunn.utils.set_random_seed(seed)
    start = gpunn.initializers.RandomNormal(stddev=1)
    model = gpunn.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(2, "sigmoid", kernel_initializer=start),
            layers.Dense(1, "sigmoid", kernel_initializer=start),
        ]
    )
    model.compile(gpunn.optimizers.SGD(2.0), "binary_crossentropy")
    model.fit(*toy.xor(), batch_size=4, epochs=3000, verbose=0)
    return model


def picture(separable, unit, xor, failed, model):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 8), layout="constrained")
    (a, b), (c, d) = figure.subplots(2, 2)
    plots.decision_boundary(unit, *separable, ax=a, title="A line parts these: learned")
    # The perceptron on XOR has thousands of epochs; the first forty say it all.
    plots.curves(
        {"separable": unit.errors_, "XOR": failed.errors_[:40]},
        ylabel="points on the wrong side",
        title="Mistakes in each epoch",
        ax=b,
    )
    plots.decision_boundary(failed, *xor, ax=c, title="XOR, perceptron: no line will do")
    plots.decision_boundary(model, *xor, ax=d, title="XOR, two hidden units: learned")
    figure.savefig("perceptron.png", dpi=120)


def main():
    separable = toy.separable(100, margin=0.05)
    unit = Perceptron().fit(*separable)
    bound = mistake_bound(*separable, widest_margin(*separable))
    print(f"Separable: mistakes in each epoch {unit.errors_}")
    print(f"           {sum(unit.errors_)} in all; Novikoff's bound is {bound:,.0f}")
    delta = Perceptron("delta", learning_rate=0.01).fit(*separable)
    print(
        f"Delta rule: squared error {delta.losses_[0]:.3f} at first, {delta.losses_[-1]:.3f} after "
        f"{delta.n_iter_} epochs;"
    )
    print(f"           {delta.score(*separable):.0%} of the points are on their side")

    xor = toy.xor()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is the point of the example
        failed = Perceptron(epochs=2001).fit(*xor)
    print(f"XOR:       at least {min(failed.errors_)} mistake in each of {failed.n_iter_} epochs")
    model = hidden_layer()
    print("           perceptron      ", failed.predict(xor[0]).tolist())
    print("           two hidden units", (model.predict(xor[0])[:, 0] > 0.5).astype(int).tolist())
    print("           wanted          ", xor[1].tolist())
    try:
        picture(separable, unit, xor, failed, model)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        print("Saved perceptron.png")


if __name__ == "__main__":
    main()
