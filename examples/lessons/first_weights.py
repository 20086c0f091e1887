"""Initial weights: the draws of each initializer, and a signal after twenty layers.

A layer of 300 inputs and 100 units. With weights of a fixed standard deviation, signals vanish or
explode, depending on the number of inputs; with one value for all weights, all units are
identical, and stay so. The named rules set the variance to one over the number of inputs
(LeCun), one over the mean of inputs and units (Glorot), or two over the inputs (He), since
rectified units pass half of their inputs.

Run:       python examples/lessons/first_weights.py
Takes:     about two seconds.
Prints:    standard deviation of the weights and that of the rule, minimum, maximum, and how many
           units differ; then the deviation of the outputs after twenty layers of 100 units,
           for inputs of deviation 1, with tanh and with rectified units.
Saves:     first_weights.png, if matplotlib is installed: the weights drawn.
"""

import numpy as np

import gpunn
from gpunn import initializers as start
from gpunn import layers

INPUTS, UNITS, WIDTH, DEPTH = 300, 100, 100, 20
# By name: the initializer, and the standard deviation of its weights.
DRAWN = {
    "RandomNormal": (start.RandomNormal(seed=1), 0.05),
    "TruncatedNormal": (start.TruncatedNormal(seed=1), 0.05 * 0.8796),  # cut off at two
    "RandomUniform": (start.RandomUniform(seed=1), 0.05 / np.sqrt(3)),
    "VarianceScaling": (start.VarianceScaling(1.0, "fan_out", seed=1), UNITS**-0.5),
    "LecunNormal": (start.LecunNormal(seed=1), INPUTS**-0.5),
    "LecunUniform": (start.LecunUniform(seed=1), INPUTS**-0.5),
    "GlorotNormal": (start.GlorotNormal(seed=1), np.sqrt(2 / (INPUTS + UNITS))),
    "GlorotUniform": (start.GlorotUniform(seed=1), np.sqrt(2 / (INPUTS + UNITS))),
    "HeNormal": (start.HeNormal(seed=1), np.sqrt(2 / INPUTS)),
    "HeUniform": (start.HeUniform(seed=1), np.sqrt(2 / INPUTS)),
    "Orthogonal": (start.Orthogonal(seed=1), INPUTS**-0.5),
    "Identity": (start.Identity(), np.sqrt(1 / INPUTS - 1 / INPUTS**2)),
    "Zeros": (start.Zeros(), 0.0),
    "Ones": (start.Ones(), 0.0),
    "Constant": (start.Constant(0.1), 0.0),
}


def after_twenty(name, activation):
    """Return the standard deviation of the outputs of each of twenty layers."""
    gpunn.utils.set_random_seed(0)
    initializer = type(DRAWN[name][0])
    model = gpunn.Sequential([layers.Input((WIDTH,))], dtype="float64")
    for _ in range(DEPTH):
        first = initializer(0.1) if name == "Constant" else initializer()
        model.add(layers.Dense(WIDTH, activation, kernel_initializer=first))
    x = np.random.default_rng(0).normal(size=(200, WIDTH))
    return [float(np.std(values)) for values in model.activations(x).values()]


def picture(weights):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.4), layout="constrained")
    for ax, (name, drawn) in zip(figure.subplots(3, 4).flat, weights.items(), strict=False):
        ax.hist(drawn.ravel(), 60, range=(-0.25, 0.25), color="0.35")
        ax.set(title=name, yticks=[], xlim=(-0.25, 0.25))
    figure.supxlabel("weight")
    figure.supylabel("how many (each panel to its own scale)")
    figure.savefig("first_weights.png", dpi=130)


def main():
    weights = {name: make((INPUTS, UNITS)) for name, (make, _) in DRAWN.items()}
    print(f"{INPUTS} x {UNITS}{'deviation':>17}{'rule':>9}{'least':>9}{'largest':>9}", end="")
    print(f"{'differ':>8}{'tanh':>10}{'ReLU':>9}")
    for name, drawn in weights.items():
        far = [after_twenty(name, activation)[-1] for activation in ("tanh", "relu")]
        differ = len(np.unique(drawn, axis=1).T)
        print(f"{name:16}{drawn.std():10.4f}{DRAWN[name][1]:9.4f}", end="")
        print(f"{drawn.min():9.3f}{drawn.max():9.3f}{differ:8}{far[0]:10.0e}{far[1]:9.0e}")
    apart = np.abs(weights["Orthogonal"].T @ weights["Orthogonal"] - np.eye(UNITS)).max()
    print(f"Orthogonal: columns of length 1 and at right angles, to {apart:.0e}")
    try:
        picture(weights)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
