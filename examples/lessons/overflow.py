"""Overflow, underflow and rounding: the naive formula compared with ours.

Floating-point numbers are limited: in float32 exp(89) is infinite, exp(-104) is 0, and adding
1 to 16,777,216 has no effect. Each line computes one value twice in float32, by the
textbook formula and by the library, with the true value from 50 decimal digits.

Run:       python examples/lessons/overflow.py
Takes:     about three seconds.
Prints:    for each of overflow, underflow and rounding: naive, ours, true; the effect on a
           network: with the naive loss its weights are NaN after one step.
Saves:     overflow.png, if matplotlib is installed: the error of log(1 + exp x), for each x.
"""

import decimal
import math
import warnings

import numpy as np

import gpunn
from gpunn import layers, plots

decimal.getcontext().prec = 50
D = decimal.Decimal
F = np.float32


def show(what, naive, ours, true):
    print(f"{what:34}{float(naive):14.7g}{float(ours):16.9g}{float(true):16.9g}")


def title(text):
    print(f"\n{text:34}{'naive':>14}{'ours':>16}{'true':>16}")


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def overflow():
    title("Overflow")
    z = np.array([100.0, 99.0], F)
    true = 1 / (1 + D(-1).exp())
    show("softmax of (100, 99), first", softmax(z)[0], gpunn.activations.softmax(z)[0], true)
    z = np.array([100.0], F)
    ours = gpunn.activations.softplus(z)[0]
    show("log(1 + exp(100))", np.log(1 + np.exp(z))[0], ours, (1 + D(100).exp()).ln())
    naive = (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    show("tanh(100) from its definition", naive[0], gpunn.activations.tanh(z)[0], 1)


def underflow():
    title("Underflow")
    z = np.array([[0.0, -110.0]], F)  # the right answer is the second
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    true = (1 + D(110).exp()).ln()
    show("log of a zero: -log softmax", -np.log(softmax(z[0])[1]), loss([1], z), true)
    chances = np.full(50, 0.1, F)
    logs = np.sum(np.log(chances), dtype=np.float64) / math.log(10)
    show("log10 of 0.1^50, a product", np.log10(np.prod(chances)), logs, -50)
    slope = F(1)
    for _ in range(80):  # layers of sigmoids at their steepest
        slope *= F(0.25)
    show(
        "log10 of 0.25^80, a gradient", np.log10(slope), 80 * np.log10(0.25), 80 * D("0.25").log10()
    )
    tiny = np.array([1e-8], F)
    show("log(1 + 1e-8)", np.log(1 + tiny)[0], np.log1p(tiny)[0], (1 + D(float(tiny[0]))).ln())


def rounding():
    title("Accumulated rounding")
    losses = np.full(2_000_000, 0.1, F)
    one_by_one = np.cumsum(losses, dtype=F)[-1]
    mean = gpunn.metrics.Mean()
    mean.update_state(losses)
    show("mean of two million 0.1", one_by_one / F(len(losses)), mean.result(), F(0.1))
    x = (np.random.default_rng(0).normal(size=(4096, 1)) + 3000).astype(F)
    one_pass = np.mean(x * x, dtype=F) - np.mean(x, dtype=F) ** 2
    layer = layers.BatchNormalization(epsilon=1e-12, momentum=0.0)
    layer(x, training=True)
    ours = layer.get_weights()[3]
    show("variance near 3000", one_pass, ours[0], np.var(x.astype(np.float64)))


class NaiveCrossentropy(gpunn.losses.Loss):
    """-log of softmax, and its derivative by the chain rule, as in textbooks."""

    def forward(self, backend, y_true, y_pred, values):
        p = self.probabilities(y_pred)
        values[:] = -(y_true * np.log(p)).sum(axis=1)

    def backward(self, backend, y_true, y_pred, gradient):
        p = self.probabilities(y_pred)
        by_p = -y_true / p
        gradient[:] = p * (by_p - (p * by_p).sum(axis=1, keepdims=True))

    @staticmethod
    def probabilities(z):
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def in_a_network():
    x, y = np.array([[200.0, -100.0]]), np.array([[1.0, 0.0]])
    print("\nOne step of a network whose outputs are far apart")
    for loss in (NaiveCrossentropy(), gpunn.losses.CategoricalCrossentropy(from_logits=True)):
        model = gpunn.Sequential([layers.Input((2,)), layers.Dense(2)], backend="numpy")
        model.compile(gpunn.optimizers.SGD(0.001), loss)
        model.set_weights([[[-1.0, 1.0], [0.5, 0.0]], [0.0, 0.0]])
        value = model.train_on_batch(x, y)
        weights = ", ".join(f"{w:.3f}" for w in model.get_weights()[0].flat)
        print(f"  {type(loss).__name__:24} loss {value:6.1f}, then weights {weights}")


def picture():
    """At the left adding exp x to 1 has no effect, at the right exp x is infinite."""
    x = np.linspace(-80, 120, 401, dtype=F)
    true = np.logaddexp(0.0, x.astype(np.float64))
    found = {"naive": np.log(1 + np.exp(x)), "ours": gpunn.activations.softplus(x)}
    errors = {
        name: (x, np.maximum(np.abs(y / true - 1), 1e-9)) for name, y in found.items()
    }  # fmt: skip
    try:
        figure = plots.curves(
            errors, "x (the naive line ends where it is infinite)", "relative error, cut at 1e-9",
            "log(1 + exp x) in float32", logy=True,
        )  # fmt: skip
    except ImportError:
        print('\nno picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("overflow.png", dpi=150)


if __name__ == "__main__":
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        overflow()
        underflow()
        rounding()
        in_a_network()
        picture()
