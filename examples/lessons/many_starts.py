"""Different starts end in different minima: the ten-point network from 20 seeds.

The 2-2-3-2 network and the cost of ten_points.py, trained by gradient descent with all points
in each step. Each start gets the same number of steps; only the seed differs. Most starts
find a minimum with a cost near 0. Some end in a local minimum with one or two wrong points, or
are still on a plateau. With the eleventh point this is more frequent.

Run:       python examples/lessons/many_starts.py [--starts 20] [--steps 20000] [--rate 2]
Takes:     about 20 seconds on one CPU core.
Prints:    the final costs of both problems, sorted, with the number of points that are wrong.
Saves:     many_starts.png, if matplotlib is installed: the sorted costs.
"""

import argparse

import numpy as np
from ten_points import make_network

import gpunn
from gpunn import plots
from gpunn.datasets import toy

STEPS_AT_ONCE = 1000  # an epoch over this many copies of the points has this many steps


def learn(x, classes, seed, steps, rate):
    """Return the final cost and the number of wrong points."""
    y = gpunn.utils.to_categorical(classes)
    model = make_network(seed, rate)
    copies = np.tile(x, (STEPS_AT_ONCE, 1)), np.tile(y, (STEPS_AT_ONCE, 1))
    model.fit(
        *copies, batch_size=len(x), epochs=-(-steps // STEPS_AT_ONCE), shuffle=False, verbose=0
    )
    wrong = int(sum(model.predict(x).argmax(1) != classes))
    return model.evaluate(x, y, verbose=0), wrong


def main():
    parser = argparse.ArgumentParser(description="Learn ten points from many starts.")
    parser.add_argument("--starts", type=int, default=20, help="how many")
    parser.add_argument("--steps", type=int, default=20_000, help="from each")
    parser.add_argument("--rate", type=float, default=2.0, help="the learning rate")
    options = parser.parse_args()

    sorted_costs = {}
    for x, classes in (toy.ten_points(), toy.eleven_points()):
        results = sorted(
            (*learn(x, classes, seed, options.steps, options.rate), seed)
            for seed in range(options.starts)
        )
        print(f"{len(x)} points, {options.steps:,} steps from each start")
        print(f"{'seed':>6}{'cost':>10}{'wrong':>7}")
        for cost, wrong, seed in results:
            print(f"{seed:6}{cost:10.5f}{wrong:7}")
        costs = [cost for cost, _, _ in results]
        print(
            f"from {costs[0]:.5f} to {costs[-1]:.5f}; {sum(c < 1e-3 for c in costs)} below 0.001\n"
        )
        sorted_costs[f"{len(x)} points"] = costs
    try:
        title = f"Costs after {options.steps:,} steps from {options.starts} starts"
        figure = plots.curves(sorted_costs, "start, in the order of cost", "cost", title, logy=True)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("many_starts.png", dpi=150)


if __name__ == "__main__":
    main()
