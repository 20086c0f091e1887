"""A network that learns a new sine from ten points in one step: gradients through a gradient step.

Each task is a sine of its own amplitude and phase. Trained on many of them, a network gives their
average, from which no single one is quickly learned. Here the weights are trained so that one step
on ten points of a new sine fits it ("Model-agnostic meta-learning", Finn et al., 2017): the loss is
that after the step, and its gradient passes through the gradient of the step.

Run:       python examples/learning_to_learn.py [--epochs 60]
Takes:     five seconds.
Prints:    the mean squared error on new sines before and after steps, from both starts.
Saves:     learning_to_learn.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

POINTS, STEP, UNITS = 10, 0.02, 40  # of a task to learn from; rate of a step; in a hidden layer


def tasks(count, seed):
    """Sines (count, 2, POINTS, 2): points to learn from and to check by, each x and y."""
    random = np.random.default_rng(seed)
    amplitude, phase = (
        random.uniform(0.5, 5, (count, 1, 1)),
        random.uniform(0, np.pi, (count, 1, 1)),
    )
    x = random.uniform(-5, 5, (count, 2, POINTS))
    return np.stack([x, amplitude * np.sin(x + phase)], axis=-1).astype(np.float32)


class Learner(gpunn.Model):
    """The loss of each task after ``steps`` steps on its first points."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.net = gpunn.Sequential(
            [layers.Input((1,)), *[layers.Dense(UNITS, "relu") for _ in range(2)], layers.Dense(1)]
        )

    def loss_of(self, weights, points):
        y, _ = self.net.stateless_call(weights, [], points[:, :1])
        return ops.mean(ops.square(y - points[:, 1:]))

    def learned(self, points, steps):
        """Weights after some steps on points (n, 2)."""
        weights = self.net.trainable_variables
        for _ in range(steps):
            slopes = gpunn.grad(self.loss_of)(weights, points)
            weights = [w - STEP * g for w, g in zip(weights, slopes, strict=True)]
        return weights

    def call(self, tasks):
        parts = [
            self.loss_of(self.learned(task[0], self.steps), task[1])
            for task in (tasks[k] for k in range(tasks.shape[0]))
        ]
        self.add_loss(ops.mean(ops.stack(parts)))
        return tasks[:, 0, 0, 0]  # the loss is all that matters


def errors(model, new, steps):
    """The mean squared error on the second points of new tasks after steps on the first ones."""
    return float(np.mean([model.loss_of(model.learned(t[0], steps), t[1]) for t in new]))


def main():
    parser = argparse.ArgumentParser(description="Learn to learn sines.")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()

    given, new = tasks(1000, seed=0), tasks(50, seed=1)
    models = {}
    print("error on new sines, after steps    0        1        5")
    for name, steps in (("the average of all sines", 0), ("one step ahead", 1)):
        gpunn.utils.set_random_seed(0)
        model = models[name] = Learner(steps)
        rate = gpunn.optimizers.schedules.CosineDecay(3e-3, 100 * options.epochs)
        model.compile(gpunn.optimizers.Adam(rate))
        model.fit(given, batch_size=10, epochs=options.epochs, verbose=0)
        found = "".join(f"{errors(model, new, k):9.2f}" for k in (0, 1, 5))
        print(f"{name:27}{found}")

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    grid, task = np.linspace(-5, 5, 200, dtype=np.float32)[:, None], new[2]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for axis, (name, model) in zip(axes, models.items(), strict=True):
        for steps in (0, 1, 5):
            y, _ = model.net.stateless_call(model.learned(task[0], steps), [], grid)
            label = f"after {steps} step{'s' * (steps != 1)}"
            axis.plot(grid, np.asarray(y), lw=1 + (steps > 0), label=label)
        axis.plot(*task[0].T, "k.", ms=8, label="points")
        axis.set(title=f"trained for {name}", xlabel="x")
    axes[0].set_ylabel("y")
    axes[1].legend(fontsize=8)
    figure.savefig("learning_to_learn.png", dpi=150)
    print("saved learning_to_learn.png")


if __name__ == "__main__":
    main()
