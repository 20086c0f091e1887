"""A sweep with several seeds, and what an ensemble knows that one network does not, on spirals.

Networks of several sizes and learning rates learn two spirals, each setting with eight seeds:
the table says which setting is good, and how far luck decides. Then eight networks of the best
setting learn a bootstrap sample each. Their mean is the answer, and their standard deviation says
where to doubt it: between the arms, and at their ends, each network goes on in its own way. All
networks of a step train in one call.

Run:       python examples/many_networks.py [--seeds 8] [--epochs 80]
Takes:     about ten seconds.
Prints:    the table of the settings; the accuracies of single networks and of their mean, also
           where the eight agree most and least.
Saves:     many_networks.png, if matplotlib is installed: the losses of all networks over the
           settings, the mean of the eight, and their standard deviation.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers
from gpunn.datasets import toy

OVER = {"units": [4, 8, 32], "rate": [0.003, 0.03, 0.3]}
SIDE = 60  # pixels of the pictures of the plane


def build(units, rate):
    model = gpunn.Sequential([
        gpunn.Input((2,)), layers.Dense(units, "tanh"), layers.Dense(units, "tanh"),
        layers.Dense(1, "sigmoid"),
    ])  # fmt: skip
    model.compile(gpunn.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


def train_ensemble(point, x, y, count, epochs):
    """Return networks of this setting, each trained on rows drawn with repetitions."""
    random = np.random.default_rng(0)
    models = []
    for seed in range(count):
        with gpunn.utils.seeded(seed):
            models.append(build(**point))
    samples = [random.integers(0, len(x), len(x)) for _ in models]
    gpunn.fit_many(models, x, y, rows=samples, epochs=epochs, verbose=0)
    return models


def accuracy(outputs, y):
    return np.mean((outputs > 0.5) == y.reshape(-1, 1))


def main():
    parser = argparse.ArgumentParser(description="A sweep and an ensemble on spirals.")
    parser.add_argument("--seeds", type=int, default=8, help="networks of each setting")
    parser.add_argument("--epochs", type=int, default=80, help="of each network")
    options = parser.parse_args()

    x, y = toy.spirals(300, noise=0.05)
    x_test, y_test = toy.spirals(1000, noise=0.05, seed=1)
    study = gpunn.search(
        build, x, y, over=OVER, seeds=options.seeds, epochs=options.epochs, verbose=0,
        validation_split=0.3, validation_strategy="shuffled",
    )  # fmt: skip
    print(study)

    models = train_ensemble(study.best.point, x, y, 8, options.epochs)
    each = np.stack([model.predict(x_test, verbose=0) for model in models])  # (8, rows, 1)
    alone = [accuracy(outputs, y_test) for outputs in each]
    print(f"one network   {min(alone):.3f} to {max(alone):.3f}")
    mean, spread = each.mean(axis=0), each.std(axis=0)[:, 0]
    print(f"mean of eight {accuracy(mean, y_test):.3f}")
    order = np.argsort(spread)
    for name, rows in (("agree most", order[:500]), ("agree least", order[500:])):
        print(f"  where they {name:12}{accuracy(mean[rows], y_test[rows]):.3f}")

    line = np.linspace(-1.5, 1.5, SIDE) * np.abs(x).max()
    plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    each = np.stack([model.predict(plane, verbose=0) for model in models])
    try:
        figure = draw(study, each, x, y, line)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("many_networks.png", dpi=100)


def draw(study, each, x, y, line):
    """Return the figure: a panel of losses, the mean in the plane, the standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    kinds = sorted({point["units"] for point in study.points})
    for units, marker in zip(kinds, "os^", strict=True):
        own = [r for r in study.results if r.trial.point["units"] == units]
        rates = [r.trial.point["rate"] * (0.85 + 0.15 * kinds.index(units)) for r in own]
        left.scatter(rates, [r.score for r in own], s=12, marker=marker, label=f"{units} units")
    left.set(xscale="log", xlabel="learning rate", ylabel="loss on held-out rows",
             title=f"{len(study.results)} networks")  # fmt: skip
    left.legend(fontsize=8)
    extent = (line[0], line[-1], line[0], line[-1])
    pictures = {"mean of eight": each.mean(axis=0), "their standard deviation": each.std(axis=0)}
    for ax, (title, values), colours in zip(
        (middle, right), pictures.items(), ("RdBu_r", "Greys"), strict=True
    ):
        shown = ax.imshow(values.reshape(SIDE, SIDE), origin="lower", extent=extent, cmap=colours)
        figure.colorbar(shown, ax=ax, shrink=0.8)
        ax.scatter(*x.T, c=np.ravel(y), s=4, cmap="RdBu_r", edgecolors="black", linewidths=0.2)
        ax.set_title(title)
    return figure


if __name__ == "__main__":
    main()
