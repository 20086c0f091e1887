"""No free lunch: one data set where the linear model wins, one where the network does.

Both data sets have 10 features, 1,000 samples to learn from and 2,000 to judge by, and noise.
In the first the target is a sum of the features; in the second it grows with the distance
from the centre in two of them. A linear model and a network with two hidden layers, the same
for both, learn from the same samples. The network's additional flexibility makes it overfit
the first; the linear model cannot learn the second at all.

Run:       python examples/lessons/no_free_lunch.py [--seeds 10]
Takes:     about fifteen seconds.
Prints:    for each data set the mean squared error of both on new samples: the mean over ten
           draws of the data, and in how many of them each is better.
Saves:     no_free_lunch.png, if matplotlib is installed: the error of both on each draw.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, plots

FEATURES, ROWS, NEW, NOISE = 10, 1_000, 2_000, 1.0


def a_sum(x):
    """Sum all features with alternating signs."""
    return x @ np.tile([1.0, -1.0], FEATURES // 2)


def a_bowl(x):
    """Return the squared distance from the centre in the first two features."""
    return x[:, 0] ** 2 + x[:, 1] ** 2


def draw(target, rows, rng):
    x = rng.normal(size=(rows, FEATURES))
    return x, target(x)[:, None] + rng.normal(0, NOISE, (rows, 1))


def linear_model():
    return [layers.Dense(1)]


def network():
    return [layers.Dense(64, "tanh"), layers.Dense(64, "tanh"), layers.Dense(1)]


def judge(make_layers, train, test, seed):
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential([layers.Input((FEATURES,)), *make_layers()])
    model.compile(gpunn.optimizers.Adam(0.005), "mse")
    stop = gpunn.callbacks.EarlyStopping("val_loss", patience=20, restore_best_weights=True)
    model.fit(*train, batch_size=20, epochs=400, validation_split=0.2, verbose=0, callbacks=[stop])
    return model.evaluate(*test, verbose=0)


def picture(errors):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, (name, found) in zip(figure.subplots(1, 2), errors.items(), strict=True):
        plots.curves(found, "draw of the data", "mean squared error", name.capitalize(), ax=ax)
        ax.axhline(NOISE**2, color="0.6", linewidth=0.8)
        ax.text(1, NOISE**2, "the noise", fontsize=8, va="top", color="0.3")
        ax.set_ylim(0)
    figure.savefig("no_free_lunch.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="A linear model and a network on two data sets.")
    parser.add_argument("--seeds", type=int, default=10, help="draws of each data set")
    options = parser.parse_args()
    errors = {}
    print(f"{'target':24}{'variance':>10}{'linear':>9}{'network':>9}   better")
    for name, target in (("a sum of the features", a_sum), ("a bowl in two of them", a_bowl)):
        found, variances = [], []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            train, test = draw(target, ROWS, rng), draw(target, NEW, rng)
            variances.append(np.var(test[1]))
            found.append([judge(make, train, test, seed) for make in (linear_model, network)])
        linear, net = np.transpose(found)
        wins = int(np.sum(linear < net))
        print(
            f"{name:24}{np.mean(variances):10.2f}{linear.mean():9.2f}{net.mean():9.2f}"
            f"   linear {wins}, network {options.seeds - wins}"
        )
        errors[name] = {"linear": linear, "network": net}
    try:
        picture(errors)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
