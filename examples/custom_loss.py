"""A custom loss and metric: predict percentiles, not only the mean.

Waiting times scatter, and more in the afternoon. Three networks with the same layers learn
the 10th, 50th and 90th percentile of the time at each hour, with the pinball loss (Koenker
and Bassett, 1978), which costs q per minute too short and 1 - q per minute too long:

    L_q(t, y) = max(q (t - y), (q - 1) (t - y))

The metric is the fraction of times below the prediction, which should be q.
Both are written with gpunn.ops; no derivative is written by hand.

Run:       python examples/custom_loss.py [--epochs 60]
Takes:     about five seconds.
Prints:    for each percentile, the fraction of new times below it.
Saves:     custom_loss.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops


def pinball(q):
    def loss(y_true, y_pred):
        short = y_true - y_pred
        return ops.mean(ops.maximum(q * short, (q - 1) * short), axis=-1)

    return loss


class ShareBelow(gpunn.metrics.Metric):
    """The fraction of targets that are not above their predictions."""

    def __init__(self, name="share_below", **kwargs):
        super().__init__(name=name, **kwargs)
        self.below = self.add_weight(name="below")
        self.rows = self.add_weight(name="rows")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.below.assign_add(ops.sum(ops.cast(y_true <= y_pred, "float32")))
        self.rows.assign_add(ops.size(y_true))

    def result(self):
        return self.below / self.rows


def waiting_times(rows, generator):
    """Return hours of the day (rows, 1), from 0 to 1, and minutes (rows, 1)."""
    hour = generator.uniform(0, 1, (rows, 1))
    middle = 5 + 4 * np.sin(2 * np.pi * hour)
    return hour, middle + (0.5 + 2 * hour) * generator.gumbel(size=(rows, 1))


def make_model(q):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((1,)), layers.Dense(32, "tanh"), layers.Dense(32, "tanh"), layers.Dense(1)]
    )
    model.compile(gpunn.optimizers.Adam(0.01), pinball(q), metrics=[ShareBelow()])
    return model


def main():
    parser = argparse.ArgumentParser(description="Percentiles, by a custom loss.")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()

    generator = np.random.default_rng(0)
    x, y = waiting_times(4000, generator)
    new = waiting_times(4000, generator)
    hours = np.linspace(0, 1, 200)[:, None]
    curves = {}
    for q in (0.1, 0.5, 0.9):
        model = make_model(q)
        model.fit(x, y, epochs=options.epochs, batch_size=64, verbose=0)
        loss, share = model.evaluate(*new, verbose=0)
        print(f"percentile {100 * q:2.0f}: loss {loss:.3f}, {share:.1%} of new times below it")
        curves[q] = model.predict(hours, verbose=0)

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.scatter(x[:1000], y[:1000], s=4, alpha=0.3, label="times")
    for q, curve in curves.items():
        axes.plot(hours, curve, label=f"{100 * q:.0f}% are below")
    axes.set(xlabel="time of day, 0 to 1", ylabel="minutes", ylim=(-5, 25))
    axes.legend()
    figure.savefig("custom_loss.png", dpi=150)


if __name__ == "__main__":
    main()
