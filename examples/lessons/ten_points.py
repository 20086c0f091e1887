"""Ten points in the unit square, two classes, and a network of 23 parameters to separate them.

2-2-3-2 sigmoid units, cost 1/N sum 1/2 ||y - F(x)||^2, plain stochastic
gradient descent: one point per step, rate 0.05. This takes patience: the cost stays on a
plateau for about 100,000 steps. Then the same with an eleventh point among the others,
which is harder.

The seed determines the initial weights and biases, normal with deviation 0.5. Seed 0
was the first one tried, and solves both problems. Not every start is so good:
of 100 drawn in the same way (by another program), 3 had not converged after 2 million steps
with ten points, 23 with eleven.

Run:       python examples/lessons/ten_points.py [--seed 0] [--rate 0.05]
Takes:     about half a minute on one CPU core.
Prints:    the table of layers; for each problem the cost every 5,000 epochs, the number of
           steps until the cost is below 0.001 and all points are right, and the
           network's output for each point.
Saves:     10_points.png and 11_points.png, if matplotlib is installed: the network's output
           over the square.
"""

import argparse

import gpunn
from gpunn import layers, plots
from gpunn.datasets import toy

LIMIT = 2_000_000  # steps
LOOK_EVERY = 1_000  # epochs


class UntilSolved(gpunn.callbacks.Callback):
    """Stop when the cost is below 0.001 and every point is on its side."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % LOOK_EVERY:
            return
        self.steps = (epoch + 1) * len(self.x)
        self.cost = self.model.evaluate(self.x, self.y, verbose=0)
        right = sum(self.model.predict(self.x).argmax(1) == self.y.argmax(1))
        self.solved = bool(self.cost < 1e-3 and right == len(self.x))
        self.model.stop_training = self.solved
        if self.solved or (epoch + 1) % (5 * LOOK_EVERY) == 0:
            print(f"step {self.steps:9,}: cost {self.cost:.6f}, {right} right")


def make_network(seed, rate=0.05):
    gpunn.utils.set_random_seed(seed)
    start = gpunn.initializers.RandomNormal(stddev=0.5)
    model = gpunn.Sequential([layers.Input((2,))])
    for units in (2, 3, 2):
        model.add(layers.Dense(units, "sigmoid", kernel_initializer=start, bias_initializer=start))
    model.compile(gpunn.optimizers.SGD(rate), "half_squared_error")
    return model


def solve(x, classes, seed, rate=0.05):
    """Train from the start given by ``seed``; return the network, and the callback."""
    y = gpunn.utils.to_categorical(classes)
    model = make_network(seed, rate)
    watch = UntilSolved(x, y)
    model.fit(x, y, batch_size=1, epochs=LIMIT // len(x), verbose=0, callbacks=[watch])
    return model, watch


def main():
    parser = argparse.ArgumentParser(description="Separate ten points, then eleven.")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights")
    parser.add_argument("--rate", type=float, default=0.05, help="the learning rate")
    options = parser.parse_args()

    make_network(options.seed).summary()
    for x, classes in (toy.ten_points(), toy.eleven_points()):
        print(f"\n{len(x)} points")
        model, watch = solve(x, classes, options.seed, options.rate)
        outcome = "solved" if watch.solved else "not solved"
        print(f"{outcome} after {watch.steps:,} steps, cost {watch.cost:.6f}")
        for point, wanted, (a, b) in zip(x, classes, model.predict(x), strict=True):
            print(f"  ({point[0]}, {point[1]})  class {'AB'[wanted]}: A {a:.3f}  B {b:.3f}")
        try:
            figure = plots.decision_boundary(model, x, classes, classes=["A", "B"])
        except ImportError:
            print('no picture: pip install "gpunn[plot]"')
        else:
            figure.savefig(f"{len(x)}_points.png", dpi=150)


if __name__ == "__main__":
    main()
