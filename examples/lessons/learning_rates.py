"""The size of a step: schedules of learning rate and momentum, and a rate for each layer.

- A schedule is a rate (or a momentum) as a function of the number of updates so far.
- Momentum is often small at first, when the gradients change direction quickly, and large later:
  0.5, then 0.9. Steps along a slope become twice, later ten times as long as without momentum.
- The last layers have larger gradients (as `callbacks.GradientMonitor` shows), so they
  need smaller rates. LeCun's rule gives a layer a rate proportional to 1 / sqrt(n), with n
  inputs per unit (its fan-in): ``learning_rate_multiplier="lecun"``.

Run:       python examples/lessons/learning_rates.py [--epochs 60]
Takes:     about five seconds.
Prints:    each schedule at some steps; for constant momentum and for 0.5, then 0.9, the loss
           after some epochs; for each layer its gradient (root mean square over the weights),
           its rate and its update size, with one rate and with LeCun's rule.
Saves:     learning_rates.png, if matplotlib is installed: the schedules, the losses.
"""

import argparse

import numpy as np

import gpunn
from gpunn import callbacks, layers, plots
from gpunn.datasets import toy
from gpunn.optimizers import SGD
from gpunn.optimizers import schedules as s

STEPS, TOP = 1_000, 0.1
SCHEDULES = {
    "constant": s.Constant(TOP),
    "piecewise": s.PiecewiseConstantDecay([400, 800], [TOP, TOP / 4, TOP / 16]),
    "exponential": s.ExponentialDecay(TOP, decay_steps=300, decay_rate=0.5),
    "inverse time": s.InverseTimeDecay(TOP, decay_steps=300, decay_rate=1.0),
    "polynomial": s.PolynomialDecay(TOP, STEPS, end_learning_rate=0.0, power=2.0),
    "cosine, warm-up": s.CosineDecay(0.0, STEPS - 100, warmup_target=TOP, warmup_steps=100),
    "one cycle": s.OneCycle(TOP, STEPS),
}
ROWS, BATCH, RATE = 1_000, 50, 0.05
CHANGE = 200  # updates with a momentum of 0.5


def print_schedules():
    shown = (0, 50, 100, 300, 400, 800, 1000)
    print(f"{'learning rate at step':22}" + "".join(f"{step:8}" for step in shown))
    for name, schedule in SCHEDULES.items():
        print(f"{name:22}" + "".join(f"{schedule(step):8.4f}" for step in shown))


def make_network(optimizer, multiplier=1.0):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((2,))])
    for number, units in enumerate((8, 16, 64), 1):
        name = f"hidden {number}"
        model.add(layers.Dense(units, "tanh", learning_rate_multiplier=multiplier, name=name))
    model.add(layers.Dense(1, "sigmoid", learning_rate_multiplier=multiplier, name="output"))
    model.compile(optimizer, "binary_crossentropy")
    return model


def momenta(x, y, epochs):
    """Return the losses of each epoch, by momentum."""
    ways = {
        "no momentum": 0.0,
        "momentum 0.5": 0.5,
        "momentum 0.9": 0.9,
        "0.5, then 0.9": s.PiecewiseConstantDecay([CHANGE], [0.5, 0.9]),
    }
    shown = sorted({1, epochs // 4, epochs // 2, epochs} - {0})
    print(f"\n{'loss after epoch':22}" + "".join(f"{epoch:8}" for epoch in shown))
    losses = {}
    for name, momentum in ways.items():
        model = make_network(SGD(RATE, momentum))
        run = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
        losses[name] = run.history["loss"]
        print(f"{name:22}" + "".join(f"{losses[name][epoch - 1]:8.4f}" for epoch in shown))
    return losses


def rates_by_layer(x, y, epochs):
    """Print the monitor's records of the first epoch: means over the weights of a layer."""
    print(f"\n{'':14}{'inputs':>7}{'gradient':>10}{'rate':>8}{'step / weights':>16}")
    for title, multiplier in (("one rate for all", 1.0), ("LeCun's rule", "lecun")):
        rate = RATE if multiplier == 1.0 else RATE * 4  # the same for 16 inputs per unit
        model = make_network(SGD(rate), multiplier)
        monitor = callbacks.GradientMonitor(frequency=1, verbose=0)
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[monitor])
        print(f"{title}: loss {model.evaluate(x, y, verbose=0):.4f} after {epochs} epochs")
        for layer, record in zip(model.layers, monitor.records, strict=False):
            kernel = layer.get_weights()[0]
            gradient = record["gradient_norm"] / np.sqrt(layer.count_params())
            print(
                f"  {layer.name:12}{len(kernel):7}{gradient:10.5f}"
                f"{rate * layer.kernel.multiplier:8.3f}{record['update_ratio']:16.5f}"
            )


def picture(losses):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = np.arange(STEPS + 1)
    rates = {
        name: (steps, np.array([schedule(step) for step in steps]))
        for name, schedule in SCHEDULES.items()
    }
    plots.curves(rates, "update", "learning rate", "Schedules", ax=left)
    plots.curves(losses, "epoch", "loss", "Momentum", ax=right)
    figure.savefig("learning_rates.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="Learning rates, momentum, rates by layer.")
    parser.add_argument("--epochs", type=int, default=60, help="of each network")
    options = parser.parse_args()

    print_schedules()
    x, y = toy.moons(ROWS, noise=0.1)
    losses = momenta(x, y, options.epochs)
    rates_by_layer(x, y, options.epochs)
    try:
        picture(losses)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
