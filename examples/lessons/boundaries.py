"""Decision boundaries: the same network on six kinds of points, and slices of three inputs.

Two layers of 32 rectified units learn noisy exclusive or, linearly separable points, rings,
moons, spirals and a class that is split by the other. The title of each panel gives the accuracy
of the network, and that of a line (a network without hidden layers). Then three
inputs: points within a ball, whose boundary is drawn at three values of the third input.

Run:       python examples/lessons/boundaries.py [--epochs 150]
Takes:     about five seconds.
Prints:    for each the accuracy on the training points and on new ones,
           of a line and of the network.
Saves:     boundaries.png and slices.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, plots
from gpunn.datasets import toy

ROWS = 400
PROBLEMS = {
    "exclusive or": lambda seed: toy.xor(ROWS, noise=0.2, seed=seed),
    "separable": lambda seed: toy.separable(ROWS, margin=0.05, seed=0),
    "rings": lambda seed: toy.rings(ROWS, seed=seed),
    "moons": lambda seed: toy.moons(ROWS, noise=0.1, seed=seed),
    "spirals": lambda seed: toy.spirals(ROWS, seed=seed),
    "split": lambda seed: toy.split(ROWS, seed=seed),
}


def ball(seed):
    """Return points (rows, 3) in a cube; class 1 is within a ball of half its volume."""
    x = np.random.default_rng(seed).uniform(-1, 1, (ROWS, 3))
    return x, (np.linalg.norm(x, axis=1) < (3 / np.pi) ** (1 / 3)).astype(int)


def learn(x, y, hidden, epochs):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((x.shape[1],))])
    for units in hidden:
        model.add(layers.Dense(units, "relu"))
    model.add(layers.Dense(1, "sigmoid"))
    model.compile(gpunn.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, verbose=0)
    return model


def picture(models, shares):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    shown = {}
    for ax, (name, model) in zip(figure.subplots(2, 3).flat, models.items(), strict=True):
        line, _, network, _ = shares[name]
        title = f"{name.capitalize()}: {network:.1%} right, by a line {line:.1%}"
        plots.decision_boundary(model, *PROBLEMS[name](0), title=title, ax=ax)
        handles, labels = ax.get_legend_handles_labels()
        shown.update(zip(labels, handles, strict=True))
        ax.get_legend().remove()  # one for all
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig("boundaries.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="Draw the borders that networks learn.")
    parser.add_argument("--epochs", type=int, default=150, help="of each network")
    options = parser.parse_args()

    models, found = {}, {}
    print(f"{'share right':16}{'line':>10}{'new':>8}{'network':>10}{'new':>8}")
    for name, problem in {**PROBLEMS, "ball": ball}.items():
        shares = found[name] = []
        for hidden in ((), (32, 32)):
            models[name] = learn(*problem(0), hidden, options.epochs)
            shares += [models[name].evaluate(*problem(seed), verbose=0)[1] for seed in (0, 1)]
        print(
            f"{name:16}" + "".join(f"{s:{w}.3f}" for s, w in zip(shares, (10, 8) * 2, strict=True))
        )
    three = models.pop("ball")
    try:
        picture(models, found)
        slices = plots.decision_slices(three, *ball(0), at=[-0.8, 0, 0.8])
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        slices.savefig("slices.png", dpi=150)


if __name__ == "__main__":
    main()
