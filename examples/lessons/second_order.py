"""Levenberg-Marquardt and gradient descent, on ten and on eleven points, from 20 starts.

The network is that of ten_points.py: 2-2-3-2 sigmoid units, 23 parameters, cost
1/N sum 1/2 ||y - F(x)||^2, all weights and biases initially normal with deviation 0.5. Each
start is trained in three ways: by gradient descent on all points at once, and by nonlinear
least squares, which solves a linearised problem in each step, with Levenberg and Marquardt's
damping or in a trust region. The latter need far fewer steps, each more expensive. All of them
are local: from some starts they end with a point on the wrong side. A solution is acceptable if
each point is on its side and the cost is below 0.01.

Run:       python examples/lessons/second_order.py [--starts 20] [--steps 20000]
Takes:     about half a minute on one CPU core with the compiled kernels. It needs SciPy and
           matplotlib: pip install "gpunn[plot,scipy]".
Prints:    for both sets and each method the number of acceptable starts, costs, steps and time.
Saves:     second_order.png: the sorted costs, and the best solutions.
"""

import argparse
import time

import numpy as np

import gpunn
from gpunn import fit_least_squares, layers, plots
from gpunn.datasets import toy

RATE = 3.0  # of gradient descent on all points
GOOD = 0.01


def make_network(seed):
    gpunn.utils.set_random_seed(seed)
    start = gpunn.initializers.RandomNormal(stddev=0.5)
    model = gpunn.Sequential([layers.Input((2,))])
    for units in (2, 3, 2):
        model.add(layers.Dense(units, "sigmoid", kernel_initializer=start, bias_initializer=start))
    model.compile(gpunn.optimizers.SGD(RATE), "half_squared_error")
    return model


def descend(model, x, y, steps):
    """Take steps on all points at once, a hundred per epoch; return their number."""
    x100, y100 = np.tile(x, (100, 1)), np.tile(y, (100, 1))
    model.fit(x100, y100, batch_size=len(x), epochs=steps // 100, shuffle=False, verbose=0)
    return steps // 100 * 100


def damped(model, x, y, steps):
    """Run Levenberg-Marquardt; return the number of evaluations of the outputs."""
    return fit_least_squares(model, x, y, max_evaluations=500).evaluations


def in_trust_region(model, x, y, steps):
    return fit_least_squares(model, x, y, method="trf", max_evaluations=500).evaluations


WAYS = {
    "gradient descent": descend,
    "Levenberg-Marquardt": damped,
    "trust region": in_trust_region,
}


def from_all_starts(way, x, classes, starts, steps):
    """Return costs, acceptability, steps and seconds for each start; and the best model."""
    y = gpunn.utils.to_categorical(classes)
    rows, models = [], []
    for seed in range(starts):
        model = make_network(seed)
        begin = time.perf_counter()
        taken = way(model, x, y, steps)
        seconds = time.perf_counter() - begin
        cost = model.evaluate(x, y, verbose=0)
        right = (model.predict(x).argmax(axis=1) == classes).all()
        rows.append((cost, right and cost < GOOD, taken, seconds))
        models.append(model)
    table = np.array(rows).T
    return table, models[table[0].argmin()]


def picture(results):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.6), layout="constrained")
    panels = figure.subplots(2, 2)
    for column, (name, (points, found)) in enumerate(results.items()):
        costs = {way: np.sort(table[0]).clip(1e-12) for way, (table, _) in found.items()}
        above, below = panels[:, column]
        title = f"{name.capitalize()} points: costs reached (cut off at 1e-12)"
        plots.curves(costs, "start, in the order of cost", "cost", title, logy=True, ax=above)
        best = found["Levenberg-Marquardt"][1]
        title = "The best of Levenberg-Marquardt"
        plots.decision_boundary(best, *points, classes=["A", "B"], title=title, ax=below)
    figure.savefig("second_order.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description="Compare second-order with first-order training.")
    parser.add_argument("--starts", type=int, default=20, help="how many")
    parser.add_argument("--steps", type=int, default=20_000, help="of gradient descent")
    options = parser.parse_args()

    print("                            accept-     best   median    worst   steps seconds")
    print("points way                     able     cost     cost     cost  median a start")
    results = {}
    for name, points in (("ten", toy.ten_points()), ("eleven", toy.eleven_points())):
        found = {}
        for label, way in WAYS.items():
            found[label] = from_all_starts(way, *points, options.starts, options.steps)
            costs, good, steps, seconds = found[label][0]
            print(
                f"{name:6} {label:19} {int(good.sum()):3} of {options.starts:<2} "
                f"{costs.min():8.1e} {np.median(costs):8.1e} {costs.max():8.1e} "
                f"{np.median(steps):7,.0f} {seconds.mean():7.2f}"
            )
        results[name] = points, found
    try:
        picture(results)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        print("Saved second_order.png")


if __name__ == "__main__":
    main()
