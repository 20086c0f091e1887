"""A network that solves a differential equation: a fit that needs second derivatives.

A weight on a spring, let go at y = 1, swings and comes to rest:

    y'' + 0.4 y' + 4 y = 0,   y(0) = 1,   y'(0) = 0

The network never sees the solution. It minimises the residual of the equation (Lagaris et al.,
1998; Raissi et al., 2019), computed from y' and y'' with respect to its input t, inside the call.
Training then needs the gradient of that with respect to the weights. y = 1 + tanh(t)^2 n(t)
satisfies the initial conditions, whatever the network n returns.

Run:       python examples/differential_equation.py [--epochs 3000]
Takes:     about three seconds.
Prints:    the largest distance from the known solution: e^(-t/5) (cos wt + sin wt / 5w).
Saves:     differential_equation.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

END, UNITS = 5.0, 24


class Swing(layers.Layer):
    """y (batch, 1) at the times t (batch, 1), and the residual of the equation as a loss."""

    def __init__(self):
        super().__init__()
        hidden = [layers.Dense(UNITS, "tanh", kernel_initializer="glorot_normal") for _ in range(2)]
        self.net = gpunn.Sequential([layers.Input((1,)), *hidden, layers.Dense(1)])

    def position(self, t):
        return 1 + ops.tanh(t) ** 2 * self.net(t - END / 2)

    def call(self, t):
        speed_at = gpunn.grad(lambda t: ops.sum(self.position(t)))
        acceleration_at = gpunn.grad(lambda t: ops.sum(speed_at(t)))
        y = self.position(t)
        self.add_loss(ops.mean((acceleration_at(t) + 0.4 * speed_at(t) + 4 * y) ** 2))
        return y


def solution(t):
    w = np.sqrt(4 - 0.2**2)
    return np.exp(-0.2 * t) * (np.cos(w * t) + 0.2 / w * np.sin(w * t))


def main():
    parser = argparse.ArgumentParser(description="Solve a differential equation.")
    parser.add_argument("--epochs", type=int, default=3000)
    options = parser.parse_args()

    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((1,)), Swing()])
    rate = gpunn.optimizers.schedules.CosineDecay(0.01, options.epochs)
    model.compile(gpunn.optimizers.Adam(rate))
    t = np.linspace(0, END, 128)[:, None]
    history = model.fit(t, epochs=options.epochs, batch_size=128, verbose=0)
    losses = history.history["loss"]
    print(f"loss {losses[0]:.3g} at first, {losses[-1]:.2g} at last")
    found = model.predict(t, verbose=0)
    print(f"largest distance from the solution: {np.abs(found - solution(t)).max():.4f}")

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(t, solution(t), linewidth=5, alpha=0.3, label="the solution")
    axes.plot(t, found, label="the network")
    axes.set(xlabel="t", ylabel="y")
    axes.legend()
    figure.savefig("differential_equation.png", dpi=150)


if __name__ == "__main__":
    main()
